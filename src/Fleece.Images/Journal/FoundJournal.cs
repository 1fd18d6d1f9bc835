// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Collections.Concurrent;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Block.Logs;

namespace Fleece.Images.Journal;

/// <summary>The file of a journal that an earlier process has left beside an image.</summary>
/// <remarks>The image's own lock keeps others away from it. Threading. One thread at a time, but for <see cref="Spoil"/>.</remarks>
/// <param name="path">Full path of the file.</param>
internal sealed class FoundJournal(string path)
{
    // Larger than any that a program of this version makes.
    private const long MaximumBytes = 256 * 1024 * 1024;

    // Those that could not be told, by path and file: a later opening in this process must not believe them.
    private static readonly ConcurrentDictionary<(string Path, ulong FileId), bool> Spoilt = new();

    /// <summary>Its content; null when its maker did not finish it.</summary>
    public StoredJournal? Stored { get; private set; }

    /// <summary>When it was changed last.</summary>
    public long ModifiedTicks { get; private set; }

    /// <summary>Its own <see cref="FileEvidence.FileId"/>.</summary>
    public ulong FileId { get; private set; }

    /// <summary>True when a program has it open: it is of an image that was given another name meanwhile.</summary>
    public bool IsInUse { get; private set; }

    /// <summary>Reads it.</summary>
    /// <returns>Why it can't be used, as a part of a sentence; null when it can, as far as its own bytes tell.</returns>
    public string? Read()
    {
        try
        {
            using LocalFile file = LocalFile.Open(path, isReadOnly: true);
            if (file.LengthBytes > MaximumBytes)
            {
                return $"it has {file.LengthBytes} bytes, and {MaximumBytes} are the most";
            }

            byte[] bytes = new byte[file.LengthBytes];
            file.Read(0, bytes);
            FileEvidence evidence = FileEvidence.Read(path);
            ModifiedTicks = evidence.ModifiedTicks;
            FileId = evidence.FileId;
            Stored = StoredJournal.Read(bytes);
            if (Stored is { Fault: null } && Spoilt.ContainsKey((path, FileId)))
            {
                Stored = Stored with { State = JournalState.FlushFailed };
            }

            return Stored?.Fault;
        }
        catch (BlockException failure)
        {
            IsInUse = failure.Kind == BlockErrors.InUse;
            return $"it can't be read: {failure.Message}";
        }
    }

    /// <summary>Keeps it younger than the image, which is about to be changed by the replay.</summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public void Touch() => FileNames.Touch(path, ModifiedTicks);

    /// <summary>As <see cref="Touch"/>, once a second while the replay waits for the storage.</summary>
    public void TryTouch() => FileNames.TryTouch(path, ModifiedTicks);

    /// <summary>Says in it that notes are about to be written to the image.</summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public void BeginReplay() => SetState(JournalState.Replaying);

    /// <summary>Says in it that a flush of the image failed. The next flush may succeed, so where the file can't be written, as on a file
    /// system that has become read-only, the process remembers it.</summary>
    public void Spoil()
    {
        try
        {
            SetState(JournalState.FlushFailed);
        }
        catch (BlockException)
        {
            Spoilt[(path, FileId)] = true;
            FileNames.TryDelete(path);
        }
    }

    /// <summary>Says in it that it does not hold any more, because the image goes on without one.</summary>
    public void GiveUp()
    {
        try
        {
            SetState(JournalState.GivenUp);
        }
        catch (BlockException)
        {
            // Where none is, a session that needs one is lost.
            FileNames.Delete(path);
        }
    }

    /// <summary>Says in it that the image has everything.</summary>
    /// <exception cref="BlockException">What the system reports: a later change of the image would stand against an old note.</exception>
    public void Close()
    {
        if (!TryClose())
        {
            FileNames.Delete(path);
        }
    }

    /// <summary>As <see cref="Close"/>; false where the file can't be written to.</summary>
    public bool TryClose()
    {
        try
        {
            SetState(JournalState.Closed);
        }
        catch (BlockException)
        {
            return false;
        }

        TryCut(path);
        return true;
    }

    /// <summary>Gives up the room of the notes of one that is closed. It says the same with it.</summary>
    public static void TryCut(string path)
    {
        try
        {
            using LocalFile file = LocalFile.Open(path, isReadOnly: false);
            file.SetLength(JournalLayout.HeaderBytes);
        }
        catch (BlockException)
        {
            return;
        }
    }

    /// <summary>Copies it to another name, for a reader of the user's, where there is room; nothing of Fleece reads it there.</summary>
    public void CopyAside(string newPath)
    {
        if (IsOfOtherRun)
        {
            return;
        }

        try
        {
            File.Copy(path, newPath, overwrite: true);
        }
        catch (Exception failure) when (FileErrors.IsFromSystem(failure))
        {
            FileNames.TryDelete(newPath);
        }
    }

    /// <summary>Gives it another name, in the place of an earlier one that has it; nothing reads it there. One of another run of the system
    /// is removed: it says nothing any more.</summary>
    public void SetAside(string newPath)
    {
        try
        {
            if (IsOfOtherRun)
            {
                FileNames.Delete(path);
                return;
            }

            FileNames.Move(path, newPath, overwrite: true);
        }
        catch (BlockException)
        {
            FileNames.TryDelete(path);
        }
    }

    /// <summary>True for one of another run of the system, which says nothing any more.</summary>
    public bool IsOfOtherRun => Stored is { Fault: null } stored && !BootId.IsThisRun(stored.BootId);

    private void SetState(JournalState state)
    {
        using LocalFile file = LocalFile.Open(path, isReadOnly: false);
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(word, SealedWord.Encode(JournalLayout.StateOffsetBytes, (ulong)state));
        file.Write(JournalLayout.StateOffsetBytes, word);
    }
}
