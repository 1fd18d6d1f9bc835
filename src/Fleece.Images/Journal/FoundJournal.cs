// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
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

    /// <summary>Its content; null when its maker did not finish it.</summary>
    public StoredJournal? Stored { get; private set; }

    /// <summary>When it was changed last.</summary>
    public long ModifiedTicks { get; private set; }

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
            ModifiedTicks = FileEvidence.Read(path).ModifiedTicks;
            Stored = StoredJournal.Read(bytes);
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
    public void Touch() => FileNames.Touch(path);

    /// <summary>As <see cref="Touch"/>, once a second while the replay waits for the storage.</summary>
    public void TryTouch() => FileNames.TryTouch(path);

    /// <summary>Says in it that notes are about to be written to the image.</summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public void BeginReplay() => SetState(JournalState.Replaying);

    /// <summary>Says in it that a flush of the image failed.</summary>
    public void Spoil()
    {
        try
        {
            SetState(JournalState.FlushFailed);
        }
        catch (BlockException)
        {
            FileNames.TryDelete(path);
        }
    }

    /// <summary>Gives it another name, in the place of an earlier one that has it; nothing reads it there. One of another run of the system
    /// is removed: it says nothing any more.</summary>
    public void SetAside(string newPath)
    {
        try
        {
            if (Stored is { Fault: null } stored && !BootId.IsThisRun(stored.BootId))
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

    /// <summary>Removes it, because the image has what it says.</summary>
    /// <exception cref="BlockException">What the system reports: a later change of the image would stand against an old note.</exception>
    public void Remove() => FileNames.Delete(path);

    private void SetState(JournalState state)
    {
        using LocalFile file = LocalFile.Open(path, isReadOnly: false);
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(word, SealedWord.Encode(JournalLayout.StateOffsetBytes, (ulong)state));
        file.Write(JournalLayout.StateOffsetBytes, word);
    }
}
