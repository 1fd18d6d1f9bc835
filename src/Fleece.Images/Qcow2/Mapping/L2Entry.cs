// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Foundation;
namespace Fleece.Images.Qcow2.Mapping;

/// <summary>What an L2 entry says of its guest cluster.</summary>
internal enum ClusterKind
{
    /// <summary>Nothing is stored: it reads as the parent, or as zeros without one.</summary>
    Unallocated,

    /// <summary>Reads as zeros; a host cluster may be reserved.</summary>
    Zero,

    /// <summary>A host cluster holds the bytes.</summary>
    Data,

    /// <summary>Compressed bytes, somewhere in the file; see <see cref="CompressedExtent"/>.</summary>
    Compressed,

    /// <summary>Bits that contradict the format; see <see cref="L2Slice"/>.</summary>
    Invalid,
}

/// <summary>The bits of L1 and L2 entries (qcow2.txt, "Cluster mapping").</summary>
/// <remarks>
/// <code>
/// bit 63      refcount is exactly 1, so that the cluster may be changed in place ("copied")
/// bit 62      L2 only: compressed cluster, the other bits then mean something else
/// bits 9-55   host offset, a multiple of the cluster size
/// bit 0       L2 only, version 3: reads as zeros whatever the offset
/// the rest    reserved, 0
/// </code>
/// </remarks>
internal static class L2Entry
{
    public const ulong Copied = 1UL << 63;
    public const ulong Compressed = 1UL << 62;
    public const ulong OffsetMask = Qcow2Limits.MaxClusterOffsetBytes;
    public const ulong ZeroFlag = 1;
    public const ulong ReservedMask = ~(Copied | Compressed | OffsetMask | ZeroFlag);

    /// <summary>Stands, in memory only, for an entry that failed validation: a reserved bit and nothing else.</summary>
    public const ulong Invalid = 1UL << 1;

    public static long HostOffset(ulong entry) => (long)(entry & OffsetMask);

    /// <summary>True when nothing is stored and no host cluster is reserved.</summary>
    public static bool IsHostless(ulong entry) => entry is 0 or ZeroFlag;

    public static ClusterKind Kind(ulong entry)
    {
        if (entry == 0)
        {
            return ClusterKind.Unallocated;
        }

        if ((entry & (Compressed | ReservedMask | ZeroFlag)) == 0)
        {
            return ClusterKind.Data;
        }

        if ((entry & Compressed) != 0)
        {
            return ClusterKind.Compressed;
        }

        return (entry & ReservedMask) != 0 ? ClusterKind.Invalid : ClusterKind.Zero;
    }
}
