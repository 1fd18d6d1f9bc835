// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Kills;

/// <summary>A replay that takes long leaves a journal that the next opening believes.</summary>
public sealed class JournalReplayTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_replay_that_waits_for_the_storage_keeps_its_journal_as_young_as_the_image()
    {
        Assert.SkipWhen(BootId.Current == Guid.Empty, "No journal counts without the id of a run of the system.");
        string path = MakeWithJournal();
        string journalPath = path + JournalLayout.Extension;
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: false));
        HeldReplay replay = new(journalPath);
        JournalOpening opening = new();
        opening.Recover(file, ImageFormat.Qcow2, replay);

        Assert.Null(opening.LostJournal);
        Assert.True(replay.IsTouched);
        FoundJournal left = new(journalPath);
        Assert.Null(left.Read());
        Assert.Equal(JournalState.Closed, left.Stored!.State);
    }

    [Fact]
    public void A_failed_flush_in_a_replay_is_known_at_the_next_opening_where_the_journal_can_not_say_so()
    {
        Assert.SkipWhen(BootId.Current == Guid.Empty, "No journal counts without the id of a run of the system.");
        string path = MakeWithJournal();
        string journalPath = path + JournalLayout.Extension;
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: false));
        JournalOpening opening = new();
        BlockException failure = new(BlockErrors.IoFailed, "The flush failed.", path, operation: "flush");
        FailedReplay failing = new(journalPath, () => opening.Watch(null)(failure), failure);
        Assert.Same(failure, Assert.Throws<BlockException>(() => opening.Recover(file, ImageFormat.Qcow2, failing)));

        JournalOpening next = new();
        next.Recover(file, ImageFormat.Qcow2, new StagedReplay(stageCount: 1));

        Assert.Contains("a flush of the image failed", next.LostJournal, StringComparison.Ordinal);
    }

    // A file, and beside it a journal with one note that a killed process has left.
    private string MakeWithJournal()
    {
        string path = _folder.NewFile(".qcow2");
        File.WriteAllBytes(path, new byte[64 * 1024]);
        using ImageJournal journal =
            ImageJournal.Create(path + JournalLayout.Extension, ImageFormat.Qcow2, FileEvidence.Read(path).FileId);
        journal.Note(0, 4096, [0, 0, 0, 0], [1, 2, 3, 4]);
        journal.Commit();
        return path;
    }

    // While the flush fails the journal can be neither written nor removed.
    private sealed class FailedReplay(string journalPath, Action flushFailed, BlockException failure) : INoteReplay
    {
        public string? FindChange(IContainerFile file, StoredJournal journal) => null;

        public IContainerFile Show(IContainerFile file, JournalNotes notes) => file;

        public void Replay(IContainerFile file, JournalNotes notes, Action beforeWrites)
        {
            File.Move(journalPath, journalPath + ".away");
            Directory.CreateDirectory(Path.Combine(journalPath, "obstacle"));
            flushFailed();
            Directory.Delete(journalPath, recursive: true);
            File.Move(journalPath + ".away", journalPath);
            throw failure;
        }
    }

    // It goes on when the journal was touched, and calls nothing meanwhile.
    private sealed class HeldReplay(string journalPath) : INoteReplay
    {
        public bool IsTouched { get; private set; }

        public string? FindChange(IContainerFile file, StoredJournal journal) => null;

        public IContainerFile Show(IContainerFile file, JournalNotes notes) => file;

        public void Replay(IContainerFile file, JournalNotes notes, Action beforeWrites)
        {
            File.SetLastWriteTimeUtc(journalPath, DateTime.UtcNow.AddHours(-1));
            DateTime old = File.GetLastWriteTimeUtc(journalPath);
            while (File.GetLastWriteTimeUtc(journalPath) == old)
            {
                Thread.Sleep(20);
            }

            IsTouched = true;
        }
    }
}
