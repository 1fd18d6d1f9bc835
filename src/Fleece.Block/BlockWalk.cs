// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;

namespace Fleece.Block;

/// <summary>Walks the status of a range of any node.</summary>
internal static class BlockWalk
{
    /// <summary>The runs of a range in ascending order, neighbours of one status merged.</summary>
    public static async IAsyncEnumerable<(long OffsetBytes, BlockStatusRun Run)> EnumerateStatusAsync(
        this IBlockNode node, BlockRange range, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(node);
        long startBytes = range.OffsetBytes;
        BlockStatusRun pending = default;
        while (startBytes + pending.LengthBytes < range.EndBytes)
        {
            long atBytes = startBytes + pending.LengthBytes;
            BlockStatusRun next = await node.GetStatusAsync(atBytes, range.EndBytes - atBytes, cancellationToken)
                .ConfigureAwait(false);
            if (pending.LengthBytes != 0 && pending.Status != next.Status)
            {
                yield return (startBytes, pending);
                startBytes = atBytes;
                pending = next;
            }
            else
            {
                pending = new BlockStatusRun(next.Status, pending.LengthBytes + next.LengthBytes);
            }
        }

        if (pending.LengthBytes != 0)
        {
            yield return (startBytes, pending);
        }
    }
}
