// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>A new, empty version 3 image.</summary>
/// <remarks>
/// <code>
/// cluster 0                header, no extensions
/// then                     refcount table, long enough for the full disk where the limit allows
/// then                     refcount blocks that count these clusters
/// then                     L1 table, all zero: a hole
/// </code>
/// </remarks>
internal readonly record struct Qcow2Layout
{
    private const int HeaderBytes = 112;

    /// <summary>Works the layout out.</summary>
    /// <exception cref="BlockException">InvalidArgument: cluster size, or too many clusters for one L1
    /// table.</exception>
    public Qcow2Layout(string path, long sizeBytes, int clusterBytes)
    {
        BlockRange.CheckPowerOfTwo(
            clusterBytes, 1 << Qcow2Limits.MinClusterBits, 1 << Qcow2Limits.MaxClusterBits, "The cluster size");
        SizeBytes = sizeBytes;
        ClusterBits = int.TrailingZeroCount(clusterBytes);
        long tableBytes = (long)clusterBytes * (clusterBytes / sizeof(ulong));
        long l1Entries = ((sizeBytes - 1) / tableBytes) + 1;
        if (l1Entries > Qcow2Limits.MaxL1Bytes / sizeof(ulong))
        {
            throw new BlockException(
                BlockErrorKind.InvalidArgument,
                $"A disk of {sizeBytes} bytes is too large for a qcow2 image with clusters of {clusterBytes} bytes: " +
                $"its L1 table would have {l1Entries} entries. Choose larger clusters.",
                path);
        }

        L1Entries = (int)l1Entries;
        long l1Clusters = Clusters(l1Entries * sizeof(ulong));
        long perBlock = (long)clusterBytes * 8 >> Qcow2Limits.DefaultRefcountOrder;
        long dataClusters = Clusters(sizeBytes) + l1Entries;
        long fullBlocks = ((dataClusters + l1Clusters) / perBlock * (perBlock + 1) / perBlock) + 2;
        long tableClusters = Math.Clamp(
            Clusters(fullBlocks * sizeof(ulong)), 1, Math.Max(1, Qcow2Limits.MaxRefcountTableBytes >> ClusterBits));
        RefcountTableClusters = (int)tableClusters;
        long blocks = 1;
        while (blocks * perBlock < 1 + tableClusters + blocks + l1Clusters)
        {
            blocks++;
        }

        RefcountBlocks = (int)blocks;
        UsedClusters = (int)(1 + tableClusters + blocks + l1Clusters);
    }

    public long SizeBytes { get; }

    public int ClusterBits { get; }

    public int L1Entries { get; }

    public int RefcountTableClusters { get; }

    public int RefcountBlocks { get; }

    /// <summary>Clusters of the new file; each has refcount 1.</summary>
    public int UsedClusters { get; }

    private int ClusterBytes => 1 << ClusterBits;

    /// <summary>Writes the image into an empty file, the header last, and makes it durable.</summary>
    public void WriteTo(IContainerFile file)
    {
        file.SetLength((long)UsedClusters << ClusterBits);
        byte[] cluster = new byte[ClusterBytes];
        long firstBlock = 1L + RefcountTableClusters;
        int perBlock = ClusterBytes / sizeof(ushort);
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        for (int block = 0; block < RefcountBlocks; block++)
        {
            cluster.AsSpan().Clear();
            int used = Math.Min(perBlock, UsedClusters - (block * perBlock));
            for (int i = 0; i < used; i++)
            {
                BinaryPrimitives.WriteUInt16BigEndian(cluster.AsSpan(i * sizeof(ushort)), 1);
            }

            long offsetBytes = (firstBlock + block) << ClusterBits;
            file.Write(offsetBytes, cluster);
            BinaryPrimitives.WriteInt64BigEndian(word, offsetBytes);
            file.Write(ClusterBytes + ((long)block * sizeof(ulong)), word);
        }

        file.Flush();
        WriteHeader(file);
        file.Flush();
    }

    private void WriteHeader(IContainerFile file)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        header.Clear();
        BinaryPrimitives.WriteUInt32BigEndian(header, Qcow2Header.Magic);
        BinaryPrimitives.WriteInt32BigEndian(header[4..], 3);
        BinaryPrimitives.WriteInt32BigEndian(header[20..], ClusterBits);
        BinaryPrimitives.WriteInt64BigEndian(header[24..], SizeBytes);
        BinaryPrimitives.WriteInt32BigEndian(header[36..], L1Entries);
        long l1Cluster = 1L + RefcountTableClusters + RefcountBlocks;
        BinaryPrimitives.WriteInt64BigEndian(header[40..], l1Cluster << ClusterBits);
        BinaryPrimitives.WriteInt64BigEndian(header[Qcow2Header.RefcountTableOffsetField..], ClusterBytes);
        BinaryPrimitives.WriteInt32BigEndian(header[56..], RefcountTableClusters);
        BinaryPrimitives.WriteInt32BigEndian(header[96..], Qcow2Limits.DefaultRefcountOrder);
        BinaryPrimitives.WriteInt32BigEndian(header[100..], HeaderBytes);
        file.Write(0, header);
    }

    private long Clusters(long bytes) => (bytes + ClusterBytes - 1) >> ClusterBits;
}
