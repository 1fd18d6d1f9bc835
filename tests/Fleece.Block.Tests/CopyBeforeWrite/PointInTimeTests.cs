// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>What a point in time refuses at its start, and what it says of itself.</summary>
public sealed class PointInTimeTests
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;

    [Fact]
    public void A_temp_smaller_than_the_disk_is_refused() =>
        AssertRefused(BlockErrors.TempTooSmall, () => new PointInTime(new MemoryNode(2 * G), new MemoryNode(G)));

    [Theory]
    [InlineData(256)]
    [InlineData(4 * 1024 * 1024)]
    [InlineData(4097)]
    [InlineData(0)]
    public void A_granule_that_is_no_power_of_two_within_the_bounds_is_refused(int granuleSizeBytes) => AssertRefused(
        BlockErrors.InvalidArgument,
        () => new PointInTime(new MemoryNode(G), new MemoryNode(G), granuleSizeBytes: granuleSizeBytes));

    [Fact]
    public void A_granule_smaller_than_the_alignment_of_temp_is_refused() => AssertRefused(
        BlockErrors.InvalidArgument,
        () => new PointInTime(new MemoryNode(G), Aligned(G, 4096), granuleSizeBytes: 512));

    // The last, partial granule could not be written to such a temp.
    [Fact]
    public void A_disk_whose_end_temp_cannot_hold_is_refused() => AssertRefused(
        BlockErrors.InvalidArgument,
        () => new PointInTime(new MemoryNode(2 * G + 512), Aligned(4 * G, 4096)));

    [Fact]
    public void A_range_beyond_the_disk_is_refused() => AssertRefused(
        BlockErrors.OutOfRange,
        () => new PointInTime(new MemoryNode(G), new MemoryNode(G), ranges: [new BlockRange(0, G + 1)]));

    [Theory]
    [InlineData(1, 512, 512)]
    [InlineData(512, 1, 512)]
    [InlineData(512, 4096, 4096)]
    public async Task A_snapshot_takes_what_both_the_disk_and_temp_take(int disk, int temp, int expected)
    {
        PointInTime point = new(Aligned(4 * G, disk), Aligned(4 * G, temp), tempReadsAsZero: true);
        Assert.Equal(expected, point.Snapshot.Geometry.RequestAlignmentBytes);
        await point.Filter.WriteAsync(0, new byte[4 * G], WriteFlags.None, CancellationToken.None);

        await point.Snapshot.ReadAsync(expected, new byte[expected], CancellationToken.None);
    }

    [Fact]
    public async Task A_snapshot_of_no_ranges_denies_everything_and_copies_nothing()
    {
        PointInTime point = new(new MemoryNode(4 * G), new MemoryNode(4 * G), ranges: []);

        await point.Filter.WriteAsync(0, new byte[4 * G], WriteFlags.None, CancellationToken.None);

        Assert.Equal(new SnapshotRun(0, 4 * G, SnapshotRunState.Denied), point.Snapshot.GetRun(0));
        Assert.Equal(0, point.CopiedBytes);
    }

    // Unsorted, overlapping, touching and empty ranges, widened to whole granules.
    [Fact]
    public void Ranges_are_widened_to_granules_and_joined()
    {
        PointInTime point = new(
            new MemoryNode(10 * G),
            new MemoryNode(10 * G),
            ranges: [new(6 * G + 1, 1), new(2 * G, G), new(G + 5, 2 * G), new(3 * G, 0), new(7 * G, 1)]);

        Assert.Equal(new SnapshotRun(0, G, SnapshotRunState.Denied), point.Snapshot.GetRun(0));
        Assert.Equal(new SnapshotRun(G, 3 * G, SnapshotRunState.Untouched), point.Snapshot.GetRun(G));
        Assert.Equal(new SnapshotRun(4 * G, 2 * G, SnapshotRunState.Denied), point.Snapshot.GetRun(4 * G));
        Assert.Equal(new SnapshotRun(6 * G, 2 * G, SnapshotRunState.Untouched), point.Snapshot.GetRun(6 * G));
        Assert.Equal(new SnapshotRun(8 * G, 2 * G, SnapshotRunState.Denied), point.Snapshot.GetRun(8 * G));
    }

    [Fact]
    public async Task A_walk_tells_untouched_copied_denied_and_consumed_apart()
    {
        PointInTime point = new(
            new MemoryNode(8 * G + 100), new MemoryNode(8 * G + 100), ranges: [new BlockRange(0, 6 * G)]);
        await point.Filter.WriteAsync(G, new byte[2 * G], WriteFlags.None, CancellationToken.None);
        await point.Snapshot.DiscardAsync(2 * G, 2 * G, CancellationToken.None);

        SnapshotRunState[] states =
            [.. Enumerable.Range(0, 9).Select(granule => point.Snapshot.GetRun((long)granule * G).State)];

        Assert.Equal(
            [
                SnapshotRunState.Untouched, SnapshotRunState.Copied, SnapshotRunState.Consumed,
                SnapshotRunState.Consumed, SnapshotRunState.Untouched, SnapshotRunState.Untouched,
                SnapshotRunState.Denied, SnapshotRunState.Denied, SnapshotRunState.Denied,
            ],
            states);
        Assert.Equal(2 * G + 100, point.Snapshot.GetRun(6 * G).LengthBytes);
    }

    [Fact]
    public async Task The_next_readable_range_skips_what_is_refused_and_keeps_its_bounds()
    {
        PointInTime point = new(new MemoryNode(8 * G), new MemoryNode(8 * G), ranges: [new BlockRange(2 * G, 4 * G)]);
        await point.Snapshot.DiscardAsync(3 * G, G, CancellationToken.None);

        Assert.Equal(new BlockRange(2 * G, G), point.Snapshot.NextReadable(0, 8 * G));
        Assert.Equal(new BlockRange(2 * G + 7, 3), point.Snapshot.NextReadable(2 * G + 7, 2 * G + 10));
        Assert.Equal(new BlockRange(4 * G, 2 * G), point.Snapshot.NextReadable(3 * G, 8 * G));
        Assert.True(point.Snapshot.NextReadable(6 * G, 8 * G).IsEmpty);
    }

    [Fact]
    public async Task Copied_bytes_leave_out_granules_of_zeros()
    {
        MemoryNode disk = new(4 * G);
        Fleecing.Fill(disk, new BlockRange(0, G), 7);
        PointInTime point = new(disk, new MemoryNode(4 * G), tempReadsAsZero: true);

        await point.Filter.WriteAsync(0, new byte[G], WriteFlags.None, CancellationToken.None);
        await point.Filter.WriteAsync(2 * G, new byte[G], WriteFlags.None, CancellationToken.None);

        Assert.Equal(G, point.CopiedBytes);
    }

    // A temp with old content: zeros must be stored, or the snapshot would read what temp happened to hold.
    [Fact]
    public async Task Zeros_are_stored_when_temp_holds_something_else()
    {
        MemoryNode temp = new(G);
        Fleecing.Fill(temp, new BlockRange(0, G), 7);
        PointInTime point = new(new MemoryNode(G), temp, tempReadsAsZero: false);

        Fleecing.Fill(point.Filter, new BlockRange(0, G), 9);

        byte[] read = new byte[G];
        await point.Snapshot.ReadAsync(0, read, CancellationToken.None);
        Assert.False(read.AsSpan().ContainsAnyExcept((byte)0));
    }

    private static AlignedNode Aligned(long lengthBytes, int alignmentBytes) =>
        new(new MemoryNode(lengthBytes), alignmentBytes);

    private static void AssertRefused(string kind, Func<PointInTime> make) =>
        Assert.Equal(kind, Assert.Throws<BlockException>(make).Kind);
}
