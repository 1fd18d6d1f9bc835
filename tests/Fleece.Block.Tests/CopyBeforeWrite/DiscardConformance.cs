// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Cases D1, D2, B3, O2 and O3 of the conformance list: what discarding frees and refuses.</summary>
public sealed class DiscardConformance : IAsyncDisposable
{
    private const int MiB = 1024 * 1024;
    private const int Granule = 65536;

    private readonly MemoryNode _disk = new(MiB);
    private readonly MemoryNode _store = new(MiB);

    [Fact]
    public async Task D1_writes_first_then_a_backup_that_discards_leaves_temp_empty_and_reads_refused()
    {
        PointInTime point = Start(_disk, _store);
        Fleecing.Fill(point.Filter, new BlockRange(0, MiB), 0xA1);
        Assert.Equal(MiB, _store.AllocatedBytes);

        await BackUpAsync(point);

        Assert.Equal(0, _store.AllocatedBytes);
        BlockStatusRun run = await _store.GetStatusAsync(0, MiB, CancellationToken.None);
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, MiB), run);
        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, point.Snapshot, new BlockRange(0, MiB));
    }

    [Fact]
    public async Task D2_a_backup_that_discards_first_then_writes_leaves_temp_untouched()
    {
        RecordingNode temp = new(_store);
        PointInTime point = Start(_disk, temp);
        await BackUpAsync(point);

        Fleecing.Fill(point.Filter, new BlockRange(0, MiB), 0xA1);

        Assert.DoesNotContain(temp.Operations, o => o.IsChange);
        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, point.Snapshot, new BlockRange(0, MiB));
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, MiB), 0xA1);
    }

    // Rounds inward and succeeds: hazard 12 is a server that dies here.
    [Theory]
    [InlineData(1, 1, 0)]
    [InlineData(1, Granule, 0)]
    [InlineData(0, Granule - 1, 0)]
    [InlineData(Granule - 1, Granule + 1, 1)]
    [InlineData(1, 3 * Granule, 2)]
    [InlineData(0, 3 * Granule + 1, 3)]
    [InlineData(5, 0, 0)]
    [InlineData(MiB, 0, 0)]
    [InlineData(MiB - 1, 1, 0)]
    public async Task B3_an_unaligned_discard_takes_only_whole_granules(int offset, int length, int granules)
    {
        PointInTime point = Start(_disk, _store);
        Fleecing.Fill(point.Filter, new BlockRange(0, MiB), 0xA1);

        await point.Snapshot.DiscardAsync(offset, length, CancellationToken.None);

        Assert.Equal(granules * Granule, point.ConsumedBytes);
        Assert.Equal(MiB - granules * Granule, _store.AllocatedBytes);
    }

    [Fact]
    public async Task O2_the_partial_last_granule_is_discarded_with_the_end_of_the_disk()
    {
        MemoryNode disk = new(2 * Granule + 512);
        await disk.WriteAsync(0, new Seeds(1).Bytes(2 * Granule + 512), WriteFlags.None, CancellationToken.None);
        MemoryNode temp = new(2 * Granule + 512);
        PointInTime point = new(disk, temp, tempReadsAsZero: true, granuleSizeBytes: Granule);
        Fleecing.Fill(point.Filter, new BlockRange(2 * Granule, 512), 0xA1);

        await point.Snapshot.DiscardAsync(2 * Granule, 512, CancellationToken.None);

        Assert.Equal(512, point.ConsumedBytes);
        Assert.Equal(0, temp.AllocatedBytes);
        BlockRange last = new(2 * Granule + 511, 1);
        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, point.Snapshot, last);
    }

    [Fact]
    public async Task O2_a_range_that_ends_inside_the_last_granule_keeps_it()
    {
        PointInTime point = new(
            new MemoryNode(2 * Granule + 512), new MemoryNode(2 * Granule + 512), granuleSizeBytes: Granule);

        await point.Snapshot.DiscardAsync(2 * Granule, 511, CancellationToken.None);

        Assert.Equal(0, point.ConsumedBytes);
    }

    // The copy has stored its data and is not finished yet when its granules are consumed.
    [Fact]
    public async Task O3_a_discard_during_a_running_copy_gives_the_space_back()
    {
        HoldNode temp = new(_store);
        Hold held = temp.HoldNextAfter(BlockOperationKind.Write);
        PointInTime point = Start(_disk, temp);
        Task write = Task.Run(() => Fleecing.Fill(point.Filter, new BlockRange(0, 4 * Granule), 0xA1));
        await held.Reached;
        Assert.Equal(4 * Granule, _store.AllocatedBytes);

        await point.Snapshot.DiscardAsync(Granule, 2 * Granule, CancellationToken.None);
        held.Release();
        await write;

        Assert.Equal(2 * Granule, _store.AllocatedBytes);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, 4 * Granule), 0xA1);
    }

    // Space that can't be given back is no reason to fail the guest.
    [Fact]
    public async Task O3_the_guest_does_not_notice_when_giving_back_fails()
    {
        HoldNode hold = new(new FaultNode(_store).FailNth(BlockOperationKind.Discard, 1));
        Hold held = hold.HoldNextAfter(BlockOperationKind.Write);
        PointInTime point = Start(_disk, hold, CopyErrorPolicy.BreakGuestWrite);
        Task write = Task.Run(() => Fleecing.Fill(point.Filter, new BlockRange(0, Granule), 0xA1));
        await held.Reached;
        await point.Snapshot.DiscardAsync(0, Granule, CancellationToken.None);

        held.Release();

        await write;
        Assert.Equal(SessionState.Active, point.State);
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _store.DisposeAsync();
    }

    private PointInTime Start(
        MemoryNode disk, IBlockNode temp, CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot)
    {
        Fleecing.Fill(_disk, new BlockRange(0, MiB), 0x11);
        return new PointInTime(disk, temp, tempReadsAsZero: true, granuleSizeBytes: Granule, policy: policy);
    }

    // Reads it all and discards it piece by piece, each after it was read.
    private static async Task BackUpAsync(PointInTime point)
    {
        for (long at = 0; at < MiB; at += 4 * Granule)
        {
            await Fleecing.AssertHoldsAsync(point.Snapshot, new BlockRange(at, 4 * Granule), 0x11);
            await point.Snapshot.DiscardAsync(at, 4 * Granule, CancellationToken.None);
        }
    }
}
