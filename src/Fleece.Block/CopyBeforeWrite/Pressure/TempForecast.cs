// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite.Pressure;

/// <summary>How fast temp grows, and when it is full at that rate.</summary>
/// <remarks>
/// <para>It keeps what temp held at a few moments of the last minute. Between two changes temp holds the same, so a moment is noted just
/// before a change, and a change soon behind another one notes nothing.</para>
/// <para>Threading. Every member is called under the lock of the <see cref="PointInTime"/>.</para>
/// </remarks>
internal sealed class TempForecast(TimeProvider time)
{
    // Together a little more than the minute.
    private const int Moments = 16;
    private static readonly TimeSpan Spacing = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(60);

    // A shorter time says nothing of a rate.
    private static readonly TimeSpan ShortestWindow = TimeSpan.FromSeconds(1);

    private readonly (long At, long UsedBytes)[] _moments = new (long At, long UsedBytes)[Moments];
    private long _count;

    /// <summary>Temp is about to change.</summary>
    /// <param name="usedBytes">What it holds before.</param>
    public void Note(long usedBytes)
    {
        long now = time.GetTimestamp();
        if (_count == 0 || time.GetElapsedTime(Last.At, now) >= Spacing)
        {
            _moments[_count++ % Moments] = (now, usedBytes);
        }
    }

    /// <summary>When the room that is left is taken; null where temp has not grown in the last minute.</summary>
    /// <param name="usedBytes">What temp holds now.</param>
    /// <param name="leftBytes">The room that is left.</param>
    public TimeSpan? FindFullIn(long usedBytes, long leftBytes)
    {
        long now = time.GetTimestamp();
        for (long i = Math.Max(0, _count - Moments); i < _count; i++)
        {
            (long at, long beforeBytes) = _moments[i % Moments];
            TimeSpan since = time.GetElapsedTime(at, now);
            if (since > Window)
            {
                continue;
            }

            double seconds = since >= ShortestWindow && usedBytes > beforeBytes
                ? Math.Max(0, leftBytes) * since.TotalSeconds / (usedBytes - beforeBytes)
                : double.PositiveInfinity;
            return seconds < TimeSpan.MaxValue.TotalSeconds / 2 ? TimeSpan.FromSeconds(seconds) : null;
        }

        return null;
    }

    private (long At, long UsedBytes) Last => _moments[(_count - 1) % Moments];
}
