// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>The knowledge of a point in time of each granule: all that must outlive the process for another to go on with it.</summary>
/// <remarks>
/// <para>Read back. A session that comes back begins with the maps as they were written last, or with empty ones and
/// <see cref="Denied"/>; then the notes are added in their order. The maps only grow, so one that is written page by page while notes come
/// in is right as long as the notes since its first page are added to it. Adding a note twice adds nothing.</para>
/// <para>Threading. Adding: one thread, before a <see cref="PointInTime"/> gets them. Then they belong to it, and are read from any
/// thread.</para>
/// </remarks>
internal sealed class PointInTimeMaps
{
    private readonly GranuleMap[] _confirmed;

    /// <summary>Makes empty maps.</summary>
    /// <param name="granuleCount">Granules of the disk.</param>
    /// <param name="consumerCount">Consumers that are counted.</param>
    /// <param name="isLimited">True where some granules are refused from the start: <see cref="Denied"/> is to be filled.</param>
    public PointInTimeMaps(long granuleCount, int consumerCount, bool isLimited)
    {
        GranuleCount = granuleCount;
        Denied = isLimited ? new GranuleMap(granuleCount) : null;
        Done = new GranuleMap(granuleCount);
        Stored = new GranuleMap(granuleCount);
        Refused = new GranuleMap(granuleCount);
        _confirmed = [.. Enumerable.Range(0, consumerCount).Select(_ => new GranuleMap(granuleCount))];
    }

    /// <summary>Granules of the disk.</summary>
    public long GranuleCount { get; }

    /// <summary>Refused from the start; null where nothing is. It does not change behind the start.</summary>
    public GranuleMap? Denied { get; }

    /// <summary>Copied: what the guest overwrites is in temp, or is zeros.</summary>
    public GranuleMap Done { get; }

    /// <summary>Copied, and no zeros: of those that are done, the ones for which temp was given data.</summary>
    public GranuleMap Stored { get; }

    /// <summary>Denied or consumed.</summary>
    public GranuleMap Refused { get; }

    /// <summary>The granules that each consumer has confirmed, by its index.</summary>
    public IReadOnlyList<GranuleMap> Confirmed => _confirmed;

    /// <summary>True for a run of at least one granule of the disk; the others can't be added.</summary>
    public bool Has(GranuleRun run) => run.Start >= 0 && !run.IsEmpty && run.End <= GranuleCount;

    /// <summary>Adds what <see cref="ISessionJournal.NoteDone"/> has noted.</summary>
    public void AddDone(GranuleRun run, bool hasData)
    {
        if (hasData)
        {
            Stored.Add(run);
        }

        Done.Add(run);
    }

    /// <summary>Adds what <see cref="ISessionJournal.NoteConsumed"/> has noted.</summary>
    public void AddConsumed(GranuleRun run)
    {
        foreach (GranuleMap confirmed in _confirmed)
        {
            confirmed.Add(run);
        }

        Refused.Add(run);
    }

    /// <summary>Adds what <see cref="ISessionJournal.NoteConfirmed"/> has noted.</summary>
    public void AddConfirmed(int consumer, GranuleRun run) => _confirmed[consumer].Add(run);

    /// <summary>The maps of a new instant.</summary>
    /// <param name="granules">The disk's.</param>
    /// <param name="ranges">The ranges that are not denied; null for everything.</param>
    /// <param name="consumerCount">Consumers that are counted.</param>
    internal static PointInTimeMaps Begin(Granules granules, IEnumerable<BlockRange>? ranges, int consumerCount)
    {
        PointInTimeMaps maps = new(granules.Count, consumerCount, isLimited: ranges is not null);
        foreach (GranuleRun gap in ranges is null ? [] : granules.Outside(ranges))
        {
            maps.Denied!.Add(gap);
        }

        return maps;
    }

    /// <summary>Refuses what is denied, and what every consumer has confirmed. No note says the latter by itself.</summary>
    internal void Complete()
    {
        GranuleRun all = new(0, GranuleCount);
        for (long start = Denied?.FirstIn(all) ?? all.End; start < all.End;)
        {
            GranuleRun denied = new(start, Denied!.FirstNotIn(all with { Start = start }));
            Refused.Add(denied);
            start = Denied.FirstIn(all with { Start = denied.End });
        }

        foreach (GranuleRun consumed in ConfirmedByAll(all))
        {
            Refused.Add(consumed);
        }
    }

    /// <summary>Those parts of a run that every consumer has confirmed; none where there is no consumer. Each map is searched once from the
    /// run's start to its end, whatever the others hold.</summary>
    internal List<GranuleRun> ConfirmedByAll(GranuleRun run)
    {
        List<GranuleRun> common = [];
        GranuleRun[] confirmed = new GranuleRun[_confirmed.Length];
        for (long at = _confirmed.Length == 0 ? run.End : run.Start; at < run.End;)
        {
            GranuleRun shared = run with { Start = at };
            for (int i = 0; i < _confirmed.Length; i++)
            {
                if (confirmed[i].End <= at)
                {
                    confirmed[i] = NextConfirmed(_confirmed[i], run with { Start = at });
                }

                shared = new GranuleRun(Math.Max(shared.Start, confirmed[i].Start), Math.Min(shared.End, confirmed[i].End));
            }

            if (!shared.IsEmpty)
            {
                common.Add(shared);
            }

            at = Math.Max(shared.Start, shared.End);
        }

        return common;
    }

    private static GranuleRun NextConfirmed(GranuleMap map, GranuleRun run)
    {
        long start = map.FirstIn(run);
        return new GranuleRun(start, map.FirstNotIn(run with { Start = start }));
    }
}
