// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Qemu.Reading;

/// <summary>What a bitmap limits a snapshot to, as the export tells it.</summary>
internal static class SnapshotLimits
{
    // Those of a disk of 64 TiB whose every other 4 MiB has changed; they take 128 MiB.
    private const int MaximumRanges = 8 * 1024 * 1024;

    /// <summary>Asks for the marked ranges over a connection of its own: a query on the snapshot's would be answered for its bytes as well,
    /// and QEMU fails that where they are refused.</summary>
    /// <param name="options">The snapshot, with its bitmap.</param>
    /// <param name="clusters">How the disk is divided. QEMU copies a cluster of which a byte is marked, so the ranges are whole
    /// clusters.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="BlockException">As <see cref="QemuSnapshot.OpenAsync"/>.</exception>
    public static async ValueTask<IReadOnlyList<BlockRange>> ReadAsync(
        QemuSnapshotOptions options, Granules clusters, CancellationToken cancellationToken)
    {
        NbdNodeOptions how = new()
        {
            DirtyBitmap = options.Bitmap,
            IsReadOnly = true,
            MaximumConnections = 1,
            ReconnectTimeout = TimeSpan.Zero,
        };
        NbdNode node = await NbdNode.ConnectAsync(options.Uri, how, cancellationToken).ConfigureAwait(false);
        await using (node.ConfigureAwait(false))
        {
            return await ReadAsync(node, options, clusters, cancellationToken).ConfigureAwait(false);
        }
    }

    private static async ValueTask<IReadOnlyList<BlockRange>> ReadAsync(
        NbdNode node, QemuSnapshotOptions options, Granules clusters, CancellationToken cancellationToken)
    {
        if (!node.HasDirtyContext || node.Geometry.LengthBytes != clusters.DiskLengthBytes)
        {
            throw new BlockException(
                DiskErrors.BitmapUnknown,
                $"QEMU's export of the snapshot '{options.Id}' does not tell of the bitmap '{options.Bitmap}', which limits it. Start " +
                "the session anew.",
                options.Id);
        }

        List<BlockRange> ranges = [];
        long endBytes = clusters.DiskLengthBytes;
        for (long atBytes = 0; atBytes < endBytes;)
        {
            (bool isDirty, long lengthBytes) = await node.GetDirtyAsync(atBytes, endBytes - atBytes, cancellationToken)
                .ConfigureAwait(false);
            if (isDirty)
            {
                Add(ranges, clusters.Bytes(clusters.Cover(atBytes, lengthBytes)), options.Id);
            }

            atBytes += lengthBytes;
        }

        return ranges;
    }

    private static void Add(List<BlockRange> ranges, BlockRange range, string id)
    {
        if (ranges is [.., var last] && last.EndBytes >= range.OffsetBytes)
        {
            ranges[^1] = BlockRange.FromEnds(last.OffsetBytes, Math.Max(last.EndBytes, range.EndBytes));
        }
        else if (ranges.Count < MaximumRanges)
        {
            ranges.Add(range);
        }
        else
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"The bitmap of the snapshot '{id}' has more than {MaximumRanges} ranges, which is the limit. Start the session without " +
                "a bitmap.",
                id);
        }
    }
}
