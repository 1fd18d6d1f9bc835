// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.Nbd.Server;

/// <summary>Tells whether a connection's storage answers at the speed of memory or makes its thread wait.</summary>
/// <remarks>
/// Handing a request to another thread costs more than the I/O itself when the page cache answers, and is the only way to
/// keep a disk busy when it does not. A score of the last requests decides, so that one page fault or one loss of the
/// processor does not.
/// Threading. Any thread; lost updates only delay a change of mind.
/// </remarks>
internal sealed class Pace
{
    // What a request may take to count as quick: a read is a copy out of the page cache at a tenth of its speed; a write may
    // also have to copy old data first and to find room for it.
    private const double QuickReadMicroseconds = 40;
    private const double QuickWriteMicroseconds = 250;
    private const double QuickMicrosecondsPerByte = 0.001;
    private const int MaximumScore = 16;
    private const int SlowScore = 8;

    private static readonly double MicrosecondsPerTick = 1e6 / Stopwatch.Frequency;

    private int _score;

    /// <summary>True when requests that have company should go to other threads.</summary>
    public bool IsSlow => Volatile.Read(ref _score) >= SlowScore;

    /// <summary>Notes how long a request kept a thread.</summary>
    public void Note(long startedAt, long bytes, bool isRead)
    {
        double microseconds = (Stopwatch.GetTimestamp() - startedAt) * MicrosecondsPerTick;
        int score = Volatile.Read(ref _score);
        bool isQuick = microseconds <= (isRead ? QuickReadMicroseconds : QuickWriteMicroseconds) + bytes * QuickMicrosecondsPerByte;
        if (isQuick ? score > 0 : score < MaximumScore)
        {
            Volatile.Write(ref _score, isQuick ? score - 1 : Math.Min(MaximumScore, score + 2));
        }
    }
}
