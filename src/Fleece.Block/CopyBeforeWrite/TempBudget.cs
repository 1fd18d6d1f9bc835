// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite.Pressure;

namespace Fleece.Block.CopyBeforeWrite;

/// <summary>How much old data lies in temp, how much may, and which images can be temp.</summary>
/// <remarks>
/// <para>A granule counts from the moment its copy asks for room until it is consumed, and granules of zeros don't count, for nothing is
/// stored for them. The limit is near from <see cref="CopyLimits.TempWarningPercent"/> of it on, and far again below five eighths of that
/// mark, so that a temp that is being read and filled does not say so again and again.</para>
/// <para>Threading. <see cref="Return"/>, <see cref="Add"/> and <see cref="Remove"/> are called under <paramref name="gate"/>, the others
/// without it.</para>
/// </remarks>
/// <param name="granules">The disk's.</param>
/// <param name="maps">What is known of them.</param>
/// <param name="limits">How much may lie there.</param>
/// <param name="gate">The lock of the <see cref="PointInTime"/> that owns it.</param>
internal sealed class TempBudget(Granules granules, PointInTimeMaps maps, CopyLimits limits, SharedLock gate)
{
    private readonly TempForecast _forecast = new(limits.Time);
    private long _usedBytes = granules.BytesOf(maps.Stored, maps.Refused);
    private long _reservedBytes;
    private bool _isNear;

    /// <summary>Raised when the mark is reached, on the thread of the copy that does it: handlers must be quick and must not throw. Raised
    /// again when temp was far from its limit in between.</summary>
    public event EventHandler<TempLimitNearEventArgs>? LimitNear;

    /// <summary>Old data in temp, in bytes.</summary>
    public long UsedBytes => Volatile.Read(ref _usedBytes);

    /// <summary>True from the mark on.</summary>
    public bool IsNear => UsedBytes >= NearBytes;

    /// <summary>From here on the limit is near.</summary>
    public long NearBytes { get; } = limits is { TempBytes: { } limit, WarnsAtPercent: { } percent }
        ? limit - (long)((Int128)limit * (100 - percent) / 100)
        : long.MaxValue;

    /// <summary>How far temp is on the way from the mark to the limit: 0 to 1.</summary>
    public double Fullness => IsNear ? (double)(UsedBytes - NearBytes) / Math.Max(1, limits.TempBytes!.Value - NearBytes) : 0;

    // Used, and on the way there.
    private long ClaimedBytes => _usedBytes + _reservedBytes;

    /// <summary>Takes room for a copy, which its end returns; false where the limit is in the way.</summary>
    /// <param name="copy">The copy.</param>
    /// <param name="bytes">What it may store.</param>
    public bool TryReserve(RunningCopies.Copy copy, long bytes)
    {
        if (limits.TempBytes is not { } limitBytes)
        {
            return true;
        }

        bool fits;
        bool hasComeNear;
        long claimedBytes;
        using (gate.EnterScope())
        {
            fits = bytes <= limitBytes - ClaimedBytes;
            copy.ReservedBytes = fits ? bytes : 0;
            _reservedBytes += copy.ReservedBytes;
            claimedBytes = ClaimedBytes;
            hasComeNear = !_isNear && (!fits || claimedBytes >= NearBytes);
            _isNear |= hasComeNear;
        }

        if (hasComeNear)
        {
            LimitNear?.Invoke(this, new TempLimitNearEventArgs(claimedBytes, limitBytes));
        }

        return fits;
    }

    /// <summary>The error of a copy for which there is no room.</summary>
    public BlockException Refuse(BlockRange copy, CopyErrorPolicy policy) => new(
        BlockErrors.TempLimitReached,
        $"Temp holds {UsedBytes} bytes of old data, the copy needs {copy.LengthBytes} more, and -TempLimitBytes allows " +
        $"{limits.TempBytes}. " +
        (policy == CopyErrorPolicy.BreakGuestWrite
            ? "Consuming the snapshot makes room."
            : "Start the next session with a larger limit, or read it with -Order AtRiskFirst -DiscardConsumed, which keeps temp small."),
        offsetBytes: copy.OffsetBytes,
        operation: "copy");

    /// <summary>When temp is full at the rate at which it has grown in the last minute; null where it has not grown, and where nothing
    /// bounds it.</summary>
    /// <param name="freeBytes">Room that temp's file system has, apart from the limit; null where that is not known.</param>
    public TimeSpan? FindFullIn(long? freeBytes)
    {
        using (gate.EnterScope())
        {
            long leftBytes = Math.Min(limits.TempBytes is { } limit ? limit - _usedBytes : long.MaxValue, freeBytes ?? long.MaxValue);
            return leftBytes == long.MaxValue ? null : _forecast.FindFullIn(_usedBytes, leftBytes);
        }
    }

    /// <summary>Ends a reservation.</summary>
    public void Return(long bytes)
    {
        _reservedBytes -= bytes;
        Forget();
    }

    /// <summary>Old data of the run has been stored; what was refused meanwhile is freed again and does not count.</summary>
    public void Add(GranuleRun run)
    {
        _forecast.Note(_usedBytes);
        Volatile.Write(ref _usedBytes, _usedBytes + granules.BytesOutside(run, maps.Refused));
    }

    /// <summary>A run that was readable is consumed.</summary>
    public void Remove(GranuleRun run)
    {
        _forecast.Note(_usedBytes);
        GranuleMap stored = maps.Stored;
        for (long start = stored.FirstIn(run); start < run.End;)
        {
            GranuleRun freed = new(start, stored.FirstNotIn(run with { Start = start }));
            Volatile.Write(ref _usedBytes, _usedBytes - granules.Bytes(freed).LengthBytes);
            start = stored.FirstIn(run with { Start = freed.End });
        }

        Forget();
    }

    /// <summary>Throws when temp can't keep the disk's old data in granules of that size.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.TempTooSmall"/>, <see cref="BlockErrors.ReadOnly"/> or
    /// <see cref="BlockErrors.InvalidArgument"/>.</exception>
    public static void Check(BlockGeometry active, BlockGeometry temp, int granuleSizeBytes)
    {
        if (temp.IsReadOnly)
        {
            throw new BlockException(BlockErrors.ReadOnly, "The temp image is read-only; old data can't be stored there.");
        }

        if (temp.LengthBytes < active.LengthBytes)
        {
            throw new BlockException(
                BlockErrors.TempTooSmall,
                $"The temp image has {temp.LengthBytes} bytes and the disk {active.LengthBytes}; temp must be at least as " +
                "large. It is filled only as far as the guest overwrites data.");
        }

        int alignmentBytes = Math.Max(active.RequestAlignmentBytes, temp.RequestAlignmentBytes);
        if (granuleSizeBytes < alignmentBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The granule of {granuleSizeBytes} bytes is smaller than the alignment of {alignmentBytes} bytes that the " +
                "disk or the temp image demands; choose a larger granule.");
        }

        if (active.LengthBytes % temp.RequestAlignmentBytes != 0)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The disk has {active.LengthBytes} bytes, which is no multiple of the {temp.RequestAlignmentBytes} bytes that the " +
                "temp image takes at once, so the disk's end could not be kept; use another temp image.");
        }
    }

    private void Forget() => _isNear &= ClaimedBytes >= NearBytes / 8 * 5;
}
