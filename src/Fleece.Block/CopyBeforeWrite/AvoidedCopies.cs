// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Counts the copies that a guest's writes did not need, because the snapshot was consumed there before.</summary>
/// <remarks>
/// <para>A granule counts once: when a guest first changes it after it was consumed, and was not copied before. Then it is in a map of
/// granules that writes pass, together with those that were denied from the start. A write whose granules are all done, or all in that map,
/// finds out by the one search of two maps that it needs anyway; so only the first write of a consumed granule takes a lock, which is none
/// that copies take.</para>
/// <para>Everything in the map is refused, and stays so: a write that passes by this map would pass by the refused ones too. Until
/// something is counted it is the map of what is denied, or none.</para>
/// <para>Threading. All members from any thread.</para>
/// </remarks>
internal sealed class AvoidedCopies(Granules granules, PointInTimeMaps maps)
{
    private readonly SharedLock _lock = new();
    private GranuleMap? _passed = maps.Denied;
    private bool _isOwn;
    private long _bytes;

    /// <summary>Bytes of the granules whose copies were not needed.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>The first granule of a run that no copy has settled and no write has passed, or the run's end.</summary>
    public long FirstUnknown(GranuleRun run) =>
        GranuleMap.FirstInNeither(maps.Done, Volatile.Read(ref _passed) ?? maps.Done, run);

    /// <summary>Counts a write. All of its granules are settled.</summary>
    /// <returns>True when some of them were not known to be.</returns>
    public bool Note(GranuleRun run)
    {
        long start = FirstUnknown(run);
        if (start >= run.End)
        {
            return false;
        }

        using (_lock.EnterScope())
        {
            GranuleMap passed = OwnMap();
            for (start = FirstUnknown(run); start < run.End; start = FirstUnknown(run with { Start = start }))
            {
                // None of them can become done any more but those of a copy that was running when they were consumed: Uncount.
                GranuleRun rest = run with { Start = start + 1 };
                GranuleRun counted = new(start, Math.Min(maps.Done.FirstIn(rest), passed.FirstIn(rest)));
                passed.Add(counted);
                Volatile.Write(ref _bytes, _bytes + granules.Bytes(counted).LengthBytes);
                start = counted.End;
            }
        }

        return true;
    }

    /// <summary>Takes back what was counted of a run whose copy was running when it was consumed. It is done by now.</summary>
    public void Uncount(GranuleRun run)
    {
        using (_lock.EnterScope())
        {
            GranuleMap? passed = _isOwn ? _passed : null;
            for (long start = passed?.FirstIn(run) ?? run.End; start < run.End; start = passed!.FirstIn(run with { Start = start }))
            {
                GranuleRun counted = new(start, passed!.FirstNotIn(run with { Start = start }));
                Volatile.Write(ref _bytes, _bytes - granules.Bytes(counted).LengthBytes);
                start = counted.End;
            }
        }
    }

    private GranuleMap OwnMap()
    {
        if (!_isOwn)
        {
            GranuleMap own = new(granules.Count);
            for (long start = maps.Denied?.FirstIn(granules.All) ?? granules.Count; start < granules.Count;)
            {
                GranuleRun denied = new(start, maps.Denied!.FirstNotIn(granules.All with { Start = start }));
                own.Add(denied);
                start = maps.Denied.FirstIn(granules.All with { Start = denied.End });
            }

            Volatile.Write(ref _passed, own);
            _isOwn = true;
        }

        return _passed!;
    }
}
