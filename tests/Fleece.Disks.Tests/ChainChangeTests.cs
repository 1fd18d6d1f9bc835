// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Chain;
using Fleece.Disks.Tests.Bitmaps;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>A change of the chains of several disks happens as a whole or not at all.</summary>
public sealed class ChainChangeTests
{
    private readonly DiskChain _a = Make("a");
    private readonly DiskChain _b = Make("b");

    [Fact]
    public async Task No_disk_serves_a_request_at_the_instant_and_all_do_afterwards()
    {
        Task[] writes = [];
        await ChainChange.RunAsync(
            [_a, _b],
            change => change.AtInstantAsync(new ChainStep(() =>
            {
                writes = [WriteAsync(_a), WriteAsync(_b)];
                Assert.All(writes, write => Assert.False(write.IsCompleted));
            })),
            CancellationToken.None);

        await Task.WhenAll(writes);
        Assert.Equal(2, writes.Length);
    }

    [Fact]
    public async Task A_step_that_throws_takes_back_the_steps_before_it_at_the_same_instant()
    {
        List<string> log = [];
        Task write = Task.CompletedTask;
        InvalidOperationException cause = new();

        InvalidOperationException error = await Assert.ThrowsAsync<InvalidOperationException>(() => ChainChange.RunAsync(
            [_a, _b],
            change => change.AtInstantAsync(
                new ChainStep(() => write = WriteAsync(_b)),
                new ChainStep(() => log.Add("first"), () => log.Add($"first undone, {write.IsCompleted}")),
                new ChainStep(() => log.Add("second"), () => log.Add("second undone")),
                new ChainStep(() => throw cause, () => log.Add("never"))),
            CancellationToken.None).AsTask());

        Assert.Same(cause, error);
        Assert.Equal(["first", "second", "second undone", "first undone, False"], log);
        await write;
    }

    [Fact]
    public async Task A_change_that_fails_undoes_what_it_prepared_last_first_and_gives_the_locks_back()
    {
        List<int> undone = [];
        BlockException cause = new(BlockErrors.NoSpace, "Full.");

        BlockException error = await Assert.ThrowsAsync<BlockException>(() => ChainChange.RunAsync(
            [_a, _b],
            change =>
            {
                change.OnFailure(() => Undo(1));
                change.OnFailure(() => Undo(2));
                change.OnFailure(() => throw new BlockException(BlockErrors.Closed, "The undo fails."));
                throw cause;
            },
            CancellationToken.None).AsTask());

        Assert.Same(cause, error);
        Assert.Equal([2, 1], undone);
        AssertFree(_a);
        AssertFree(_b);

        ValueTask Undo(int number)
        {
            undone.Add(number);
            return default;
        }
    }

    [Fact]
    public async Task A_closed_disk_keeps_the_others_unchanged_and_running()
    {
        await _b.Device.DisposeAsync();

        BlockException error = await Assert.ThrowsAsync<BlockException>(() => ChainChange.RunAsync(
            [_a, _b], change => change.AtInstantAsync(new ChainStep(() => Assert.Fail("It was done."))), CancellationToken.None).AsTask());

        Assert.Equal(BlockErrors.Closed, error.Kind);
        Assert.True(WriteAsync(_a).IsCompletedSuccessfully);
    }

    [Fact]
    public async Task A_request_that_does_not_end_lets_the_change_fail_and_the_other_disks_go_on()
    {
        HoldNode node = new(new MemoryNode(4096));
        DiskChain stuck = new("stuck", node, new NoWitness());
        Hold hold = node.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(stuck);
        await hold.Reached;

        BlockException error = await Assert.ThrowsAsync<BlockException>(() => ChainChange.RunAsync(
            [_a, stuck],
            change => change.AtInstantAsync(new ChainStep(() => Assert.Fail("It was done."))),
            CancellationToken.None,
            new DrainLimit(TimeSpan.Zero, Attempts: 2)).AsTask());

        Assert.Equal(DiskErrors.DiskBusy, error.Kind);
        Assert.Contains("'stuck'", error.Message, StringComparison.Ordinal);
        Assert.True(WriteAsync(_a).IsCompletedSuccessfully);
        Assert.True(stuck.Device.ReadAsync(0, new byte[512]).AsTask().IsCompletedSuccessfully);
        hold.Release();
        await write;
    }

