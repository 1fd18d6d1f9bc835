// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Backups.Writing;

/// <summary>The note beside a partial file that nothing in it was consumed: "PATH.partial.fleece-begun".</summary>
/// <remarks>
/// <para>It is there as long as a job has the partial file locked and has consumed nothing. So a partial file with a note and without a
/// lock is of a job that was killed, and holds the only copy of nothing. Each step that would make this untrue removes the note first: the
/// first chunk that is consumed, the end of the lock, a disk that is mounted on the partial file (<see cref="Forget"/>). Other writers
/// show by the time of the partial file, since the note's is set once a second.</para>
/// <para>Threading. One caller at a time. Ownership. It owns the note until <see cref="Dispose"/>.</para>
/// </remarks>
internal sealed class PartialNote : IDisposable
{
    private const string Extension = ".fleece-begun";
    private static readonly byte[] Text = Encoding.ASCII.GetBytes("Nothing in this partial file was consumed.\n");

    private readonly string _path;
    private readonly Heartbeat? _heartbeat;
    private bool _isEnded;

    private PartialNote(string path, bool isWritten)
    {
        _path = path;
        _heartbeat = isWritten ? Heartbeat.Start(() => FileNames.TryTouch(path, notBeforeTicks: 0)) : null;
    }

    /// <summary>Removes a partial file that a killed job has left, where nothing in it was consumed, and its note.</summary>
    /// <param name="path">The name that the partial file was to have.</param>
    /// <returns>True when there was one; false when it may hold what is nowhere else, and stays.</returns>
    /// <exception cref="BlockException"><see cref="BlockErrors.InUse"/>: a process has it open; or why it can't be opened or removed.
    /// </exception>
    public static bool TryRemoveLeft(string path)
    {
        string partialPath = PartialImage.PathFor(path);
        using LocalFile file = LocalFile.Open(partialPath, isReadOnly: false);
        if (!file.HasItsName || !IsBelieved(partialPath))
        {
            return false;
        }

        if (OperatingSystem.IsWindows())
        {
            file.Dispose(); // Windows deletes no file that is open, nor one that another job has opened meanwhile.
        }

        // Elsewhere under the lock, so that it is not the new file of another job.
        FileNames.Delete(partialPath);
        FileNames.Delete(partialPath + Extension);
        return true;
    }

    /// <summary>Removes a note that an earlier partial file has left: it does not hold for the next one.</summary>
    /// <param name="path">The name that the partial file is to have.</param>
    /// <exception cref="BlockException">Why it can't be removed.</exception>
    public static void RemoveStale(string path) => FileNames.Delete(PartialImage.PathFor(path) + Extension);

    /// <summary>Writes the note of a partial file that the caller has made and has locked. Without it the file stays when the job is
    /// killed.</summary>
    /// <param name="path">The name that the partial file is to have.</param>
    public static PartialNote Begin(string path)
    {
        string notePath = PartialImage.PathFor(path) + Extension;
        try
        {
            using LocalFile note = LocalFile.Create(notePath, 0);
            note.Write(0, Text);
        }
        catch (BlockException)
        {
            FileNames.TryDelete(notePath);
            return new PartialNote(notePath, isWritten: false);
        }

        return new PartialNote(notePath, isWritten: true);
    }

    /// <summary>Removes the note of an image that is open for writing as something else than a job's file.</summary>
    /// <param name="imagePath">The image.</param>
    /// <exception cref="BlockException">Why it can't be removed.</exception>
    public static void Forget(string imagePath)
    {
        string notePath = FileNames.Beside(imagePath, Extension);
        if (File.Exists(notePath))
        {
            FileNames.DeleteDurably(notePath);
        }
    }

    /// <summary>Removes the note, durably: before a chunk is consumed, and before the complete file is closed. Idempotent.</summary>
    /// <exception cref="BlockException">Why it can't be removed.</exception>
    public void End()
    {
        if (!_isEnded)
        {
            _heartbeat?.Dispose();
            FileNames.DeleteDurably(_path);
            _isEnded = true;
        }
    }

    /// <summary>Removes the note where that is possible, before a partial file that is given up is closed. Idempotent.</summary>
    public void Dispose()
    {
        _heartbeat?.Dispose();
        FileNames.TryDelete(_path);
    }

    private static bool IsBelieved(string partialPath)
    {
        string notePath = partialPath + Extension;
        if (!File.Exists(notePath))
        {
            return false;
        }

        byte[] found = new byte[Text.Length + 1];
        using LocalFile note = LocalFile.Open(notePath, isReadOnly: true);
        return found.AsSpan(0, note.ReadUpTo(0, found)).SequenceEqual(Text) &&
            !FileEvidence.Read(partialPath).IsChangedAfter(FileEvidence.Read(notePath).ModifiedTicks);
    }
}
