// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>Splits guest offsets into L1 index, index in the L2 table's slice and offset in the cluster.</summary>
/// <remarks>qcow2.txt, "Cluster mapping" and, for subclusters, "Extended L2 Entries".</remarks>
internal readonly struct ClusterAddressing(Qcow2Header header)
{
    private readonly int _tableBits = header.ClusterBits + header.L2EntryBits;
    private readonly int _sliceBits = header.ClusterBits + header.L2SliceEntryBits;
    private readonly int _sliceEntryBits = header.L2SliceEntryBits;

    public int ClusterBits { get; } = header.ClusterBits;

    /// <summary>As <see cref="ClusterBits"/> without extended L2 entries.</summary>
    public int SubclusterBits { get; } = header.SubclusterBits;

    public int ClusterBytes => 1 << ClusterBits;

    public int L1Index(long offsetBytes) => (int)(offsetBytes >> _tableBits);

    /// <summary>The L1 index of a slice's table.</summary>
    public int L1Index(L2Slice slice) => (int)(slice.FirstCluster >> (_tableBits - ClusterBits));

    /// <summary>The guest offset that a table's first entry maps.</summary>
    public long TableStart(long l1Index) => l1Index << _tableBits;

    /// <summary>The number of the slice that maps an offset, counted over the disk.</summary>
    public long SliceOf(long offsetBytes) => offsetBytes >> _sliceBits;

    /// <summary>Behind the last guest offset that a slice maps.</summary>
    public long SliceEnd(long offsetBytes) => ((offsetBytes >> _sliceBits) + 1) << _sliceBits;

    public int IndexInSlice(long offsetBytes) => (int)(offsetBytes >> ClusterBits) & ((1 << _sliceEntryBits) - 1);

    /// <summary>The index of a slice's first entry in its table.</summary>
    public long IndexInTable(L2Slice slice) => slice.FirstCluster & ((1L << (_tableBits - ClusterBits)) - 1);

    /// <summary>The subcluster of an offset, with extended L2 entries.</summary>
    public int IndexInCluster(long offsetBytes) => (int)(offsetBytes >> SubclusterBits) & (Subclusters.Count - 1);

    public long ClusterStart(long offsetBytes) => offsetBytes & -ClusterBytes;

    public long GuestOffset(L2Slice slice, int index) => (slice.FirstCluster + index) << ClusterBits;
}
