// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.Block.Telemetry;
using Fleece.Block.Tests.CopyBeforeWrite;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Telemetry;

/// <summary>A point in time counts and times its guests and its readers.</summary>
public sealed class SessionMetricsTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int DiskBytes = 64 * G;

    private readonly HoldNode _disk = new(new MemoryNode(DiskBytes));
    private readonly FaultNode _temp = new(new MemoryNode(DiskBytes));
    private readonly byte[] _page = new byte[G];

    public SessionMetricsTests() => Fleecing.Fill(_disk.Inner, new BlockRange(0, DiskBytes), 7);

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    [Fact]
    public async Task A_first_write_is_a_wait_and_a_copy_and_a_settled_one_is_neither()
    {
        PointInTime point = new(_disk, _temp);

        await point.Filter.WriteAsync(G, _page, WriteFlags.None, default);
        await point.Filter.WriteAsync(G, _page, WriteFlags.None, default);
        await point.Filter.WriteZeroesAsync(G, G, WriteFlags.None, default);
        await point.Filter.DiscardAsync(G, G, default);

        Assert.Equal(1, point.Metrics.GuestWaits.Count);
        Assert.Equal(1, point.Metrics.Copies.Count);
        Assert.Equal(0, point.Metrics.FrozenWaits.Count);
        Assert.True(point.Metrics.GuestWaits.Total >= point.Metrics.Copies.Total);
    }

    [Fact]
    public async Task First_zeroes_and_discards_are_waits_too()
    {
        PointInTime point = new(_disk, _temp);

        await point.Filter.WriteZeroesAsync(0, G, WriteFlags.None, default);
        await point.Filter.DiscardAsync(G, G, default);

        Assert.Equal(2, point.Metrics.GuestWaits.Count);
        Assert.Equal(2, point.Metrics.Copies.Count);
    }

    [Fact]
    public async Task A_write_that_waits_for_a_snapshot_read_counts_as_that()
    {
        PointInTime point = new(_disk, _temp);
        Hold held = _disk.HoldNext(BlockOperationKind.Read);
        Task reading = point.Snapshot.ReadAsync(0, new byte[G], default).AsTask();
        await held.Reached;
        Task writing = point.Filter.WriteAsync(0, _page, WriteFlags.None, default).AsTask();
        Assert.False(writing.IsCompleted);

        held.Release();
        await reading;
        await writing;

        Assert.Equal(1, point.Metrics.FrozenWaits.Count);
        Assert.Equal(1, point.Metrics.GuestWaits.Count);
        Assert.True(point.Metrics.GuestWaits.Total >= point.Metrics.FrozenWaits.Total);
    }

    [Fact]
    public async Task Snapshot_reads_count_bytes_by_where_they_come_from()
    {
        PointInTime point = new(_disk, _temp);
        await point.Filter.WriteAsync(0, _page, WriteFlags.None, default);

        await point.Snapshot.ReadAsync(0, new byte[3 * G], default);

        Assert.Equal((2 * G, G), (point.Metrics.DiskReadBytes, point.Metrics.TempReadBytes));
    }

    [Theory]
    [InlineData(CopyErrorPolicy.BreakSnapshot)]
    [InlineData(CopyErrorPolicy.BreakGuestWrite)]
    public async Task A_copy_that_fails_counts_by_its_kind_and_its_wait_counts_too(CopyErrorPolicy policy)
    {
        PointInTime point = new(_disk, _temp, policy: policy);
        _temp.FailNth(BlockOperationKind.Write, 1, BlockErrors.NoSpace);

        await Record.ExceptionAsync(() => point.Filter.WriteAsync(0, _page, WriteFlags.None, default).AsTask());

        Assert.Equal([KeyValuePair.Create(BlockErrors.NoSpace, 1L)], point.Metrics.Failures);
        Assert.Equal((0, 1), (point.Metrics.Copies.Count, point.Metrics.GuestWaits.Count));
    }

    [Fact]
    public async Task A_slow_wait_is_told_with_its_place()
    {
        List<SlowRequest> told = [];
        SlowRequests slow = new();
        slow.Watch(TimeSpan.Zero, told.Add);
        PointInTime point = new(_disk, _temp);
        point.Metrics.Owner = new MetricOwner(("disk", "vm"), ("session", "nightly"));
        point.Metrics.Slow = slow;

        await point.Filter.WriteAsync(G, _page, WriteFlags.None, default);

        SlowRequest only = Assert.Single(told);
        Assert.Equal(("session 'vm/nightly'", G, G), (only.Subject, only.OffsetBytes, only.LengthBytes));
        Assert.Equal(1, slow.Count);
    }

    [Fact]
    public async Task Without_a_watch_nothing_is_slow()
    {
        SlowRequests slow = new();
        PointInTime point = new(_disk, _temp);
        point.Metrics.Slow = slow;

        await point.Filter.WriteAsync(G, _page, WriteFlags.None, default);

        Assert.Equal(0, slow.Count);
    }
}
