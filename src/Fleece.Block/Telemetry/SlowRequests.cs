// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.Block.Telemetry;

/// <summary>A request, or the wait of one, that took longer than it should.</summary>
/// <param name="Subject">Whose it was, as a part of a sentence.</param>
/// <param name="Operation">Its command, as a part of a sentence.</param>
/// <param name="OffsetBytes">Where.</param>
/// <param name="LengthBytes">How much.</param>
/// <param name="Duration">How long it took.</param>
internal sealed record SlowRequest(string Subject, string Operation, long OffsetBytes, long LengthBytes, TimeSpan Duration);

/// <summary>The requests of one disk's guests that take longer than they should.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class SlowRequests
{
    private long _thresholdTicks = long.MaxValue;
    private long _count;
    private Action<SlowRequest>? _tell;

    /// <summary>How many there were since <see cref="Watch"/>.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>Counts and tells those that take that long. Without this call none is slow.</summary>
    /// <param name="threshold">From when on a request is slow.</param>
    /// <param name="tell">Hears of each, on the thread that ended it, so it must be quick and must not throw.</param>
    public void Watch(TimeSpan threshold, Action<SlowRequest> tell)
    {
        _tell = tell;
        Volatile.Write(ref _thresholdTicks, (long)(threshold.TotalSeconds * Stopwatch.Frequency));
    }

    /// <summary>True when a duration in ticks of the stopwatch is worth a <see cref="Note"/>.</summary>
    public bool IsSlow(long elapsedTicks) => elapsedTicks >= Volatile.Read(ref _thresholdTicks);

    /// <summary>Counts and tells one that is slow.</summary>
    public void Note(string subject, string operation, long offsetBytes, long lengthBytes, long elapsedTicks)
    {
        Interlocked.Increment(ref _count);
        _tell?.Invoke(new SlowRequest(
            subject, operation, offsetBytes, lengthBytes, TimeSpan.FromSeconds((double)elapsedTicks / Stopwatch.Frequency)));
    }
}