    [Fact]
    public async Task A_change_that_found_a_request_in_flight_happens_when_that_has_ended()
    {
        HoldNode node = new(new MemoryNode(4096));
        DiskChain slow = new("slow", node, new NoWitness());
        Hold hold = node.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(slow);
        await hold.Reached;
        int done = 0;

        Task change = ChainChange.RunAsync(
            [_a, slow],
            running => running.AtInstantAsync(new ChainStep(() => done++)),
            CancellationToken.None,
            new DrainLimit(TimeSpan.FromMilliseconds(1), int.MaxValue)).AsTask();
        hold.Release();
        await change;
        await write;

        Assert.Equal(1, done);
    }

    [Fact]
    public async Task A_change_that_is_cancelled_while_it_waits_for_requests_does_nothing()
    {
        HoldNode node = new(new MemoryNode(4096));
        DiskChain slow = new("slow", node, new NoWitness());
        Hold hold = node.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(slow);
        await hold.Reached;
        using CancellationTokenSource stop = new();
        Task change = ChainChange.RunAsync(
            [_a, slow], running => running.AtInstantAsync(new ChainStep(() => Assert.Fail("It was done."))), stop.Token).AsTask();

        await stop.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => change);
        Assert.True(WriteAsync(_a).IsCompletedSuccessfully);
        hold.Release();
        await write;
    }

    // The second one names the disks the other way round. While both wait for the first disk, neither has the other.
    [Fact]
    public async Task Changes_of_the_same_disks_lock_them_in_one_order()
    {
        using SemaphoreSlim hold = new(0);
        Task holder = ChainChange.RunAsync([_a], async _ => await hold.WaitAsync(), CancellationToken.None).AsTask();
        Task[] waiting =
        [
            .. new DiskChain[][] { [_a, _b], [_b, _a] }
                .Select(chains => ChainChange.RunAsync(chains, _ => default, CancellationToken.None).AsTask()),
        ];

        AssertFree(_b);
        Assert.All(waiting, change => Assert.False(change.IsCompleted));
        hold.Release();
        await Task.WhenAll([holder, .. waiting]);
    }

    [Fact]
    public async Task A_cancelled_wait_gives_back_the_locks_it_has()
    {
        using SemaphoreSlim hold = new(0);
        using CancellationTokenSource stop = new();
        Task holder = ChainChange.RunAsync([_b], async _ => await hold.WaitAsync(), CancellationToken.None).AsTask();
        Task waiting = ChainChange.RunAsync([_a, _b], _ => default, stop.Token).AsTask();

        await stop.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        AssertFree(_a);
        hold.Release();
        await holder;
    }

    [Fact]
    public async Task A_bitmap_whose_turn_is_taken_back_records_as_before()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", 1 << 20);
        Bitmap daily = await disk.Bitmaps.CreateAsync("daily");

        await Assert.ThrowsAsync<InvalidOperationException>(() => ChainChange.RunAsync(
            [disk.Chain],
            async change =>
            {
                BitmapTurn turn = BitmapTurn.Prepare(disk.Bitmaps, "vm/nightly", "daily", "next")!;
                change.OnFailure(() =>
                {
                    turn.Undo();
                    return default;
                });
                await change.AtInstantAsync(
                    new ChainStep(turn.Begin, turn.TakeBack), new ChainStep(() => throw new InvalidOperationException()));
            },
            CancellationToken.None).AsTask());

        await DiskBitmapsTests.WriteAsync(disk, 3);
        Assert.Equal((BitmapState.Recording, null), (daily.State, daily.Session));
        Assert.Equal([3], DiskBitmapsTests.Units(daily));
        Assert.Equal([daily], disk.Bitmaps.All);
    }

    private static DiskChain Make(string name) => new(name, new MemoryNode(1 << 20), new NoWitness());

    // A change that finds the lock free and no request in flight completes at once.
    private static void AssertFree(DiskChain chain) =>
        Assert.True(chain.ChangeAsync(() => { }, CancellationToken.None).AsTask().IsCompletedSuccessfully);

    private static Task WriteAsync(DiskChain chain) => chain.Device.WriteAsync(0, new byte[512]).AsTask();

    private sealed class NoWitness : Fleece.Block.DirtyBitmaps.IChangeWitness
    {
        public void BeforeChange()
        {
        }
    }
}
