// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>
/// Cases B1, B7, O4 and O5 of the conformance list: many readers, huge disks, answers up to the border.
/// </summary>
public sealed class QueryConformance
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;

    // Overlapping requests are legal (hazard 6), whatever the guest does meanwhile and whoever hangs up.
    [Fact]
    public async Task B1_parallel_overlapping_queries_and_reads_while_readers_come_and_go()
    {
        Seeds seeds = Seeds.FromEnvironment();
        const int DiskBytes = 64 * G;
        byte[] instant = seeds.Bytes(DiskBytes);
        MemoryNode disk = new(DiskBytes);
        await disk.WriteAsync(0, instant, WriteFlags.None, CancellationToken.None);
        PointInTime point = new(
            new DelayNode(disk, seeds), new DelayNode(new MemoryNode(DiskBytes), seeds), tempReadsAsZero: true);
        Task[] clients = [.. Enumerable.Range(0, 8).Select(_ => seeds.Fork()).Select(own => Task.Run(async () =>
        {
            for (int round = 0; round < 50; round++)
            {
                await ConnectAsync(point, instant, own);
            }
        }))];
        Task guest = Task.Run(() => WriteEveryGranuleAsync(point, seeds.Fork()));

        await Task.WhenAll([.. clients, guest]);

        Assert.Equal(SessionState.Active, point.State);
    }

    // O(1) in the disk's size: directories only, no entry per granule and no scan.
    [Fact]
    public void B7_a_session_on_64_TiB_takes_little_memory()
    {
        const long DiskBytes = 1L << 46;
        MemoryNode disk = new(DiskBytes);
        MemoryNode temp = new(DiskBytes);
        long beforeBytes = GC.GetAllocatedBytesForCurrentThread();

        PointInTime point = new(disk, temp, tempReadsAsZero: true, ranges: [new BlockRange(DiskBytes / 2, 1)]);

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - beforeBytes, 0, 20 * 1024 * 1024);
        Assert.Equal(SnapshotRunState.Denied, point.Snapshot.GetRun(0).State);
    }

    [Fact]
    public async Task O4_two_readers_and_one_consumer_see_the_instant_or_are_told_it_was_consumed()
    {
        Fleecing fleecing = new(hasBitmap: false);
        BlockRange first = new(0, 65536);
        fleecing.Overwrite();
        await Fleecing.AssertHoldsAsync(fleecing.Snapshot, first, 0x11);
        await Fleecing.AssertHoldsAsync(fleecing.Snapshot, first, 0x11);

        await fleecing.Snapshot.DiscardAsync(0, G, CancellationToken.None);

        await Fleecing.AssertRefusedAsync(BlockErrors.Consumed, fleecing.Snapshot, first);
        await Fleecing.AssertHoldsAsync(fleecing.Snapshot, new BlockRange(G, 65536 - G), 0x11);
    }

    // Hazard 3, both sides of the border, denied from the start and consumed later.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task O5_status_stops_exactly_at_the_first_refused_granule(bool isDenied)
    {
        MemoryNode disk = new(8 * G);
        await disk.WriteAsync(0, new Seeds(1).Bytes(8 * G), WriteFlags.None, CancellationToken.None);
        PointInTime point = new(disk, new MemoryNode(8 * G), ranges: isDenied ? [new BlockRange(0, 3 * G)] : null);
        if (!isDenied)
        {
            await point.Snapshot.DiscardAsync(3 * G, 5 * G, CancellationToken.None);
        }

        Assert.Equal(new(BlockStatus.Data, 3 * G), await AskAsync(point, 0, 8 * G));
        Assert.Equal(new(BlockStatus.Data, 1), await AskAsync(point, 3 * G - 1, 5 * G));
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => AskAsync(point, 3 * G, 1));
        Assert.Equal(isDenied ? BlockErrors.Denied : BlockErrors.Consumed, refused.Kind);
    }

    [Fact]
    public async Task O5_status_of_a_copied_hole_is_zero_and_of_copied_data_is_data()
    {
        MemoryNode disk = new(3 * 65536);
        await disk.WriteAsync(0, new Seeds(1).Bytes(65536), WriteFlags.None, CancellationToken.None);
        PointInTime point = new(disk, new MemoryNode(3 * 65536), tempReadsAsZero: true, granuleSizeBytes: 65536);
        Fleecing.Fill(point.Filter, new BlockRange(0, 65536), 0xA1);
        Fleecing.Fill(point.Filter, new BlockRange(65536, 65536), 0xA2);

        Assert.Equal(new(BlockStatus.Data, 65536), await AskAsync(point, 0, 3 * 65536));
        Assert.True((await AskAsync(point, 65536, 2 * 65536)).ReadsAsZero);
        Assert.True((await AskAsync(point, 2 * 65536, 65536)).ReadsAsZero);
    }

    private static async Task ConnectAsync(PointInTime point, byte[] instant, Seeds seeds)
    {
        BlockRange range = seeds.Range(instant.Length);
        byte[] read = new byte[range.LengthBytes];
        using CancellationTokenSource hangUp = new();
        Task request = point.Snapshot.ReadAsync(range.OffsetBytes, read, hangUp.Token).AsTask();
        if (!range.IsEmpty)
        {
            await AskAsync(point, range.OffsetBytes, range.LengthBytes);
        }

        if (seeds.Chance(20))
        {
            await hangUp.CancelAsync();
        }

        try
        {
            await request;
            ReadOnlySpan<byte> expected = instant.AsSpan((int)range.OffsetBytes, read.Length);
            Assert.True(read.AsSpan().SequenceEqual(expected), $"{range} is not the instant's");
        }
        catch (OperationCanceledException)
        {
            // A reader that hung up gets nothing; the guest must not wait for it for ever.
        }
    }

    private static async Task WriteEveryGranuleAsync(PointInTime point, Seeds seeds)
    {
        for (int round = 0; round < 4; round++)
        {
            for (long at = 0; at < point.Filter.Geometry.LengthBytes; at += G)
            {
                await point.Filter.WriteAsync(at, seeds.Bytes(G), WriteFlags.None, CancellationToken.None);
            }
        }
    }

    private static Task<BlockStatusRun> AskAsync(PointInTime point, long offsetBytes, long lengthBytes) =>
        point.Snapshot.GetStatusAsync(offsetBytes, lengthBytes, CancellationToken.None).AsTask();
}
