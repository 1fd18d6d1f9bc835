// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Fleece.Block.Telemetry;
using Xunit;

namespace Fleece.Block.Tests.Telemetry;

/// <summary>Durations in buckets: the answers are right within the width of a bucket.</summary>
public sealed class DurationHistogramTests : IDisposable
{
    private readonly Meter _meter = new("Fleece.Block.Tests");
    private readonly DurationHistogram _histogram;

    public DurationHistogramTests() => _histogram = new DurationHistogram(_meter.CreateHistogram<double>("test"));

    public void Dispose() => _meter.Dispose();

    [Fact]
    public void One_without_durations_has_no_percentiles()
    {
        DurationCounts counts = _histogram.Read();

        Assert.Equal((0, TimeSpan.Zero), (counts.Count, counts.Total));
        Assert.Null(counts.Percentile(0.5));
        Assert.Null(counts.Longest);
        Assert.All(counts.ByDoubling(), bucket => Assert.Equal(0, bucket.Count));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1_023)]
    [InlineData(1_024)]
    [InlineData(1_279)]
    [InlineData(1_280)]
    [InlineData(2_047)]
    [InlineData(2_048)]
    [InlineData(4_700)]
    [InlineData(1_000_000)]
    [InlineData(999_999_999)]
    [InlineData(60_000_000_000)]
    [InlineData(3_600_000_000_000)]
    public void A_duration_is_at_most_the_bound_of_its_bucket_and_more_than_the_one_below(long nanoseconds)
    {
        Note(nanoseconds);

        (double Seconds, long Count)[] buckets = [.. _histogram.Read().ByDoubling()];

        Assert.All(buckets, bucket => Assert.Equal(nanoseconds / 1e9 < bucket.Seconds ? 1 : 0, bucket.Count));
    }

    [Fact]
    public void Percentiles_are_a_fifth_off_at_most()
    {
        for (int microseconds = 1; microseconds <= 10_000; microseconds++)
        {
            Note(microseconds * 1000L);
        }

        DurationCounts counts = _histogram.Read();

        Assert.Equal(10_000, counts.Count);
        Assert.InRange(counts.Percentile(0.5)!.Value.TotalMicroseconds, 4000, 6000);
        Assert.InRange(counts.Percentile(0.99)!.Value.TotalMicroseconds, 8000, 10_000);
        Assert.Equal(10_000, counts.Longest!.Value.TotalMicroseconds);
        Assert.Equal(50_005_000, counts.Total.TotalMicroseconds);
    }

    [Fact]
    public void No_percentile_is_beyond_the_longest()
    {
        Note(3_600_000_000_000);

        Assert.Equal(TimeSpan.FromHours(1), _histogram.Read().Percentile(0.99));
    }

    [Fact]
    public void Those_of_two_add_up()
    {
        Note(5000);
        DurationCounts one = _histogram.Read();
        Note(70_000);

        DurationCounts both = one.With(_histogram.Read());

        Assert.Equal(3, both.Count);
        Assert.Equal(80, both.Total.TotalMicroseconds);
        Assert.Equal(70, both.Longest!.Value.TotalMicroseconds);
    }

    [Fact]
    public void Noting_allocates_nothing()
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 1000; i++)
        {
            _histogram.Note(0, MetricOwner.Process);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    [Fact]
    public void Listeners_hear_of_each_with_its_labels()
    {
        List<(double Seconds, string Labels)> heard = [];
        using MeterListener listener = new();
        listener.InstrumentPublished = (instrument, listening) =>
        {
            if (instrument.Meter == _meter)
            {
                listening.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((_, seconds, tags, _) =>
            heard.Add((seconds, string.Join(",", tags.ToArray().Select(tag => $"{tag.Key}={tag.Value}")))));
        listener.Start();

        _histogram.Note(Stopwatch.GetTimestamp() - Stopwatch.Frequency, new MetricOwner(("disk", "vm"), ("session", "nightly")));

        (double seconds, string labels) = Assert.Single(heard);
        Assert.InRange(seconds, 1, 3600);
        Assert.Equal("disk=vm,session=nightly", labels);
    }

    private void Note(long nanoseconds) => _histogram.NoteElapsed((long)(nanoseconds * (Stopwatch.Frequency / 1e9)));
}
