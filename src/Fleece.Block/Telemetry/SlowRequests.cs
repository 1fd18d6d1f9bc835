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
    // More than guests of one disk have waiting at a time; an older one that is forgotten costs a line.
    private const int RememberedWaits = 64;

    private readonly Lock _lock = new();
    private readonly Queue<ToldWait> _waits = new();
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

    /// <summary>Counts and tells the wait of a guest's write for a session. The write itself is not told again.</summary>
    public void NoteWait(string subject, long offsetBytes, long lengthBytes, long elapsedTicks)
    {
        lock (_lock)
        {
            if (_waits.Count == RememberedWaits)
            {
                _waits.Dequeue();
            }

            _waits.Enqueue(new ToldWait(offsetBytes, offsetBytes + lengthBytes, Stopwatch.GetTimestamp()));
        }

        Tell(subject, "wait for the session before a write", offsetBytes, lengthBytes, elapsedTicks);
    }

    /// <summary>Counts one that is slow, and tells it unless its wait for a session was told.</summary>
    /// <param name="subject">As <see cref="SlowRequest.Subject"/>.</param>
    /// <param name="operation">As <see cref="SlowRequest.Operation"/>.</param>
    /// <param name="offsetBytes">Where.</param>
    /// <param name="lengthBytes">How much.</param>
    /// <param name="elapsedTicks">How long it took, in ticks of the stopwatch.</param>
    /// <param name="waitsForSessions">False for a request that no session holds up.</param>
    public void Note(
        string subject, string operation, long offsetBytes, long lengthBytes, long elapsedTicks, bool waitsForSessions)
    {
        if (!waitsForSessions || !HasToldWait(offsetBytes, offsetBytes + lengthBytes, elapsedTicks))
        {
            Tell(subject, operation, offsetBytes, lengthBytes, elapsedTicks);
        }
        else
        {
            Interlocked.Increment(ref _count);
        }
    }

    // The wait of a request ended while the request ran, at its place.
    private bool HasToldWait(long offsetBytes, long endBytes, long elapsedTicks)
    {
        long startedAt = Stopwatch.GetTimestamp() - elapsedTicks;
        lock (_lock)
        {
            return _waits.Any(wait => wait.OffsetBytes < endBytes && offsetBytes < wait.EndBytes && wait.EndedAt >= startedAt);
        }
    }

    private void Tell(string subject, string operation, long offsetBytes, long lengthBytes, long elapsedTicks)
    {
        Interlocked.Increment(ref _count);
        _tell?.Invoke(new SlowRequest(
            subject, operation, offsetBytes, lengthBytes, TimeSpan.FromSeconds((double)elapsedTicks / Stopwatch.Frequency)));
    }

    /// <summary>A wait that was told.</summary>
    private readonly record struct ToldWait(long OffsetBytes, long EndBytes, long EndedAt);
}
