// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>The consumers that a point in time counts.</summary>
/// <remarks>
/// <para>A granule is consumed when all of them have confirmed it, so what is consumed is always confirmed by each. Their maps only
/// grow, and each says what one consumer is refused beside what everybody is.</para>
/// <para>Threading. The lock is held while maps are compared, which guests do not wait for, and never across I/O. Whoever confirms a
/// granule last finds the others' confirmations, because adding and looking are one step.</para>
/// </remarks>
internal sealed class SnapshotConsumers
{
    private readonly SharedLock _lock = new();
    private readonly SnapshotConsumer[] _all;

    public SnapshotConsumers(PointInTime point, IReadOnlyList<string> names) =>
        _all = [.. names.Select(name => new SnapshotConsumer(point, name))];

    public IReadOnlyList<SnapshotConsumer> All => _all;

    /// <summary>Notes that a consumer is finished with a run.</summary>
    /// <param name="consumer">The consumer; null for all of them at once.</param>
    /// <param name="run">The run.</param>
    /// <returns>Those parts of the run that nobody needs any more.</returns>
    public IReadOnlyList<GranuleRun> Confirm(SnapshotConsumer? consumer, GranuleRun run)
    {
        using (_lock.EnterScope())
        {
            foreach (SnapshotConsumer finished in consumer is null ? _all : [consumer])
            {
                finished.Confirm(run);
            }

            return consumer is null ? [run] : ConfirmedByAll(run);
        }
    }

    // Each map is searched once from the run's start to its end, whatever the others hold.
    private List<GranuleRun> ConfirmedByAll(GranuleRun run)
    {
        List<GranuleRun> common = [];
        GranuleRun[] confirmed = new GranuleRun[_all.Length];
        for (long at = run.Start; at < run.End;)
        {
            GranuleRun shared = run with { Start = at };
            for (int i = 0; i < _all.Length; i++)
            {
                if (confirmed[i].End <= at)
                {
                    confirmed[i] = NextConfirmed(_all[i].Confirmed, run with { Start = at });
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
