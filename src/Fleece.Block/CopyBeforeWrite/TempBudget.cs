// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>How much old data lies in temp, and how much may.</summary>
/// <remarks>
/// <para>A granule counts from the moment its copy asks for room until it is consumed, and granules of zeros don't count, for nothing is
/// stored for them. It is near its limit at 80 %, and far again below 50 %, so that one that is being read and filled does not say so
/// again and again.</para>
/// <para>Threading. Every member but <see cref="UsedBytes"/> is called under the lock of the <see cref="PointInTime"/> that owns it.</para>
/// </remarks>
internal sealed class TempBudget(Granules granules, long? limitBytes)
{
    private GranuleMap? _stored;
    private long _usedBytes;
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
    public void Add(GranuleRun run, GranuleMap refused)
    {
        _stored ??= new GranuleMap(granules.Count);
        _stored.Add(run);
        for (long start = refused.FirstNotIn(run); start < run.End;)
        {
            GranuleRun kept = new(start, refused.FirstIn(run with { Start = start }));
            Volatile.Write(ref _usedBytes, _usedBytes + granules.Bytes(kept).LengthBytes);
            start = refused.FirstNotIn(run with { Start = kept.End });
        }
    }

    /// <summary>A run that was readable is consumed.</summary>
    public void Remove(GranuleRun run)
    {
        for (long start = _stored?.FirstIn(run) ?? run.End; start < run.End;)
        {
            GranuleRun freed = new(start, _stored!.FirstNotIn(run with { Start = start }));
            Volatile.Write(ref _usedBytes, _usedBytes - granules.Bytes(freed).LengthBytes);
            start = _stored.FirstIn(run with { Start = freed.End });
        }

        Forget();
    }

    private void Forget() => _isNear &= limitBytes is { } limit && ClaimedBytes >= limit / 2;
}
