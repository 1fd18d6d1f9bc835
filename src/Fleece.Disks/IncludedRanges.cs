// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Disks;

/// <summary>The ranges a snapshot could be asked for at its instant, in whole granules. The maps know it, whatever has become of a
/// bitmap.</summary>
internal static class IncludedRanges
{
    /// <summary>The ranges of a snapshot, in order; one with the whole disk where nothing was denied.</summary>
    public static IEnumerable<BlockRange> Of(PointInTime point)
    {
        GranuleRun all = new(0, point.Granules.Count);
        for (long start = NextIncluded(point, all); start < all.End;)
        {
            GranuleRun run = new(start, point.Denied?.FirstIn(all with { Start = start }) ?? all.End);
            yield return point.Granules.Bytes(run);
            start = NextIncluded(point, all with { Start = run.End });
        }
    }

    private static long NextIncluded(PointInTime point, GranuleRun run) => point.Denied?.FirstNotIn(run) ?? run.Start;
}
