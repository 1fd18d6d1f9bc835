// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2.Mapping;

/// <summary>Where a compressed cluster is stored, to the byte (qcow2.txt, "Compressed Clusters Descriptor").</summary>
/// <remarks>
/// <code>
/// x = 62 - (cluster_bits - 8)
/// bits 0 to x-1    file offset, not aligned; bits beyond 55 are 0
/// bits x to 61     512-byte sectors beyond the one that holds the first byte
/// </code>
/// The extent ends with a sector of the file, not with the stream: what follows the stream there belongs to others. It
/// may cross from one host cluster into the next, and each host cluster counts every extent that touches it.
/// </remarks>
/// <param name="OffsetBytes">First byte in the file.</param>
/// <param name="LengthBytes">Bytes up to the end of the last sector; at most two clusters.</param>
internal readonly record struct CompressedExtent(long OffsetBytes, int LengthBytes)
{
    /// <summary>The unit in which an entry stores the length.</summary>
    public const int SectorBytes = 512;

    private const int DescriptorBits = 62;
    private const int HostOffsetBits = 56;

    /// <summary>Behind its last byte in the file.</summary>
    public long EndBytes => OffsetBytes + LengthBytes;

    /// <summary>Takes an L2 entry apart whose compressed bit is set; any value gives an extent.</summary>
    public static CompressedExtent FromEntry(ulong entry, int clusterBits)
    {
        int offsetBits = OffsetBits(clusterBits);
        long offsetBytes = (long)(entry & ((1UL << offsetBits) - 1));
        long moreSectors = (long)((entry & ((1UL << DescriptorBits) - 1)) >> offsetBits);
        long lengthBytes = ((moreSectors + 1) * SectorBytes) - (offsetBytes & (SectorBytes - 1));
        return new CompressedExtent(offsetBytes, (int)lengthBytes);
    }

    /// <summary>The L2 entry of the extent.</summary>
    public ulong ToEntry(int clusterBits)
    {
        long moreSectors = ((EndBytes - 1) / SectorBytes) - (OffsetBytes / SectorBytes);
        return L2Entry.Compressed | ((ulong)moreSectors << OffsetBits(clusterBits)) | (ulong)OffsetBytes;
    }

    /// <summary>The first host cluster it touches.</summary>
    public long FirstCluster(int clusterBits) => OffsetBytes >> clusterBits;

    /// <summary>The last host cluster it touches.</summary>
    public long LastCluster(int clusterBits) => (EndBytes - 1) >> clusterBits;

    /// <summary>An entry can name no place from here on.</summary>
    public static long OffsetLimitBytes(int clusterBits) => 1L << Math.Min(OffsetBits(clusterBits), HostOffsetBits);

    private static int OffsetBits(int clusterBits) => DescriptorBits - (clusterBits - 8);
}
