// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>Writes a new refcount table and new blocks.</summary>
/// <remarks>
/// They go behind everything that the file has or uses, so nothing is overwritten, and are flushed before the header points to
/// them; a crash before that leaves the image as it was, and longer. The old ones are simply no longer counted.
/// </remarks>
internal static class RefcountRebuild
{
    /// <param name="file">The image.</param>
    /// <param name="header">Its header.</param>
    /// <param name="counts">The uses of every cluster, without the refcount table and blocks; the new ones are added.</param>
    /// <exception cref="Fleece.Block.BlockException">Unsupported: the table would be too long.</exception>
    public static void Run(IContainerFile file, CheckedHeader header, ReferenceCounts counts)
    {
        long perBlock = RefcountStructures.ClustersPerBlockOf(header);
        long start = Math.Max(header.FileClusters, counts.EndCluster);
        SortedSet<long> blocks = [.. counts.Used().Select(used => used.Cluster / perBlock)];
        long tableClusters = 0;
        long end = start;
        while (true)
        {
            long neededTable = (((end / perBlock) + 1) * sizeof(ulong) + header.ClusterBytes - 1) >> header.ClusterBits;
            for (long block = start / perBlock; block <= Math.Max(start, end - 1) / perBlock; block++)
            {
                blocks.Add(block);
            }

            long neededEnd = start + neededTable + blocks.Count;
            if (neededTable == tableClusters && neededEnd == end)
            {
                break;
            }

            tableClusters = neededTable;
            end = neededEnd;
            if (tableClusters << header.ClusterBits > Math.Max(Qcow2Limits.MaxRefcountTableBytes, header.ClusterBytes))
            {
                throw FormatFault.Qcow2.Unsupported(
                    file.Path,
                    $"a refcount table for a file of {header.FileLengthBytes} bytes would be longer than " +
                    $"{Qcow2Limits.MaxRefcountTableBytes} bytes");
            }
        }

        for (long cluster = start; cluster < end; cluster++)
        {
            counts.Add(cluster, 1);
        }

        Write(file, header, counts, start, (int)tableClusters, blocks);
    }

    private static void Write(
        IContainerFile file, CheckedHeader header, ReferenceCounts counts, long start, int tableClusters, SortedSet<long> blocks)
    {
        int perBlock = RefcountStructures.ClustersPerBlockOf(header);
        ulong largest = RefcountStructures.LargestRefcount(header);
        byte[] table = new byte[(long)tableClusters << header.ClusterBits];
        long place = start + tableClusters;
        foreach (long index in blocks)
        {
            RefcountBlock block = new((int)index, place << header.ClusterBits, header.ClusterBytes, header.RefcountOrder);
            foreach ((long cluster, uint uses) in counts.Used(index * perBlock, (index + 1) * perBlock))
            {
                block.Set((int)(cluster % perBlock), Math.Min(largest, uses));
            }

            file.Write(block.HostOffsetBytes, block.Bytes);
            BinaryPrimitives.WriteInt64BigEndian(table.AsSpan((int)index * sizeof(ulong)), block.HostOffsetBytes);
            place++;
        }

        file.Write(start << header.ClusterBits, table);
        file.Flush();

        // Offset and length are neighbours in the header, so that one small write changes both.
        Span<byte> pointer = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(pointer, start << header.ClusterBits);
        BinaryPrimitives.WriteInt32BigEndian(pointer[8..], tableClusters);
        file.Write(Qcow2Header.RefcountTableOffsetField, pointer);
        file.Flush();
    }
}
