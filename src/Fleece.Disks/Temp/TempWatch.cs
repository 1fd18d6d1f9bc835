// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;

namespace Fleece.Disks.Temp;

/// <summary>Tells how full a session's temp is, and when it will be.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class TempWatch
{
    private readonly string _sessionId;
    private readonly PointInTime _point;
    private readonly TempImage _temp;
    private int _isUntold;

    /// <summary>Begins to watch.</summary>
    /// <param name="sessionId">The session.</param>
    /// <param name="point">Its maps.</param>
    /// <param name="temp">Where its old data goes.</param>
    /// <param name="warn">Told each warning once, by a guest's write: it is quick and does not throw.</param>
    public TempWatch(string sessionId, PointInTime point, TempImage temp, Action<string> warn)
    {
        _sessionId = sessionId;
        _point = point;
        _temp = temp;
        point.Budget.LimitNear += (_, near) =>
        {
            Volatile.Write(ref _isUntold, 1);
            warn(Describe(near.UsedBytes));
        };
    }

    /// <summary>What to say of temp while its limit is near; null while it is not, and of a session that is over.</summary>
    public string? Warning =>
        _point.State == SessionState.Active && _point.Budget.IsNear ? Describe(_point.TempUsedBytes) : null;

    /// <summary>When temp is full if it goes on growing as in the last minute; null where it does not grow, and where nothing bounds it
    /// that is known.</summary>
    /// <remarks>Without a limit the room of the file system bounds a file that the session made. One that was given may have all of its
    /// room already.</remarks>
    public TimeSpan? FullIn => _point.State == SessionState.Active
        ? _point.Budget.FindFullIn(
            _temp.IsOurs && FileSystemSpace.TryGetFreeBytes(_temp.Path, out long freeBytes) ? freeBytes : null)
        : null;

    /// <summary><see cref="Warning"/> as it is now, where no reader has been told since the limit came near; null otherwise.</summary>
    public string? TakeWarning() => Interlocked.Exchange(ref _isUntold, 0) != 0 ? Warning : null;

    private string Describe(long usedBytes) =>
        $"The session '{_sessionId}' keeps {usedBytes} bytes of old data in temp and may keep {_point.TempLimitBytes} (-TempLimitBytes); " +
        "beyond that " + (_point.Policy == CopyErrorPolicy.BreakSnapshot ? "its snapshot is lost" : "guest writes fail") + "." +
        (FullIn is { } time ? $" At the rate of the last minute that is in {Describe(time)}." : string.Empty) +
        " Consuming the snapshot makes room.";

    private static string Describe(TimeSpan time) =>
        time < TimeSpan.FromMinutes(2) ? $"{time.TotalSeconds:0} s"
        : time < TimeSpan.FromHours(2) ? $"{time.TotalMinutes:0} min"
        : $"{time.TotalHours:0} h";
}
