// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Journal;

/// <summary>Brings the notes of a journal into an image of a format.</summary>
/// <remarks>Threading. No state; safe from any thread. Errors are <see cref="Block.BlockException"/>.</remarks>
internal interface INoteReplay
{
    /// <summary>Why the image is no longer the one that the journal was kept for, as far as the format tells it, as a part of a sentence;
    /// null when it is.</summary>
    /// <param name="file">The image.</param>
    /// <param name="journal">The journal, with at least one note.</param>
    string? FindChange(IContainerFile file, StoredJournal journal);

    /// <summary>The image as it will be after the replay, for reading. It owns the file from then on.</summary>
    IContainerFile Show(IContainerFile file, JournalNotes notes);

    /// <summary>Makes the image durably what <see cref="Show"/> shows. Killed or crashed at any instant it leaves an image as a crash of
    /// the process that made the notes would; doing it again completes it.</summary>
    /// <param name="file">The image, open for writing.</param>
    /// <param name="notes">The notes.</param>
    /// <param name="beforeWrites">Called before the writes of each stage.</param>
    void Replay(IContainerFile file, JournalNotes notes, Action beforeWrites);
}

/// <summary>The replay of a format whose tables are written in place, in stages.</summary>
/// <remarks>Every byte is written once, as the last note has it: an older value could undo, for a crash to see, what a later stage of the
/// write-back that was interrupted builds on.</remarks>
/// <param name="stageCount">Stages of the format's notes.</param>
/// <param name="findFault">Why what the image would be can't be right, as a part of a sentence; null for a format whose notes tell it.
/// </param>
internal sealed class StagedReplay(int stageCount, Func<IContainerFile, string?>? findFault = null) : INoteReplay
{
    public string? FindChange(IContainerFile file, StoredJournal journal) =>
        journal.Notes.FindContradiction(file, journal.State == JournalState.Replaying)
            ?? findFault?.Invoke(new NotedFile(file, journal.Notes.All));

    public IContainerFile Show(IContainerFile file, JournalNotes notes) => new NotedFile(file, notes.All);

    public void Replay(IContainerFile file, JournalNotes notes, Action beforeWrites)
    {
        // The guests' data first, and all that the killed process wrote straight to the file.
        file.Flush();
        for (int stage = 0; stage < stageCount; stage++)
        {
            beforeWrites();
            bool isEmpty = true;
            foreach ((long offsetBytes, byte[] bytes) in notes.All.RunsOf(stage))
            {
                file.Write(offsetBytes, bytes);
                isEmpty = false;
            }

            if (!isEmpty)
            {
                file.Flush();
            }
        }
    }
}
