// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>How much old data temp may hold, what is said before it does, and what happens then.</summary>
public sealed class TempLimitTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int Granules = 20;

    private readonly MemoryNode _disk = new(Granules * G);
    private readonly FaultNode _temp = new(new MemoryNode(Granules * G));
    private readonly List<TempLimitNearEventArgs> _warnings = [];

    public TempLimitTests() => Fleecing.Fill(_disk, new BlockRange(0, Granules * G), 7);

    [Fact]
    public async Task Break_snapshot_gives_the_snapshot_up_for_the_write_that_no_longer_fits()
    {
        PointInTime point = Start(10 * G, CopyErrorPolicy.BreakSnapshot);
        await WriteAsync(point, 0, 10);
        Assert.Equal(SessionState.Active, point.State);

        await WriteAsync(point, 10, 1);

        Assert.Equal(BlockErrors.TempLimitReached, point.BrokenBy!.Kind);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, 11 * G), 9);
    }

    [Fact]
    public async Task Break_guest_write_fails_the_write_that_no_longer_fits_and_settled_ones_go_on()
    {
        PointInTime point = Start(10 * G, CopyErrorPolicy.BreakGuestWrite);
        await WriteAsync(point, 0, 10);

        BlockException failed = await Assert.ThrowsAsync<BlockException>(() => WriteAsync(point, 9, 2));
        await WriteAsync(point, 0, 10);

        Assert.Equal(BlockErrors.TempLimitReached, failed.Kind);
        Assert.Equal(10 * G, point.TempUsedBytes);
        await AssertInstantAsync(point, 0, Granules);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(10 * G, 10 * G), 7);
    }

    [Fact]
    public async Task What_is_consumed_gives_its_room_back()
    {
        PointInTime point = Start(10 * G, CopyErrorPolicy.BreakGuestWrite);
        await WriteAsync(point, 0, 10);

        // Half of what was consumed had been copied.
        await point.Snapshot.DiscardAsync(5 * G, 10 * G, CancellationToken.None);
        Assert.Equal(5 * G, point.TempUsedBytes);
        await point.Snapshot.DiscardAsync(5 * G, 10 * G, CancellationToken.None);
        await WriteAsync(point, 15, 5);

        Assert.Equal(10 * G, point.TempUsedBytes);
        await AssertInstantAsync(point, 0, 5);
        await AssertInstantAsync(point, 15, 5);
    }

    [Fact]
    public async Task Zeros_take_no_room()
    {
        Fleecing.Fill(_disk, new BlockRange(0, 10 * G), 0);
        PointInTime point = Start(G, CopyErrorPolicy.BreakGuestWrite);

        await WriteAsync(point, 0, 10);
        await WriteAsync(point, 10, 1);
        await point.Snapshot.DiscardAsync(0, 5 * G, CancellationToken.None);

        Assert.Equal(G, point.TempUsedBytes);
    }

    [Fact]
    public async Task A_copy_that_failed_gives_its_room_back()
    {
        PointInTime point = Start(2 * G, CopyErrorPolicy.BreakGuestWrite);
        _temp.FailNth(BlockOperationKind.Write, 1, isTorn: true);
        await Assert.ThrowsAsync<BlockException>(() => WriteAsync(point, 0, 2));
        Assert.Equal(0, point.TempUsedBytes);

        await WriteAsync(point, 2, 2);

        Assert.Equal(2 * G, point.TempUsedBytes);
    }

    // The last granule of this disk is short, and so is what it takes.
    [Fact]
    public async Task The_end_of_a_disk_counts_as_what_it_is()
    {
        MemoryNode disk = new(G + 512);
        Fleecing.Fill(disk, new BlockRange(0, G + 512), 7);
        PointInTime point = new(disk, new MemoryNode(G + 512), tempReadsAsZero: true, limits: new CopyLimits { TempBytes = G + 512 });

        await point.Filter.WriteAsync(0, new byte[G + 512], WriteFlags.None, CancellationToken.None);

        Assert.Equal(G + 512, point.TempUsedBytes);
        Assert.Equal(SessionState.Active, point.State);
    }

    // A granule beyond one buffer: none of it may stay behind uncounted when it does not fit whole.
    [Fact]
    public async Task A_large_granule_is_stored_whole_or_not_at_all()
    {
        const int Large = 2 * 1024 * 1024;
        MemoryNode disk = new(2 * Large);
        Fleecing.Fill(disk, new BlockRange(0, 2 * Large), 7);
        RecordingNode temp = new(new MemoryNode(2 * Large));
        PointInTime point = new(
            disk,
            temp,
            tempReadsAsZero: true,
            granuleSizeBytes: Large,
            policy: CopyErrorPolicy.BreakGuestWrite,
            limits: new CopyLimits { TempBytes = Large + Large / 2 });
        await point.Filter.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None);
        temp.Clear();

        await Assert.ThrowsAsync<BlockException>(
            async () => await point.Filter.WriteAsync(Large, new byte[1], WriteFlags.None, CancellationToken.None));

        Assert.Empty(temp.Operations);
    }

    [Fact]
    public async Task A_warning_comes_at_four_fifths_and_once()
    {
        PointInTime point = Start(10 * G, CopyErrorPolicy.BreakSnapshot);
        await WriteAsync(point, 0, 7);
        Assert.Empty(_warnings);
        Assert.False(point.Budget.IsNear);

        await WriteAsync(point, 7, 1);
        await WriteAsync(point, 8, 1);

        TempLimitNearEventArgs warning = Assert.Single(_warnings);
        Assert.Equal((8 * G, 10 * G), (warning.UsedBytes, warning.LimitBytes));
        Assert.True(point.Budget.IsNear);
    }

    [Fact]
    public async Task A_warning_comes_again_when_much_was_consumed_in_between()
    {
        PointInTime point = Start(10 * G, CopyErrorPolicy.BreakSnapshot);
        await WriteAsync(point, 0, 8);
        await point.Snapshot.DiscardAsync(0, 2 * G, CancellationToken.None);
        await WriteAsync(point, 8, 2);
        Assert.Single(_warnings);

        await point.Snapshot.DiscardAsync(0, 6 * G, CancellationToken.None);
        await WriteAsync(point, 10, 4);

        Assert.Equal(2, _warnings.Count);
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(30, 3)]
    [InlineData(99, 10)]
    public async Task The_mark_of_the_warning_can_be_moved(int percent, int granules)
    {
        PointInTime point = Start(10 * G, CopyErrorPolicy.BreakSnapshot, percent);
        await WriteAsync(point, 0, granules - 1);
        Assert.Empty(_warnings);

        await WriteAsync(point, granules - 1, 1);

        Assert.Single(_warnings);
        Assert.True(point.Budget.IsNear);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100)]
    public void A_mark_that_is_no_part_of_the_limit_is_refused(int percent) => Assert.Equal(
        BlockErrors.InvalidArgument,
        Assert.Throws<BlockException>(() => Start(10 * G, CopyErrorPolicy.BreakSnapshot, percent)).Kind);

    [Fact]
    public void A_mark_without_a_limit_is_refused() => Assert.Contains(
        "-TempLimitBytes",
        Assert.Throws<BlockException>(() => Start(null, CopyErrorPolicy.BreakSnapshot, 70)).Message,
        StringComparison.Ordinal);

    // A single write can go from nothing to beyond the limit.
    [Fact]
    public async Task A_write_that_does_not_fit_at_all_is_warned_of_too()
    {
        PointInTime point = Start(2 * G, CopyErrorPolicy.BreakGuestWrite);

        await Assert.ThrowsAsync<BlockException>(() => WriteAsync(point, 0, 3));

        Assert.Single(_warnings);
    }

    [Fact]
    public void A_limit_in_which_no_granule_fits_is_refused() => Assert.Equal(
        BlockErrors.InvalidArgument, Assert.Throws<BlockException>(() => Start(G - 1, CopyErrorPolicy.BreakSnapshot)).Kind);

    [Fact]
    public async Task Without_a_limit_the_used_bytes_are_told_all_the_same()
    {
        PointInTime point = Start(null, CopyErrorPolicy.BreakSnapshot);

        await WriteAsync(point, 0, 3);

        Assert.Equal(3 * G, point.TempUsedBytes);
        Assert.False(point.Budget.IsNear);
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    private PointInTime Start(long? limitBytes, CopyErrorPolicy policy, int? warningPercent = null)
    {
        CopyLimits limits = new() { TempBytes = limitBytes, TempWarningPercent = warningPercent };
        PointInTime point = new(_disk, _temp, tempReadsAsZero: true, policy: policy, limits: limits);
        point.Budget.LimitNear += (_, warning) => _warnings.Add(warning);
        return point;
    }

    private static async Task WriteAsync(PointInTime point, int granule, int count)
    {
        byte[] data = new byte[count * G];
        data.AsSpan().Fill(9);
        await point.Filter.WriteAsync(granule * G, data, WriteFlags.None, CancellationToken.None);
    }

    private static Task AssertInstantAsync(PointInTime point, int granule, int count) =>
        Fleecing.AssertHoldsAsync(point.Snapshot, new BlockRange(granule * G, count * G), 7);
}
