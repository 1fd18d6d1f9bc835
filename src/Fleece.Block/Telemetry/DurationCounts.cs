// SPDX-License-Identifier: MIT
namespace Fleece.Block.Telemetry;

/// <summary>The content of a <see cref="DurationHistogram"/> at one moment.</summary>
internal sealed class DurationCounts
{
    private readonly long[] _counts;
    private readonly long _totalNanoseconds;
    private readonly long _longestNanoseconds;

    /// <param name="counts">How many durations fell into each bucket.</param>
    /// <param name="totalNanoseconds">All of them together.</param>
    /// <param name="longestNanoseconds">The longest.</param>
    internal DurationCounts(long[] counts, long totalNanoseconds, long longestNanoseconds)
    {
        _counts = counts;
        _totalNanoseconds = totalNanoseconds;
        _longestNanoseconds = longestNanoseconds;
        foreach (long count in counts)
        {
            Count += count;
        }
    }

    /// <summary>None.</summary>
    public static DurationCounts Empty { get; } = new(new long[DurationHistogram.BucketCount], 0, 0);

    /// <summary>How many.</summary>
    public long Count { get; }

    /// <summary>All together.</summary>
    public TimeSpan Total => Span(_totalNanoseconds);

    /// <summary>The longest; null for none.</summary>
    public TimeSpan? Longest => Count == 0 ? null : Span(_longestNanoseconds);

    /// <summary>How many took at most how many seconds, for each doubling of a microsecond.</summary>
    public IEnumerable<(double Seconds, long Count)> ByDoubling()
    {
        long below = _counts[0];
        yield return (Bound(0) / 1e9, below);
        for (int i = 1; i < _counts.Length - 1; i++)
        {
            below += _counts[i];
            if (i % DurationHistogram.BucketsPerOctave == 0)
            {
                yield return (Bound(i) / 1e9, below);
            }
        }
    }

    /// <summary>The duration that a share of them did not exceed; null for none.</summary>
    /// <param name="share">0 to 1.</param>
    public TimeSpan? Percentile(double share)
    {
        if (Count == 0)
        {
            return null;
        }

        long rank = Math.Max(1, (long)Math.Ceiling(share * Count));
        long below = 0;
        int bucket = 0;
        while (below + _counts[bucket] < rank)
        {
            below += _counts[bucket++];
        }

        long lower = bucket == 0 ? 0 : Bound(bucket - 1);
        long upper = bucket == _counts.Length - 1 ? _longestNanoseconds : Bound(bucket);
        double within = lower + ((upper - lower) * (double)(rank - below) / _counts[bucket]);
        return Span(Math.Min((long)within, _longestNanoseconds));
    }

    /// <summary>These and others.</summary>
    public DurationCounts With(DurationCounts others)
    {
        long[] counts = new long[_counts.Length];
        for (int i = 0; i < counts.Length; i++)
        {
            counts[i] = _counts[i] + others._counts[i];
        }

        return new DurationCounts(
            counts, _totalNanoseconds + others._totalNanoseconds, Math.Max(_longestNanoseconds, others._longestNanoseconds));
    }

    // Where a bucket ends and the next begins, in nanoseconds.
    private static long Bound(int bucket)
    {
        int octave = DurationHistogram.FirstOctave + (bucket / DurationHistogram.BucketsPerOctave);
        int part = bucket % DurationHistogram.BucketsPerOctave;
        return (1L << octave) + (part * (1L << (octave - 2)));
    }

    private static TimeSpan Span(long nanoseconds) => TimeSpan.FromTicks(nanoseconds / TimeSpan.NanosecondsPerTick);
}
