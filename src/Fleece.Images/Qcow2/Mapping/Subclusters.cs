// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Numerics;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>An L2 entry as a whole.</summary>
/// <param name="Entry">The descriptor; see <see cref="L2Entry"/>.</param>
/// <param name="Subclusters">With extended L2 entries the second word; see <see cref="Mapping.Subclusters"/>.</param>
internal readonly record struct L2Descriptor(ulong Entry, ulong Subclusters)
{
    /// <summary>Both words as they are on disk.</summary>
    public void WriteTo(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64BigEndian(bytes, Entry);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[sizeof(ulong)..], Subclusters);
    }
}

/// <summary>The allocation bitmap of an extended L2 entry (qcow2.txt, "Extended L2 Entries").</summary>
/// <remarks>
/// <code>
/// bit n        subcluster n is allocated: its bytes are in the host cluster
/// bit 32 + n   subcluster n reads as zeros
/// neither      subcluster n is unallocated: the parent's, or zeros
/// both         damage
/// </code>
/// </remarks>
internal static class Subclusters
{
    /// <summary>Subclusters of a cluster.</summary>
    public const int Count = 1 << Qcow2Header.SubclusterCountBits;

    public const ulong AllZero = 0xffff_ffff_0000_0000;

    /// <summary>False when a subcluster is both allocated and zero.</summary>
    public static bool IsValid(ulong bitmap) => ((uint)bitmap & (uint)(bitmap >> Count)) == 0;

    public static ClusterKind Kind(L2Descriptor descriptor, int subcluster)
    {
        ClusterKind kind = L2Entry.Kind(descriptor.Entry);
        if (kind is ClusterKind.Compressed or ClusterKind.Invalid)
        {
            return kind;
        }

        ulong bits = descriptor.Subclusters >> subcluster;
        if ((bits & 1) != 0)
        {
            return ClusterKind.Data;
        }

        return (bits & (1UL << Count)) != 0 ? ClusterKind.Zero : ClusterKind.Unallocated;
    }

    /// <summary>Subclusters of the same kind from one on, up to the end of the cluster.</summary>
    public static int RunLength(L2Descriptor descriptor, int subcluster)
    {
        uint allocated = (uint)descriptor.Subclusters;
        uint zero = (uint)(descriptor.Subclusters >> Count);
        uint same = Kind(descriptor, subcluster) switch
        {
            ClusterKind.Data => allocated,
            ClusterKind.Zero => zero,
            ClusterKind.Unallocated => ~(allocated | zero),
            _ => uint.MaxValue,
        };
        return Math.Min(Count - subcluster, BitOperations.TrailingZeroCount(~(same >> subcluster)));
    }

    /// <summary>The bitmap once some subclusters are allocated.</summary>
    public static ulong Allocate(ulong bitmap, int first, int end) =>
        (bitmap | Mask(first, end)) & ~(Mask(first, end) << Count);

    /// <summary>The bitmap once some subclusters read as zeros.</summary>
    public static ulong Zero(ulong bitmap, int first, int end) =>
        (bitmap & ~Mask(first, end)) | (Mask(first, end) << Count);

    private static ulong Mask(int first, int end) => ((1UL << end) - 1) & ~((1UL << first) - 1);
}
