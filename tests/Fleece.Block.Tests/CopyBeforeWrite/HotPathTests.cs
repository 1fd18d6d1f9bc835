// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Reflection;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>What the frequent paths cost, as counts of allocations and of operations, never as time (I4).</summary>
public sealed class HotPathTests
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int DiskBytes = 64 * G;
    private const int Rounds = 1000;

    private readonly byte[] _page = new byte[G];

    public HotPathTests() => _page.AsSpan().Fill(7);

    [Fact]
    public void A_settled_write_allocates_nothing()
    {
        PointInTime point = Start(new MemoryNode(DiskBytes), new MemoryNode(DiskBytes));

        Assert.Equal(0, AllocatedBytes(() => Complete(point.Filter.WriteAsync(G, _page, WriteFlags.None, default))));
    }

    // Of a granule that was consumed: the first write counts it, the others find it counted.
    [Fact]
    public void A_write_of_a_consumed_granule_allocates_nothing()
    {
        PointInTime point = Start(new MemoryNode(DiskBytes), new MemoryNode(DiskBytes));
        Complete(point.Snapshot.DiscardAsync(0, DiskBytes, default));
        Complete(point.Filter.WriteAsync(G, _page, WriteFlags.None, default));

        Assert.Equal(0, AllocatedBytes(() => Complete(point.Filter.WriteAsync(G, _page, WriteFlags.None, default))));
    }

    [Fact]
    public void A_settled_write_is_neither_counted_nor_timed()
    {
        PointInTime point = Start(new MemoryNode(DiskBytes), new MemoryNode(DiskBytes));
        Complete(point.Filter.WriteAsync(G, _page, WriteFlags.None, default));
        TimeSpan waited = point.Metrics.GuestWaits.Total;

        Complete(point.Filter.WriteAsync(G, _page, WriteFlags.None, default));
        Complete(point.Filter.WriteZeroesAsync(G, G, WriteFlags.None, default));
        Complete(point.Filter.DiscardAsync(G, G, default));

        Assert.Equal((1, waited), (point.Metrics.GuestWaits.Count, point.Metrics.GuestWaits.Total));
    }

    // The copy in the list of those that run, and nothing for its times.
    [Fact]
    public void A_first_write_allocates_its_copy_and_nothing_else()
    {
        SkipUnlessOptimized();

        Assert.Equal(BytesOfCopy(), FirstWriteBytes(null));
    }

    [Fact]
    public void A_first_write_allocates_no_more_for_its_note()
    {
        SkipUnlessOptimized();

        Assert.Equal(FirstWriteBytes(null), FirstWriteBytes(new SilentJournal()));
    }

    [Fact]
    public void A_snapshot_read_of_untouched_granules_allocates_nothing()
    {
        SkipUnlessOptimized();
        PointInTime point = Start(new MemoryNode(DiskBytes), new MemoryNode(DiskBytes));

        Assert.Equal(0, AllocatedBytes(() => Complete(point.Snapshot.ReadAsync(0, _page, default))));
    }

    // A read of two pieces, one of each kind.
    [Fact]
    public void A_snapshot_read_from_temp_and_disk_allocates_nothing()
    {
        SkipUnlessOptimized();
        PointInTime point = Start(new MemoryNode(DiskBytes), new MemoryNode(DiskBytes));
        Complete(point.Filter.WriteAsync(0, _page, WriteFlags.None, default));

        Assert.Equal(0, AllocatedBytes(() => Complete(point.Snapshot.ReadAsync(G / 2, _page, default))));
    }

    [Fact]
    public void A_settled_write_is_one_write_of_the_disk_and_nothing_else()
    {
        RecordingNode disk = new(new MemoryNode(DiskBytes));
        RecordingNode temp = new(new MemoryNode(DiskBytes));
        PointInTime point = Start(disk, temp);
        Complete(point.Filter.WriteAsync(G, _page, WriteFlags.None, default));
        disk.Clear();
        temp.Clear();

        Complete(point.Filter.WriteAsync(G, _page, WriteFlags.ForceUnitAccess, default));

        BlockOperation only = Assert.Single(disk.Operations);
        Assert.Equal((BlockOperationKind.Write, WriteFlags.ForceUnitAccess), (only.Kind, only.Flags));
        Assert.Empty(temp.Operations);
    }

    [Fact]
    public void A_first_write_is_one_read_one_copy_and_one_write()
    {
        RecordingNode disk = new(new MemoryNode(DiskBytes));
        RecordingNode temp = new(new MemoryNode(DiskBytes));
        PointInTime point = Start(disk, temp);

        Complete(point.Filter.WriteAsync(2 * G, _page, WriteFlags.None, default));

        Assert.Equal([BlockOperationKind.Read, BlockOperationKind.Write], disk.Operations.Select(o => o.Kind));
        Assert.Equal(BlockOperationKind.Write, Assert.Single(temp.Operations).Kind);
        Assert.All(disk.Operations.Concat(temp.Operations), o => Assert.Equal(new BlockRange(2 * G, G), o.Range));
    }

    // The other parts of the two granules at the ends are copied too: a granule is the unit.
    [Fact]
    public void A_first_write_of_parts_of_two_granules_copies_both_at_once()
    {
        RecordingNode disk = new(new MemoryNode(DiskBytes));
        RecordingNode temp = new(new MemoryNode(DiskBytes));
        PointInTime point = Start(disk, temp);

        Complete(point.Filter.WriteAsync(G + 1, _page, WriteFlags.None, default));

        Assert.Equal(new BlockRange(G, 2 * G), Assert.Single(temp.Operations).Range);
        Assert.Equal(2, disk.Operations.Count);
    }

    [Fact]
    public void A_first_write_over_a_hole_stores_nothing()
    {
        RecordingNode temp = new(new MemoryNode(DiskBytes));
        PointInTime point = new(new MemoryNode(DiskBytes), temp, tempReadsAsZero: true);

        Complete(point.Filter.WriteAsync(0, _page, WriteFlags.None, default));

        Assert.Empty(temp.Operations);
    }

    // Known zeros are not read: a guest that zeroes a huge sparse disk costs a status query, not its size.
    [Fact]
    public void Zeroing_a_huge_hole_reads_nothing_and_stores_nothing()
    {
        const long Huge = 1L << 40;
        RecordingNode disk = new(new MemoryNode(Huge));
        RecordingNode temp = new(new MemoryNode(Huge));
        PointInTime point = new(disk, temp, tempReadsAsZero: true);

        Complete(point.Filter.WriteZeroesAsync(0, Huge, WriteFlags.None, default));

        Assert.Equal([BlockOperationKind.Status, BlockOperationKind.WriteZeroes], disk.Operations.Select(o => o.Kind));
        Assert.Empty(temp.Operations);
    }

    [Fact]
    public void Guest_reads_flushes_and_queries_pass_straight_through()
    {
        RecordingNode disk = new(new MemoryNode(DiskBytes));
        RecordingNode temp = new(new MemoryNode(DiskBytes));
        PointInTime point = Start(disk, temp);

        Complete(point.Filter.ReadAsync(0, _page, default));
        Complete(point.Filter.FlushAsync(default));
        Assert.True(point.Filter.GetStatusAsync(0, G, default).AsTask().IsCompletedSuccessfully);

        Assert.Equal(
            [BlockOperationKind.Read, BlockOperationKind.Flush, BlockOperationKind.Status],
            disk.Operations.Select(o => o.Kind));
        Assert.Empty(temp.Operations);
    }

    private long FirstWriteBytes(ISessionJournal? journal)
    {
        const int Size = 6 * Rounds * G;
        MemoryNode disk = new(Size);
        MemoryNode temp = new(Size);
        Fleecing.Fill(disk, new BlockRange(0, Size), 7);
        Fleecing.Fill(temp, new BlockRange(0, Size), 7);
        PointInTime point = new(disk, temp, journal: journal);
        long at = 0;
        return AllocatedBytes(() => Complete(point.Filter.WriteAsync(at++ * G, _page, WriteFlags.None, default)));
    }

    private static long BytesOfCopy()
    {
        RunningCopies copies = new();
        return AllocatedBytes(() => copies.Remove(copies.Begin(new GranuleRun(0, 1))));
    }

    // Every granule of the disk holds data; what filled it is not recorded.
    private static PointInTime Start(IBlockNode disk, IBlockNode temp)
    {
        Fleecing.Fill((disk as RecordingNode)?.Inner ?? disk, new BlockRange(0, DiskBytes), 7);
        return new PointInTime(disk, temp, tempReadsAsZero: true);
    }

    // Without optimization the compiler makes every state machine an object.
    private static void SkipUnlessOptimized() => Assert.SkipWhen(
        typeof(PointInTime).Assembly.GetCustomAttribute<DebuggableAttribute>() is { IsJITOptimizerDisabled: true },
        "Allocations of asynchronous methods are counted in Release builds.");

    // The fewest of several rounds: the JIT replaces code in the middle of one, and that is not the path's cost.
    private static long AllocatedBytes(Action request)
    {
        long fewest = long.MaxValue;
        for (int i = 0; i < 5; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int round = 0; round < Rounds; round++)
            {
                request();
            }

            fewest = Math.Min(fewest, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return fewest;
    }

    private static void Complete(ValueTask request)
    {
        Assert.True(request.IsCompleted);
        request.GetAwaiter().GetResult();
    }

    private sealed class SilentJournal : ISessionJournal
    {
        public BlockException? NoteDone(GranuleRun run, bool hasData) => null;

        public BlockException? NoteConsumed(GranuleRun run) => null;

        public BlockException? NoteConfirmed(int consumer, GranuleRun run) => null;

        public void NoteBroken(BlockException cause)
        {
        }
    }
}
