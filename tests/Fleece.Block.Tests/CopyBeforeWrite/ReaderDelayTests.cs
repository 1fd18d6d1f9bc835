// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Snapshot reads while a guest's copy waits for the disk; patience is 1 ms, and the clock is the test's.</summary>
public sealed class ReaderDelayTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int DiskBytes = 16 * G;

    private static readonly TimeSpan Patience = TimeSpan.FromMilliseconds(1);

    private readonly RecordingNode _recorded = new(new MemoryNode(DiskBytes));
    private readonly HoldNode _disk;
    private readonly HoldNode _temp = new(new MemoryNode(DiskBytes));
    private readonly ManualTime _time = new();
    private readonly PointInTime _point;

    public ReaderDelayTests()
    {
        _disk = new HoldNode(_recorded);
        Fleecing.Fill(_disk, new BlockRange(0, DiskBytes), 7);
        _point = StartOver(_time);
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    [Fact]
    public async Task A_read_has_to_wait_when_a_copy_waits_for_the_disk_for_longer_than_readers_have_patience()
    {
        Hold hold = _disk.HoldNext(BlockOperationKind.Read);
        Task write = WriteAsync(_point);

        _time.Advance(Patience);
        Assert.False(_point.ReaderDelay.IsDue);
        _time.Advance(TimeSpan.FromTicks(1));
        Assert.True(_point.ReaderDelay.IsDue);

        hold.Release();
        await write;
        Assert.False(_point.ReaderDelay.IsDue);
    }

    [Fact]
    public async Task A_copy_that_waits_for_temp_holds_no_read_back()
    {
        Hold hold = _temp.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(_point);
        _time.Advance(Patience * 2);

        Assert.False(_point.ReaderDelay.IsDue);

        hold.Release();
        await write;
    }

    [Fact]
    public async Task A_read_goes_on_though_the_copy_hangs()
    {
        Hold hold = _disk.HoldNext(BlockOperationKind.Read);
        Task write = WriteAsync(_point);
        _time.Advance(Patience * 2);
        byte[] buffer = new byte[G];

        await _point.Snapshot.ReadAsync(8 * G, buffer, CancellationToken.None);

        Assert.DoesNotContain(buffer, value => value != 7);
        Assert.Equal(1, _point.Metrics.ReaderWaits.Count);
        hold.Release();
        await write;
    }

    [Fact]
    public async Task After_a_wait_reads_go_on_for_as_long_as_it_took()
    {
        SteppingTime time = new();
        PointInTime point = StartOver(time);
        Hold hold = _disk.HoldNext(BlockOperationKind.Read);
        Task write = WriteAsync(point);
        time.Advance(Patience * 2);
        long before = time.GetTimestamp();

        Assert.True(point.ReaderDelay.IsDue);
        point.ReaderDelay.Wait(CancellationToken.None);

        long waited = time.GetTimestamp() - before;
        Assert.False(point.ReaderDelay.IsDue);
        time.Advance(TimeSpan.FromTicks(waited));
        Assert.True(point.ReaderDelay.IsDue);
        hold.Release();
        await write;
    }

    [Fact]
    public async Task Nothing_is_read_ahead_while_a_copy_waits_for_the_disk()
    {
        Hold hold = _disk.HoldNext(BlockOperationKind.Read);
        Task write = WriteAsync(_point);
        _time.Advance(Patience * 2);

        _point.Snapshot.ReadAhead(8 * G, G);
        Assert.Empty(_recorded.ReadAheads);

        hold.Release();
        await write;
        _point.Snapshot.ReadAhead(8 * G, G);
        Assert.Equal([new BlockRange(8 * G, G)], _recorded.ReadAheads);
    }

    private static Task WriteAsync(PointInTime point) =>
        point.Filter.WriteAsync(0, new byte[G], WriteFlags.None, CancellationToken.None).AsTask();

    private PointInTime StartOver(TimeProvider time) =>
        new(_disk, _temp, tempReadsAsZero: true, limits: new CopyLimits { ReaderPatience = Patience, Time = time });

    /// <summary>A clock that goes on a little with each look at it.</summary>
    private sealed class SteppingTime : TimeProvider
    {
        private long _nowTicks;

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Interlocked.Add(ref _nowTicks, 10);

        public void Advance(TimeSpan by) => Interlocked.Add(ref _nowTicks, by.Ticks);
    }
}
