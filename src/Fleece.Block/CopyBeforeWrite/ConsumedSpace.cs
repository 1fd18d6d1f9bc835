// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>Gives back what temp holds of granules that are consumed (I7).</summary>
/// <remarks>No reader gets from temp what is refused, and a copy that is still storing some of it frees it itself when it ends. A temp that
/// can't give space back keeps it: nothing else is lost. Threading. Any thread.</remarks>
internal sealed class ConsumedSpace(PointInTime point)
{
    /// <summary>Frees what a copy stored for granules that were consumed while it ran, with what is refused around them: files and images
    /// free whole blocks only.</summary>
    public async ValueTask FreeAsync(GranuleRun run)
    {
        for (long start = point.Refused.FirstIn(run); start < run.End;)
        {
            GranuleRun consumed = new(start, point.Refused.FirstNotIn(run with { Start = start }));
            BlockRange bytes = point.Granules.Bytes(WithRefusedNeighbours(consumed));
            try
            {
                await point.Temp.DiscardAsync(bytes.OffsetBytes, bytes.LengthBytes, CancellationToken.None)
                    .ConfigureAwait(false);
            }
            catch (BlockException)
            {
                // The guest's write must not fail because space in temp could not be given back; the old data is safe.
            }

            start = point.Refused.FirstIn(run with { Start = consumed.End });
        }
    }

    private GranuleRun WithRefusedNeighbours(GranuleRun consumed)
    {
        long unit = Math.Max(1, WholeClusterDiscard.ClusterSizeBytes / point.Granules.SizeBytes);
        GranuleRun before = new(consumed.Start / unit * unit, consumed.Start);
        GranuleRun behind = new(consumed.End, Math.Min(point.Granules.Count, (consumed.End + unit - 1) / unit * unit));
        return new GranuleRun(
            point.Refused.FirstNotIn(before) == before.End ? before.Start : consumed.Start,
            point.Refused.FirstNotIn(behind) == behind.End ? behind.End : consumed.End);
    }
}
