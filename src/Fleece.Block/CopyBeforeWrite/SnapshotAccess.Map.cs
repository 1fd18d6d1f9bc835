// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

internal sealed partial class SnapshotAccess
{
    // How far from its last writes a guest is expected next: a stream that runs ahead, and the other parts of a hot region.
    private const long AheadBytes = 64 * 1024 * 1024;
    private const long BehindBytes = 16 * 1024 * 1024;

    /// <summary>The first readable range at or behind an offset, before an end; empty when there is none.</summary>
    public BlockRange NextReadable(long offsetBytes, long endBytes)
    {
        BlockRange rest = BlockRange.FromEnds(offsetBytes, endBytes);
        rest.CheckWithin(Geometry.LengthBytes, null, "query");
        GranuleRun run = _point.Granules.Cover(rest.OffsetBytes, rest.LengthBytes);
        long start = FirstReadable(run);
        if (start >= run.End)
        {
            return new BlockRange(endBytes, 0);
        }

        // The end is searched behind the granule just found readable: it may be consumed meanwhile, and an empty answer
        // would say that nothing is left.
        long end = FirstRefused(run with { Start = start + 1 });
        return _point.Granules.Bytes(new GranuleRun(start, end)).Intersect(rest);
    }

    /// <summary>
    /// The run that starts at <paramref name="offsetBytes"/> and what the snapshot would do with it. A view for people and
    /// planners: guests and readers may change it the next moment, but what is refused stays refused.
    /// </summary>
    public SnapshotRun GetRun(long offsetBytes)
    {
        new BlockRange(offsetBytes, 1).CheckWithin(Geometry.LengthBytes, null, "query");
        long start = _point.Granules.IndexOf(offsetBytes);

        // The first granule is looked at once and the search for the run's end begins behind it. So the run is never
        // empty, whatever happens to that granule meanwhile.
        GranuleRun rest = new(start + 1, _point.Granules.Count);
        if (!IsRefused(start))
        {
            GranuleRun readable = rest with { End = FirstRefused(rest) };
            bool isDone = _point.Done.Contains(start);
            long end = isDone ? _point.Done.FirstNotIn(readable) : _point.Done.FirstIn(readable);
            return Run(offsetBytes, end, isDone ? SnapshotRunState.Copied : SnapshotRunState.Untouched);
        }

        GranuleRun refused = rest with { End = FirstReadable(rest) };
        if (_point.IsDenied(start))
        {
            return Run(offsetBytes, _point.Denied!.FirstNotIn(refused), SnapshotRunState.Denied);
        }

        return Run(offsetBytes, _point.Denied?.FirstIn(refused) ?? refused.End, SnapshotRunState.Consumed);
    }

    /// <summary>The runs from the disk's start to its end.</summary>
    public IEnumerable<SnapshotRun> GetRuns()
    {
        for (long offsetBytes = 0; offsetBytes < Geometry.LengthBytes;)
        {
            SnapshotRun run = GetRun(offsetBytes);
            yield return run;
            offsetBytes += run.LengthBytes;
        }
    }

    /// <summary>Offsets at which the snapshot is untouched, near the guest's latest writes, that of the newest first. Copied and consumed
    /// granules are left out, for no write endangers them.</summary>
    public IReadOnlyList<long> FindAtRisk()
    {
        List<long> offsets = [];
        foreach (long granule in _point.Recent.NewestFirst())
        {
            if ((FindUntouched(granule, granule + AheadBytes / _point.GranuleSizeBytes) ??
                FindUntouched(granule - BehindBytes / _point.GranuleSizeBytes, granule)) is { } found)
            {
                offsets.Add(found * _point.GranuleSizeBytes);
            }
        }

        return offsets;
    }

    /// <summary>The first granule of the run that is refused here, or the run's end.</summary>
    internal long FirstRefused(GranuleRun run) => _consumer is null
        ? _point.Refused.FirstIn(run)
        : GranuleMap.FirstInEither(_point.Refused, _consumer.Confirmed, run);

    /// <summary>The first granule of the run that is not refused here, or the run's end.</summary>
    internal long FirstReadable(GranuleRun run) => _consumer is null
        ? _point.Refused.FirstNotIn(run)
        : GranuleMap.FirstInNeither(_point.Refused, _consumer.Confirmed, run);

    private long? FindUntouched(long start, long end)
    {
        GranuleRun run = new(Math.Max(0, start), Math.Min(end, _point.Granules.Count));
        return !run.IsEmpty && _point.FirstUnsettled(run) is var first && first < run.End ? first : null;
    }

    private bool IsRefused(long granule) => _point.Refused.Contains(granule) || _consumer?.Confirmed.Contains(granule) == true;

    private SnapshotRun Run(long offsetBytes, long endGranule, SnapshotRunState state) =>
        new(offsetBytes, _point.Granules.EndBytes(endGranule) - offsetBytes, state);
}
