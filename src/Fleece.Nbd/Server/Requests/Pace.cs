// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;

namespace Fleece.Nbd.Server.Requests;

/// <summary>Tells whether a connection's storage answers at the speed of memory or makes its thread wait.</summary>
/// <remarks>
/// Handing a request to another thread costs more than the I/O itself when the page cache answers, and is the only way to
/// keep a disk busy when it does not. A score of the last requests decides, so that one wait does not. A clock raises the
/// suspicion; then, where the system counts it, only requests that put their thread to sleep count as slow: on a busy machine
/// many take long because others run.
/// Threading. Any thread; lost updates only delay a change of mind.
/// </remarks>
internal sealed class Pace
{
    // What a request may take to count as quick: a read is a copy out of the page cache at a tenth of its speed; a write may
    // also have to copy old data first and to find room for it.
    private const double QuickReadMicroseconds = 40;
    private const double QuickWriteMicroseconds = 250;
    private const double QuickMicrosecondsPerByte = 0.001;
    private const int MaximumScore = 64;
    private const int SlowScore = 32;

    private static readonly double MicrosecondsPerTick = 1e6 / Stopwatch.Frequency;

    private readonly double _quickMicroseconds;
    private readonly int _slowWeight;
    private readonly int _quickWeight;
    private int _score;

    private Pace(double quickMicroseconds, int slowWeight, int quickWeight)
    {
        _quickMicroseconds = quickMicroseconds;
        _slowWeight = slowWeight;
        _quickWeight = quickWeight;
    }

    /// <summary>Of reads that are started ahead when they are slow: that costs little, and then few of them wait, so one that waits tells
    /// of those that did not.</summary>
    public static Pace OfReadsStartedAhead() => new(QuickReadMicroseconds, slowWeight: 32, quickWeight: 1);

    /// <summary>Of reads that go to other threads when they are slow: that costs much, so many have to be.</summary>
    public static Pace OfReads() => new(QuickReadMicroseconds, slowWeight: 8, quickWeight: 4);

    /// <summary>Of everything else, which goes to other threads when it is slow.</summary>
    public static Pace OfChanges() => new(QuickWriteMicroseconds, slowWeight: 8, quickWeight: 4);

    /// <summary>True when something should be done about the wait.</summary>
    public bool IsSlow => Volatile.Read(ref _score) >= SlowScore;

    /// <summary>Called by the thread that begins a request.</summary>
    public Start Begin() =>
        new(Stopwatch.GetTimestamp(), Volatile.Read(ref _score) == 0 ? ThreadSleeps.Unknown : ThreadSleeps.Count());

    /// <summary>Notes what a request did to its thread, on that thread.</summary>
    /// <param name="start">Where the thread stood when it began the request.</param>
    /// <param name="bytes">The request's length.</param>
    /// <param name="endedAt">The timestamp of now.</param>
    public void Note(Start start, long bytes, long endedAt)
    {
        int score = Volatile.Read(ref _score);
        bool isSlow = start.Sleeps == ThreadSleeps.Unknown
            ? (endedAt - start.Timestamp) * MicrosecondsPerTick > _quickMicroseconds + bytes * QuickMicrosecondsPerByte
            : ThreadSleeps.Count() != start.Sleeps;
        if (isSlow ? score < MaximumScore : score > 0)
        {
            Volatile.Write(ref _score, isSlow ? Math.Min(MaximumScore, score + _slowWeight) : Math.Max(0, score - _quickWeight));
        }
    }

    /// <summary>Where a thread stood when a request began.</summary>
    /// <param name="Timestamp">The time.</param>
    /// <param name="Sleeps">How often it had slept; unknown as long as there is no suspicion.</param>
    public readonly record struct Start(long Timestamp, long Sleeps);
}
