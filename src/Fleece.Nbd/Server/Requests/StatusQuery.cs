// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Server.Requests;

/// <summary>Answers a block status request: one chunk of extents for each context.</summary>
internal static class StatusQuery
{
    // A question to the far end of a large disk would be answered from its maps in one piece, at a cost in proportion to the
    // disk, again and again. So the walk asks for this much at a time and joins what is alike.
    private const long MaximumStepBytes = 1L << 40;

    /// <summary>Collects the extents of a range in one context into <paramref name="extents"/>.</summary>
    /// <remarks>
    /// The extents cover a front part of the range without a gap and are at least one. A failure behind the first extent
    /// ends the answer there; the client asks again from that place and gets the error then (I5).
    /// </remarks>
    public static async ValueTask CollectAsync(
        IStatusContext context, BlockRange range, bool isOne, bool isExtended, List<StatusExtent> extents)
    {
        long maximumBytes = isExtended ? long.MaxValue : NbdLimits.MaximumCompactExtentBytes;
        int maximumCount = isOne ? 1 : NbdLimits.MaximumServedExtents;
        extents.Clear();
        for (long atBytes = range.OffsetBytes; atBytes < range.EndBytes;)
        {
            StatusExtent next;
            try
            {
                next = await context.GetExtentAsync(
                    atBytes, Math.Min(range.EndBytes - atBytes, MaximumStepBytes), CancellationToken.None).ConfigureAwait(false);
            }
            catch (BlockException) when (extents.Count != 0)
            {
                return;
            }

            if (!TryAdd(extents, next, maximumBytes, maximumCount))
            {
                return;
            }

            atBytes += next.LengthBytes;
        }
    }

    // False when the answer is full: of its extents, or because the last one has its greatest length.
    private static bool TryAdd(List<StatusExtent> extents, StatusExtent next, long maximumBytes, int maximumCount)
    {
        if (extents.Count != 0 && extents[^1] is var last && last.Flags == next.Flags)
        {
            long roomBytes = maximumBytes - last.LengthBytes;
            extents[^1] = last with { LengthBytes = last.LengthBytes + Math.Min(roomBytes, next.LengthBytes) };
            return next.LengthBytes <= roomBytes;
        }

        if (extents.Count == maximumCount)
        {
            return false;
        }

        extents.Add(next with { LengthBytes = Math.Min(next.LengthBytes, maximumBytes) });
        return next.LengthBytes <= maximumBytes;
    }
}
