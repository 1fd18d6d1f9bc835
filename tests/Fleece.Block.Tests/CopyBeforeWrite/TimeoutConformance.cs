// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Cases W3, W4 and B2 of the conformance list: copies that take too long. 1 MiB disk, full, and a clock of the test.</summary>
public sealed class TimeoutConformance : IAsyncDisposable
{
    private const int DiskBytes = 1024 * 1024;
    private const int Half = DiskBytes / 2;

    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Tick = TimeSpan.FromTicks(1);

    private readonly byte[] _instant = new Seeds(1).Bytes(DiskBytes);
    private readonly HoldNode _disk = new(new MemoryNode(DiskBytes));
    private readonly HoldNode _temp = new(new MemoryNode(DiskBytes));
    private readonly ManualTime _time = new();

    [Fact]
    public async Task W3_break_guest_write_fails_the_late_write_and_the_snapshot_stays()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        await WriteAsync(point, 0);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task late = WriteAsync(point, Half);
        await copying.Reached;

        await RunOutAsync(Second);

        BlockException failed = await Assert.ThrowsAsync<BlockException>(() => late);
        Assert.Equal(BlockErrors.CopyTimedOut, failed.Kind);
        Assert.Contains("timed out", failed.Message, StringComparison.Ordinal);
        Assert.Equal(SessionState.Active, point.State);
        Assert.Equal(_instant, await ReadAsync(point));
        Assert.Equal(_instant[Half..], (await ReadDiskAsync())[Half..]);
        copying.Release();
    }

    [Fact]
    public async Task W4_break_snapshot_lets_the_late_write_through_and_later_reads_fail()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakSnapshot, Second);
        await WriteAsync(point, 0);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task late = WriteAsync(point, Half);
        await copying.Reached;

        await RunOutAsync(Second);
        await late;

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => ReadAsync(point));
        Assert.Equal((BlockErrors.Broken, BlockErrors.CopyTimedOut), (refused.Kind, refused.RootKind));
        Assert.Contains("timed out", point.BrokenBy!.Message, StringComparison.Ordinal);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, DiskBytes), 0xA5);
        copying.Release();
    }

    // Hazard 5: a limit in 32 bits of nanoseconds is 4 s at most. The last one is longer than any timer goes.
    [Theory]
    [InlineData(5)]
    [InlineData(45)]
    [InlineData(3600)]
    [InlineData(100 * 24 * 3600)]
    public async Task B2_a_write_waits_exactly_as_long_as_it_may(int seconds)
    {
        TimeSpan timeout = TimeSpan.FromSeconds(seconds);
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, timeout);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(point, 0);
        await copying.Reached;
        for (TimeSpan left = timeout - Tick; left > TimeSpan.Zero; left -= TimeSpan.FromDays(49))
        {
            await RunOutAsync(left < TimeSpan.FromDays(49) ? left : TimeSpan.FromDays(49));
        }

        Assert.False(write.IsCompleted);
        await RunOutAsync(Tick);

        Assert.Equal(BlockErrors.CopyTimedOut, (await Assert.ThrowsAsync<BlockException>(() => write)).Kind);
        copying.Release();
    }

    [Fact]
    public async Task The_longest_limit_there_is_can_be_waited_for()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, TimeSpan.MaxValue);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(point, 0);
        await copying.Reached;

        copying.Release();

        await write;
        Assert.Equal(_instant, await ReadAsync(point));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    public void A_limit_that_is_no_time_is_refused(long ticks) => Assert.Equal(
        BlockErrors.InvalidArgument,
        Assert.Throws<BlockException>(() => new PointInTime(
            _disk, _temp, limits: new CopyLimits { Timeout = TimeSpan.FromTicks(ticks) })).Kind);

    // The copy that went on has stored the instant's data, because its guest has not written.
    [Fact]
    public async Task A_copy_that_ends_after_its_guest_has_left_is_done_and_the_write_may_be_repeated()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task late = WriteAsync(point, 0);
        await copying.Reached;
        await RunOutAsync(Second);
        await Assert.ThrowsAsync<BlockException>(() => late);

        copying.Release();
        await point.CopiesEndedAsync();
        Hold second = _temp.HoldNext(BlockOperationKind.Write);
        await WriteAsync(point, 0);

        Assert.False(second.IsReached);
        Assert.Equal(Half, point.CopiedBytes);
        Assert.Equal(_instant, await ReadAsync(point));
    }

    // A new write has its own time; it waits for the copy that is running instead of beginning another.
    [Fact]
    public async Task A_write_that_comes_again_waits_for_the_copy_that_went_on()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task late = WriteAsync(point, 0);
        await copying.Reached;
        await RunOutAsync(Second);
        await Assert.ThrowsAsync<BlockException>(() => late);

        Task again = WriteAsync(point, 0);
        Assert.False(again.IsCompleted);
        copying.Release();
        await again;

        Assert.Equal(Half, point.CopiedBytes);
    }

    [Fact]
    public async Task A_copy_that_finds_no_room_in_time_says_that_temp_is_full()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(point, 0);
        await copying.Reached;

        copying.Fail(BlockErrors.NoSpace);

        BlockException failed = await Assert.ThrowsAsync<BlockException>(() => write);
        Assert.Equal((BlockErrors.TempFull, BlockErrors.NoSpace), (failed.Kind, failed.RootKind));
        Assert.Contains("temp is full", failed.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Closing_waits_for_the_copies_whose_guests_have_left()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task late = WriteAsync(point, 0);
        await copying.Reached;
        await RunOutAsync(Second);
        await Assert.ThrowsAsync<BlockException>(() => late);
        point.Stop();

        Task closing = point.CopiesEndedAsync().AsTask();

        Assert.False(closing.IsCompleted);
        copying.Release();
        await closing;
    }

    // I6: once the session is over nobody waits for a copy, not even for his own.
    [Fact]
    public async Task A_write_goes_on_at_once_when_the_session_stops()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        Task write = WriteAsync(point, 0);
        await copying.Reached;

        point.Stop();
        await write;

        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(0, Half), 0xA5);
        copying.Release();
        await point.CopiesEndedAsync();
    }

    [Fact]
    public async Task A_guest_that_gives_up_leaves_its_copy_to_end_by_itself()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        Hold copying = _temp.HoldNext(BlockOperationKind.Write);
        using CancellationTokenSource cancelling = new();
        Task write = point.Filter.WriteAsync(0, new byte[Half], WriteFlags.None, cancelling.Token).AsTask();
        await copying.Reached;

        await cancelling.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => write);
        copying.Release();
        await point.CopiesEndedAsync();
        Assert.Equal(SnapshotRunState.Copied, point.Snapshot.GetRun(0).State);
    }

    // What guests have left must not take memory without end: the copy beyond the bound does not begin before another has ended.
    [Fact]
    public async Task Copies_that_hang_are_bounded()
    {
        const int G = PointInTime.DefaultGranuleSizeBytes;
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        List<Hold> holds = [.. Enumerable.Range(0, Copiers.MaximumCopies + 1).Select(_ => _temp.HoldNext(BlockOperationKind.Write))];
        List<Task> writes = [];
        for (int i = 0; i < Copiers.MaximumCopies; i++)
        {
            writes.Add(point.Filter.WriteAsync(i * G, new byte[G], WriteFlags.None, CancellationToken.None).AsTask());
            await holds[i].Reached;
        }

        writes.Add(point.Filter.WriteAsync(Copiers.MaximumCopies * G, new byte[G], WriteFlags.None, CancellationToken.None).AsTask());
        Assert.False(holds[^1].IsReached);
        holds[0].Release();
        await holds[^1].Reached;

        holds.ForEach(hold => hold.Release());
        await Task.WhenAll(writes);
    }

    [Fact]
    public async Task A_settled_write_makes_no_timer()
    {
        PointInTime point = await StartAsync(CopyErrorPolicy.BreakGuestWrite, Second);
        await WriteAsync(point, 0);
        Hold writing = _disk.HoldNext(BlockOperationKind.Write);
        Task settled = WriteAsync(point, 0);
        await writing.Reached;

        Assert.Equal(0, _time.ArmedTimers);
        writing.Release();
        await settled;
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    private async Task<PointInTime> StartAsync(CopyErrorPolicy policy, TimeSpan timeout)
    {
        await _disk.WriteAsync(0, _instant, WriteFlags.None, CancellationToken.None);
        return new PointInTime(
            _disk, _temp, tempReadsAsZero: true, policy: policy, limits: new CopyLimits { Timeout = timeout, Time = _time });
    }

    // The guest's timer is made on its way into the wait, and the next one, where one is not enough, on another thread.
    private async Task RunOutAsync(TimeSpan time)
    {
        while (_time.ArmedTimers == 0)
        {
            await Task.Yield();
        }

        _time.Advance(time);
    }

    private static Task WriteAsync(PointInTime point, long offsetBytes)
    {
        byte[] data = new byte[Half];
        data.AsSpan().Fill(0xA5);
        return point.Filter.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None).AsTask();
    }

    private static async Task<byte[]> ReadAsync(PointInTime point)
    {
        byte[] read = new byte[DiskBytes];
        await point.Snapshot.ReadAsync(0, read, CancellationToken.None);
        return read;
    }

    private async Task<byte[]> ReadDiskAsync()
    {
        byte[] read = new byte[DiskBytes];
        await _disk.ReadAsync(0, read, CancellationToken.None);
        return read;
    }
}
