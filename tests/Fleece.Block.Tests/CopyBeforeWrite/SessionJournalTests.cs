// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>A point in time and its journal, step by step, and with the maps of an earlier process.</summary>
public sealed class SessionJournalTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int Granules = 8;
    private const string LogPath = "/state/sessions/one.log";

    private readonly MemoryNode _disk = new(Granules * G);
    private readonly RecordingNode _temp = new(new MemoryNode(Granules * G));
    private readonly Journal _journal = new();

    public SessionJournalTests() => Fleecing.Fill(_disk, new BlockRange(0, Granules * G), 7);

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    [Fact]
    public async Task A_copy_is_noted_when_temp_has_it_and_the_disk_has_not_changed()
    {
        PointInTime point = Start();
        _journal.Noting = () =>
        {
            Fleecing.AssertHoldsAsync(_temp.Inner, new BlockRange(G, G), 7).GetAwaiter().GetResult();
            Fleecing.AssertHoldsAsync(_disk, new BlockRange(G, G), 7).GetAwaiter().GetResult();
            Assert.False(point.Done.Contains(1));
        };

        Fleecing.Fill(point.Filter, new BlockRange(G, G), 9);

        Assert.Equal(["done 1-2 data"], _journal.Notes);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(G, G), 9);
    }

    [Fact]
    public void A_copy_of_zeros_is_noted_as_one_without_data()
    {
        Fleecing.Fill(_disk, new BlockRange(0, G), 0);
        PointInTime point = Start();

        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);

        Assert.Equal(["done 0-1 zeros"], _journal.Notes);
    }

    [Fact]
    public void A_settled_write_notes_nothing()
    {
        PointInTime point = Start();
        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);
        _journal.Notes.Clear();

        Fleecing.Fill(point.Filter, new BlockRange(0, G), 10);

        Assert.Empty(_journal.Notes);
    }

    [Fact]
    public async Task A_discard_is_noted_before_temp_is_freed()
    {
        PointInTime point = Start();
        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);
        _temp.Clear();
        _journal.Noting = () =>
        {
            Assert.Empty(_temp.Operations);
            Assert.False(point.Refused.Contains(0));
        };

        await point.Snapshot.DiscardAsync(0, G, CancellationToken.None);

        Assert.Equal(BlockOperationKind.Discard, Assert.Single(_temp.Operations).Kind);
        Assert.Equal("consumed 0-1", _journal.Notes[^1]);
    }

    [Fact]
    public async Task The_last_confirmation_is_noted_once()
    {
        PointInTime point = Start(consumers: ["local", "offsite"]);

        await point.Consumers[1].Snapshot.DiscardAsync(0, 2 * G, CancellationToken.None);
        await point.Consumers[0].Snapshot.DiscardAsync(G, G, CancellationToken.None);
        await point.Snapshot.DiscardAsync(3 * G, G, CancellationToken.None);

        Assert.Equal(["confirmed by 1 0-2", "confirmed by 0 1-2", "consumed 3-4"], _journal.Notes);
        Assert.Equal(2 * G, point.ConsumedBytes);
    }

    [Theory]
    [InlineData(null)]
    [InlineData(0)]
    public async Task A_discard_that_finds_no_room_says_that_the_log_is_full_and_changes_nothing(int? consumer)
    {
        PointInTime point = Start(consumers: ["local"]);
        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);
        _temp.Clear();
        _journal.Fault = Full();
        SnapshotAccess snapshot = consumer is null ? point.Snapshot : point.Consumers[0].Snapshot;

        BlockException failed = await Assert.ThrowsAsync<BlockException>(
            async () => await snapshot.DiscardAsync(0, 2 * G, CancellationToken.None));

        Assert.Equal((BlockErrors.SessionLogFull, LogPath), (failed.Kind, failed.Path));
        Assert.Equal((0, 0, G), (point.ConsumedBytes, point.Consumers[0].ConfirmedBytes, point.TempUsedBytes));
        Assert.Empty(_temp.Operations);
        await Fleecing.AssertHoldsAsync(point.Snapshot, new BlockRange(0, 2 * G), 7);
        await Fleecing.AssertHoldsAsync(point.Consumers[0].Snapshot, new BlockRange(0, 2 * G), 7);

        _journal.Fault = null;
        await snapshot.DiscardAsync(0, 2 * G, CancellationToken.None);
        Assert.Equal(2 * G, point.ConsumedBytes);
    }

    [Fact]
    public async Task A_log_without_room_fails_the_write_and_not_the_session()
    {
        PointInTime point = Start(CopyErrorPolicy.BreakGuestWrite);
        _journal.Fault = Full();

        BlockException failed = Assert.Throws<BlockException>(() => Fleecing.Fill(point.Filter, new BlockRange(0, G), 9));

        Assert.Equal((BlockErrors.SessionLogFull, LogPath), (failed.Kind, failed.Path));
        Assert.DoesNotContain("temp is full", failed.Message, StringComparison.Ordinal);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, G), 7);
        Assert.Equal((0, SessionState.Active), (point.TempUsedBytes, point.State));

        _journal.Fault = null;
        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);
        await Fleecing.AssertHoldsAsync(point.Snapshot, new BlockRange(0, G), 7);
    }

    [Fact]
    public async Task A_log_without_room_breaks_the_session_which_is_noted_and_the_write_goes_on()
    {
        PointInTime point = Start();
        _journal.Fault = Full();

        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);

        Assert.Equal(BlockErrors.SessionLogFull, point.BrokenBy!.Kind);
        Assert.Equal([$"broken {BlockErrors.SessionLogFull}"], _journal.Notes);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, G), 9);
    }

    [Fact]
    public void A_log_that_fails_otherwise_says_so()
    {
        PointInTime point = Start(CopyErrorPolicy.BreakGuestWrite);
        _journal.Fault = new BlockException(BlockErrors.IoFailed, "The device failed.", LogPath);

        BlockException failed = Assert.Throws<BlockException>(() => Fleecing.Fill(point.Filter, new BlockRange(0, G), 9));

        Assert.Equal(BlockErrors.CopyFailed, failed.Kind);
        Assert.Contains("session's log", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_break_is_noted_before_the_session_is_broken()
    {
        PointInTime point = Start();
        _journal.Noting = () => Assert.Equal(SessionState.Active, point.State);

        point.Break(Full());
        point.Break(new BlockException(BlockErrors.IoFailed, "later"));

        Assert.Equal([$"broken {BlockErrors.NoSpace}"], _journal.Notes);
    }

    [Fact]
    public async Task Nothing_is_noted_behind_a_stop()
    {
        PointInTime point = Start();
        point.Stop();

        point.Break(Full());
        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);
        await Assert.ThrowsAsync<BlockException>(async () => await point.Snapshot.DiscardAsync(0, G, CancellationToken.None));

        Assert.Empty(_journal.Notes);
    }

    [Fact]
    public void Old_data_is_written_with_the_flags_that_temp_needs()
    {
        Fleecing.Fill(_disk, new BlockRange(0, G), 0);
        PointInTime point = new(_disk, _temp, tempWriteFlags: WriteFlags.ForceUnitAccess);

        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);
        Fleecing.Fill(point.Filter, new BlockRange(G, G), 9);

        Assert.Equal([BlockOperationKind.WriteZeroes, BlockOperationKind.Write], _temp.Operations.Select(o => o.Kind));
        Assert.All(_temp.Operations, o => Assert.Equal(WriteFlags.ForceUnitAccess, o.Flags));
    }

    // The copy that was running when the process was killed has left something, and no note says so.
    [Fact]
    public async Task A_discard_after_a_restart_frees_what_no_note_knows_of()
    {
        PointInTime point = Restore(new PointInTimeMaps(Granules, 0, isLimited: false));

        await point.Snapshot.DiscardAsync(0, G, CancellationToken.None);

        Assert.Equal(BlockOperationKind.Discard, Assert.Single(_temp.Operations).Kind);
    }

    [Fact]
    public async Task What_was_consumed_before_a_restart_is_freed_when_that_is_asked_for()
    {
        PointInTimeMaps maps = new(Granules, 0, isLimited: false);
        maps.AddDone(new GranuleRun(2, 5), hasData: true);
        maps.AddConsumed(new GranuleRun(3, 4));
        PointInTime point = Restore(maps);
        Assert.Equal((3 * G, 2 * G, G), (point.CopiedBytes, point.TempUsedBytes, point.ConsumedBytes));

        await point.FreeConsumedAsync();

        Assert.Equal(new BlockRange(3 * G, G), Assert.Single(_temp.Operations).Range);
    }

    [Fact]
    public void What_is_denied_is_refused_after_a_restart_and_counts_for_nobody()
    {
        PointInTimeMaps maps = new(Granules, 1, isLimited: true);
        maps.Denied!.Add(new GranuleRun(0, 2));
        maps.AddConfirmed(0, new GranuleRun(1, 3));

        PointInTime point = new(_disk, _temp, consumers: ["local"], restored: maps);

        Assert.Equal((Granules - 2) * G, point.IncludedBytes);
        Assert.Equal((G, G), (point.ConsumedBytes, point.Consumers[0].ConfirmedBytes));
        Assert.Equal(SnapshotRunState.Denied, point.Snapshot.GetRun(0).State);
        Assert.Equal(SnapshotRunState.Consumed, point.Snapshot.GetRun(2 * G).State);
    }

    [Fact]
    public void Maps_of_another_disk_are_refused() =>
        Refusals.Throws(BlockErrors.InvariantBroken, () => Restore(new PointInTimeMaps(Granules + 1, 0, isLimited: false)));

    private static BlockException Full() => new(BlockErrors.NoSpace, "The file system is full.", LogPath);

    private PointInTime Start(CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot, string[]? consumers = null) =>
        new(_disk, _temp, tempReadsAsZero: true, policy: policy, consumers: consumers, journal: _journal);

    private PointInTime Restore(PointInTimeMaps maps) => new(_disk, _temp, tempReadsAsZero: true, journal: _journal, restored: maps);

    private sealed class Journal : ISessionJournal
    {
        public List<string> Notes { get; } = [];

        public Action? Noting { get; set; }

        public BlockException? Fault { get; set; }

        public BlockException? NoteDone(GranuleRun run, bool hasData) =>
            Note($"done {run.Start}-{run.End} {(hasData ? "data" : "zeros")}");

        public BlockException? NoteConsumed(GranuleRun run) => Note($"consumed {run.Start}-{run.End}");

        public BlockException? NoteConfirmed(int consumer, GranuleRun run) =>
            Note($"confirmed by {consumer} {run.Start}-{run.End}");

        public void NoteBroken(BlockException cause)
        {
            Noting?.Invoke();
            Notes.Add($"broken {cause.Kind}");
        }

        private BlockException? Note(string note)
        {
            Noting?.Invoke();
            if (Fault is null)
            {
                Notes.Add(note);
            }

            return Fault;
        }
    }
}
