// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>How much old data lies in temp, how much may, and which images can be temp.</summary>
/// <remarks>
/// <para>A granule counts from the moment its copy asks for room until it is consumed, and granules of zeros don't count, for nothing is
/// stored for them. It is near its limit at 80 %, and far again below 50 %, so that one that is being read and filled does not say so
/// again and again.</para>
/// <para>Threading. Every member but <see cref="UsedBytes"/> and <see cref="Check"/> is called under the lock of the
/// <see cref="PointInTime"/> that owns it.</para>
/// </remarks>
internal sealed class TempBudget(Granules granules, PointInTimeMaps maps, long? limitBytes)
{
    private long _usedBytes = granules.BytesOf(maps.Stored, maps.Refused);
    private long _reservedBytes;
    private bool _isNear;

    /// <summary>Old data in temp, in bytes.</summary>
    public long UsedBytes => Volatile.Read(ref _usedBytes);

    /// <summary>From here on the limit is near.</summary>
    public long NearBytes { get; } = limitBytes is { } limit ? limit - limit / 5 : long.MaxValue;

    /// <summary>Used, and on the way there.</summary>
    public long ClaimedBytes => _usedBytes + _reservedBytes;

    /// <summary>Takes room for a copy.</summary>
    /// <param name="bytes">What the copy may store.</param>
    /// <param name="hasComeNear">True for the first that comes near the limit, also where there is no room.</param>
    public bool TryReserve(long bytes, out bool hasComeNear)
    {
        bool fits = limitBytes is not { } limit || bytes <= limit - ClaimedBytes;
        _reservedBytes += fits ? bytes : 0;
        hasComeNear = !_isNear && (!fits || ClaimedBytes >= NearBytes);
        _isNear |= hasComeNear;
        return fits;
    }

    /// <summary>Ends a reservation.</summary>
    public void Return(long bytes)
    {
        _reservedBytes -= bytes;
        Forget();
    }

    /// <summary>Old data of the run has been stored; what was refused meanwhile is freed again and does not count.</summary>
    public void Add(GranuleRun run) =>
        Volatile.Write(ref _usedBytes, _usedBytes + granules.BytesOutside(run, maps.Refused));

    /// <summary>A run that was readable is consumed.</summary>
    public void Remove(GranuleRun run)
    {
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

    private void Forget() => _isNear &= limitBytes is { } limit && ClaimedBytes >= limit / 2;
}
