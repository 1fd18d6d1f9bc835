// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>When temp will be full. Limit 100 granules, and a clock of the test.</summary>
public sealed class TempForecastTests : IAsyncDisposable
{
    private const int G = PointInTime.DefaultGranuleSizeBytes;
    private const int Granules = 200;

    private readonly MemoryNode _disk = new(Granules * G);
    private readonly MemoryNode _temp = new(Granules * G);
    private readonly ManualTime _time = new();
    private int _next;

    public TempForecastTests() => Fleecing.Fill(_disk, new BlockRange(0, Granules * G), 7);

    [Fact]
    public async Task A_steady_guest_fills_the_rest_at_its_rate()
    {
        PointInTime point = Start(100 * G);

        await CopyAsync(point, seconds: 20);

        Assert.Equal(80, point.Budget.FindFullIn(null)!.Value.TotalSeconds, tolerance: 1);
    }

    [Fact]
    public async Task Nothing_is_foretold_before_a_second_has_passed()
    {
        PointInTime point = Start(100 * G);

        await WriteAsync(point, 10);

        Assert.Null(point.Budget.FindFullIn(null));
    }

    [Fact]
    public async Task A_guest_that_has_stopped_copying_for_a_minute_fills_nothing()
    {
        PointInTime point = Start(100 * G);
        await CopyAsync(point, seconds: 20);

        _time.Advance(TimeSpan.FromSeconds(30));
        Assert.NotNull(point.Budget.FindFullIn(null));
        _time.Advance(TimeSpan.FromSeconds(31));

        Assert.Null(point.Budget.FindFullIn(null));
    }

    // One hour of nothing, and ten seconds of a burst: the hour is no part of the rate.
    [Fact]
    public async Task The_rate_is_that_of_the_last_minute()
    {
        PointInTime point = Start(100 * G);
        await CopyAsync(point, seconds: 10);
        _time.Advance(TimeSpan.FromHours(1));

        await CopyAsync(point, seconds: 10);

        Assert.Equal(80, point.Budget.FindFullIn(null)!.Value.TotalSeconds, tolerance: 1);
    }

    [Fact]
    public async Task A_reader_that_consumes_as_fast_as_the_guest_copies_keeps_temp_from_filling()
    {
        PointInTime point = Start(100 * G);
        for (int i = 0; i < 20; i++)
        {
            await WriteAsync(point, 1);
            await point.Snapshot.DiscardAsync(i * G, G, CancellationToken.None);
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Null(point.Budget.FindFullIn(null));
    }

    [Fact]
    public async Task The_nearer_of_limit_and_free_space_counts()
    {
        PointInTime limited = Start(100 * G);
        await CopyAsync(limited, seconds: 20);
        Assert.Equal(40, limited.Budget.FindFullIn(40 * G)!.Value.TotalSeconds, tolerance: 1);

        PointInTime free = Start(null);
        await CopyAsync(free, seconds: 20);
        Assert.Equal(40, free.Budget.FindFullIn(40 * G)!.Value.TotalSeconds, tolerance: 1);
        Assert.Null(free.Budget.FindFullIn(null));
    }

    [Fact]
    public async Task A_temp_that_is_full_is_full_now()
    {
        PointInTime point = Start(20 * G);

        await CopyAsync(point, seconds: 20);

        Assert.Equal(TimeSpan.Zero, point.Budget.FindFullIn(null));
    }

    public async ValueTask DisposeAsync()
    {
        await _disk.DisposeAsync();
        await _temp.DisposeAsync();
    }

    private PointInTime Start(long? limitBytes) =>
        new(_disk, _temp, tempReadsAsZero: true, limits: new CopyLimits { TempBytes = limitBytes, Time = _time });

    // A granule a second.
    private async Task CopyAsync(PointInTime point, int seconds)
    {
        for (int i = 0; i < seconds; i++)
        {
            await WriteAsync(point, 1);
            _time.Advance(TimeSpan.FromSeconds(1));
        }
    }

    private async Task WriteAsync(PointInTime point, int count)
    {
        await point.Filter.WriteAsync(_next * G, new byte[count * G], WriteFlags.None, CancellationToken.None);
        _next += count;
    }
}
