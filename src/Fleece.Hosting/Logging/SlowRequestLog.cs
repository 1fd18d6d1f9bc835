// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block.Telemetry;

namespace Fleece.Hosting.Logging;

/// <summary>Tells of guests' slow requests in the log: a few lines a minute, and how many more there were.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class SlowRequestLog(Action<string> say, TimeProvider time)
{
    /// <summary>Most lines in a minute.</summary>
    public const int LinesPerMinute = 10;

    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private long? _minuteBeganAt;
    private int _lines;
    private int _untold;

    /// <summary>Tells of a request, or counts it for a later line.</summary>
    public void Tell(SlowRequest request)
    {
        int untold;
        lock (_lock)
        {
            if (_minuteBeganAt is not { } began || time.GetElapsedTime(began) >= Minute)
            {
                _minuteBeganAt = time.GetTimestamp();
                _lines = 0;
            }

            if (_lines == LinesPerMinute)
            {
                _untold++;
                return;
            }

            _lines++;
            untold = _untold;
            _untold = 0;
        }

        say(string.Create(
            CultureInfo.InvariantCulture,
            $"slow request: {request.Operation} at {request.OffsetBytes} of {request.LengthBytes} bytes took " +
            $"{request.Duration.TotalSeconds:F3} s, {request.Subject}{(untold == 0 ? string.Empty : $"; {untold} more were not told")}"));
    }
}
