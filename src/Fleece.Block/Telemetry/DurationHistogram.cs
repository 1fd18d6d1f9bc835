// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Numerics;

namespace Fleece.Block.Telemetry;

/// <summary>How often something took how long, in buckets of a fixed logarithmic scale, from the beginning of its object on.</summary>
/// <remarks>
/// <para>Four buckets for each doubling, from a microsecond to a minute, so a percentile is at most a fifth off. Noting a duration is three
/// atomic operations and allocates nothing; listeners of the instrument are told when there are any.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
/// <param name="instrument">Where listeners hear of it.</param>
internal sealed class DurationHistogram(Histogram<double> instrument)
{
    /// <summary>Durations below 2 to the power of this, in nanoseconds, are all in the first bucket.</summary>
    internal const int FirstOctave = 10;

    /// <summary>Those from 2 to the power of this on are all in the last one.</summary>
    internal const int EndOctave = 36;

    internal const int BucketsPerOctave = 4;
    internal const int BucketCount = ((EndOctave - FirstOctave) * BucketsPerOctave) + 2;

    private static readonly double NanosecondsPerTick = 1e9 / Stopwatch.Frequency;

    private readonly long[] _counts = new long[BucketCount];
    private long _totalNanoseconds;
    private long _longestNanoseconds;

    /// <summary>Notes a duration that ends now.</summary>
    /// <param name="startedAt">The timestamp of its beginning.</param>
    /// <param name="owner">Whose duration it is, for listeners.</param>
    /// <returns>The duration in ticks of the stopwatch.</returns>
    public long Note(long startedAt, MetricOwner owner)
    {
        long elapsedTicks = Stopwatch.GetTimestamp() - startedAt;
        NoteElapsed(elapsedTicks);
        if (instrument.Enabled)
        {
            instrument.Record((double)elapsedTicks / Stopwatch.Frequency, owner.Tags);
        }

        return elapsedTicks;
    }

    /// <summary>The durations so far.</summary>
    public DurationCounts Read()
    {
        long[] counts = new long[BucketCount];
        for (int i = 0; i < counts.Length; i++)
        {
            counts[i] = Volatile.Read(ref _counts[i]);
        }

        return new DurationCounts(counts, Volatile.Read(ref _totalNanoseconds), Volatile.Read(ref _longestNanoseconds));
    }

    /// <summary>Notes a duration without telling listeners.</summary>
    /// <param name="elapsedTicks">The duration in ticks of the stopwatch.</param>
    internal void NoteElapsed(long elapsedTicks)
    {
        long nanoseconds = Math.Max(0, (long)(elapsedTicks * NanosecondsPerTick));
        Interlocked.Increment(ref _counts[BucketOf(nanoseconds)]);
        Interlocked.Add(ref _totalNanoseconds, nanoseconds);
        for (long seen = Volatile.Read(ref _longestNanoseconds); seen < nanoseconds;)
        {
            long found = Interlocked.CompareExchange(ref _longestNanoseconds, nanoseconds, seen);
            seen = found == seen ? nanoseconds : found;
        }
    }

    private static int BucketOf(long nanoseconds)
    {
        int octave = BitOperations.Log2((ulong)nanoseconds);
        return octave < FirstOctave ? 0
            : octave >= EndOctave ? BucketCount - 1
            : ((octave - FirstOctave) * BucketsPerOctave) + 1 + (int)((nanoseconds >> (octave - 2)) & (BucketsPerOctave - 1));
    }
}
