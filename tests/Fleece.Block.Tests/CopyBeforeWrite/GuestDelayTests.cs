// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Writes that are held back while temp fills. Limit 10 granules, mark at 5, at most 100 ms, and a clock of the test.</summary>
public sealed class GuestDelayTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int Granules = 20;

    private readonly MemoryNode _disk = new(Granules * G);
    private readonly MemoryNode _temp = new(Granules * G);
    private readonly ManualTime _time = new();

    public GuestDelayTests() => Fleecing.Fill(_disk, new BlockRange(0, Granules * G), 7);

    [Theory]
    [InlineData(6, 20)]
    [InlineData(7, 40)]
    [InlineData(9, 80)]
    [InlineData(10, 100)]
    public async Task The_delay_grows_from_the_mark_to_the_limit(int usedGranules, int milliseconds)
    {
        PointInTime point = await StartAsync(usedGranules);
        Task write = WriteAsync(point, usedGranules);

        await AdvanceAsync(TimeSpan.FromMilliseconds(milliseconds) - TimeSpan.FromTicks(1));
        Assert.False(write.IsCompleted);
        await AdvanceAsync(TimeSpan.FromMilliseconds(1));
        await write;

        Assert.Equal(1, point.Delay.Count);
        Assert.Equal(milliseconds, point.Delay.Total.TotalMilliseconds, tolerance: 1);
    }

    [Fact]
    public async Task No_write_is_held_back_up_to_the_mark()
    {
        PointInTime point = await StartAsync(5);

        Assert.True(WriteAsync(point, 5).IsCompletedSuccessfully);

        Assert.Equal((0, TimeSpan.Zero), (point.Delay.Count, point.Delay.Total));
    }

    // A granule that is copied, one that is consumed, and one that was denied.
    [Theory]
    [InlineData(0)]
    [InlineData(12)]
    [InlineData(19)]
    public async Task A_settled_write_is_never_held_back(int granule)
    {
        PointInTime point = await StartAsync(9);
        await point.Snapshot.DiscardAsync(12 * G, G, CancellationToken.None);

        Assert.True(WriteAsync(point, granule).IsCompletedSuccessfully);

        Assert.Equal(0, point.Delay.Count);
    }

    [Fact]
    public async Task Reads_and_flushes_are_never_held_back()
    {
        PointInTime point = await StartAsync(9);

        Task read = point.Filter.ReadAsync(15 * G, new byte[G], CancellationToken.None).AsTask();
        Task flush = point.Filter.FlushAsync(CancellationToken.None).AsTask();

        Assert.True(read.IsCompletedSuccessfully && flush.IsCompletedSuccessfully);
    }

    // Not once for each of its granules.
    [Fact]
    public async Task A_long_write_is_held_back_once()
    {
        PointInTime point = await StartAsync(6, limit: 18);
        await WriteAsync(point, 6, 4);
        Task write = WriteAsync(point, 10, 5);

        await AdvanceAsync(TimeSpan.FromMilliseconds(100));
        await write;

        Assert.Equal(1, point.Delay.Count);
        Assert.Equal(15 * G, point.TempUsedBytes);
    }

    [Fact]
    public async Task Trims_and_zeroes_are_held_back_too()
    {
        PointInTime point = await StartAsync(9, CopyErrorPolicy.BreakGuestWrite);

        Task zeroes = point.Filter.WriteZeroesAsync(15 * G, G, WriteFlags.None, CancellationToken.None).AsTask();
        Assert.False(zeroes.IsCompleted);
        await AdvanceAsync(TimeSpan.FromMilliseconds(100));
        await zeroes;

        Assert.Equal(1, point.Delay.Count);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task The_end_of_the_session_lets_held_writes_go(bool isStop)
    {
        PointInTime point = await StartAsync(9);
        Task write = WriteAsync(point, 9);
        Assert.False(write.IsCompleted);

        if (isStop)
        {
            point.Stop();
        }
        else
        {
            point.Break(new BlockException(BlockErrors.NoSpace, "temp is full"));
        }

        await write;
        Assert.Equal(9 * G, point.TempUsedBytes);
    }

    [Fact]
    public async Task A_write_that_is_given_up_while_it_is_held_back_changes_nothing()
    {
        PointInTime point = await StartAsync(9);
        using CancellationTokenSource giving = new();
        Task write = point.Filter.WriteAsync(9 * G, new byte[G], WriteFlags.None, giving.Token).AsTask();

        await giving.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => write);
        await Fleecing.AssertHoldsAsync(_disk, new BlockRange(9 * G, G), 7);
        Assert.Equal(9 * G, point.TempUsedBytes);
    }

    // The time of a copy begins when the delay has ended.
    [Fact]
    public async Task A_delay_takes_nothing_of_the_time_for_a_copy()
    {
        PointInTime point = await StartAsync(9, CopyErrorPolicy.BreakGuestWrite, timeout: TimeSpan.FromMilliseconds(50));
        Task write = WriteAsync(point, 9);

        await AdvanceAsync(TimeSpan.FromMilliseconds(80));
        await write;

        Assert.Equal(10 * G, point.TempUsedBytes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.9)]
    [InlineData(10001)]
    public void A_delay_that_is_too_short_or_too_long_is_refused(double milliseconds) =>
        Assert.Equal(BlockErrors.InvalidArgument, Refuse(10 * G, TimeSpan.FromMilliseconds(milliseconds)).Kind);

    [Fact]
    public void A_delay_without_a_limit_for_temp_is_refused() =>
        Assert.Contains("-MaxGuestDelay", Refuse(null, TimeSpan.FromMilliseconds(20)).Message, StringComparison.Ordinal);

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    private BlockException Refuse(long? limitBytes, TimeSpan delay) => Assert.Throws<BlockException>(
        () => new PointInTime(_disk, _temp, limits: new CopyLimits { TempBytes = limitBytes, MaxGuestDelay = delay }));

    // The last granule is denied.
    private async Task<PointInTime> StartAsync(
        int usedGranules, CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot, TimeSpan? timeout = null, int limit = 10)
    {
        CopyLimits limits = new()
        {
            TempBytes = limit * G,
            TempWarningPercent = 50,
            MaxGuestDelay = TimeSpan.FromMilliseconds(100),
            Timeout = timeout,
            Time = _time,
        };
        PointInTime point = new(
            _disk,
            _temp,
            tempReadsAsZero: true,
            policy: policy,
            ranges: [new BlockRange(0, (Granules - 1) * G)],
            limits: limits);

        // In one write, which finds temp empty.
        await WriteAsync(point, 0, usedGranules);
        return point;
    }

    // The write may be at its wait, or on its way there.
    private async Task AdvanceAsync(TimeSpan by)
    {
        while (_time.ArmedTimers == 0)
        {
            await Task.Yield();
        }

        _time.Advance(by);
    }

    private static async Task WriteAsync(PointInTime point, int granule, int count = 1)
    {
        byte[] data = new byte[count * G];
        data.AsSpan().Fill(9);
        await point.Filter.WriteAsync(granule * G, data, WriteFlags.None, CancellationToken.None);
    }
}
