// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2.Foundation;

/// <summary>Bounds on what a file may make this driver allocate or walk (rule R5), and its own budgets.</summary>
internal static class Qcow2Limits
{
    /// <summary>Smallest cluster_bits ("Header", bytes 20-23): 512-byte clusters.</summary>
    public const int MinClusterBits = 9;

    /// <summary>Largest cluster_bits that tools read: 2 MiB clusters.</summary>
    public const int MaxClusterBits = 21;

    /// <summary>Largest offset of a cluster: an L1 or L2 entry has bits 9 to 55 for it ("Cluster mapping").</summary>
    public const ulong MaxClusterOffsetBytes = 0x00ff_ffff_ffff_fe00;

    /// <summary>cluster_bits of new images: 64 KiB, what other tools create.</summary>
    public const int DefaultClusterBits = 16;

    /// <summary>Largest refcount_order ("Header", bytes 96-99): 64-bit refcounts.</summary>
    public const int MaxRefcountOrder = 6;

    /// <summary>refcount_order of new images and of every version 2 image: 16-bit refcounts.</summary>
    public const int DefaultRefcountOrder = 4;

    /// <summary>Largest L1 table, held in memory whole. Other tools have the same bound.</summary>
    public const int MaxL1Bytes = 32 * 1024 * 1024;

    /// <summary>Largest refcount table, held in memory whole. Other tools have the same bound.</summary>
    public const int MaxRefcountTableBytes = 8 * 1024 * 1024;

    /// <summary>Most internal snapshots a header may count.</summary>
    public const int MaxSnapshots = 65536;

    /// <summary>L2 tables and refcount blocks kept in memory, unless the caller says otherwise.</summary>
    public const int MetadataCacheBytes = 32 * 1024 * 1024;

    /// <summary>Smallest cluster_bits with subclusters ("Header", bytes 20-23).</summary>
    public const int MinClusterBitsWithSubclusters = 14;

    /// <summary>Longest backing file name ("Header", bytes 16-19).</summary>
    public const ulong MaxBackingNameBytes = 1023;

    /// <summary>Largest snapshot table, held in memory whole. Other tools have the same bound.</summary>
    public const int MaxSnapshotTableBytes = 64 * 1024 * 1024;

    /// <summary>Most extra data of a snapshot table entry. Other tools have the same bound.</summary>
    public const int MaxSnapshotExtraBytes = 1024;

    /// <summary>Snapshots' L1 entries that are looked at, so that the tables they name are never taken for data.</summary>
    public const long MaxGuardedL1Entries = 4 * 1024 * 1024;

    /// <summary>Whole clusters that are written in one go where they have content to keep until then.</summary>
    public const int ClustersPerCopy = 64;

    /// <summary>log2 of the bytes of an L2 table that are read and kept together, a table being a whole cluster: 4 KiB, a
    /// page.</summary>
    public const int L2SliceBits = 12;

    /// <summary>L2 slices, and refcount blocks, kept even when they are larger than their part of the cache.</summary>
    public const int MinCachedTables = 4;

    /// <summary>Most L2 slices kept, whatever the caller says: 16 GiB.</summary>
    public const int MaxCachedSlices = 1 << 22;

    /// <summary>Changed L2 slices may fill one n-th of the L2 cache; then they are written back.</summary>
    public const int DirtyShareOfCache = 4;

    /// <summary>Freed bytes that wait for a write-back; more start one, so that clusters are used again in
    /// time.</summary>
    public const long MaxFreedBytes = 256L * 1024 * 1024;

    /// <summary>Runs of free clusters kept in memory; beyond that free clusters are found by scanning
    /// refcounts.</summary>
    public const int MaxFreeRuns = 65536;

    /// <summary>The file grows, as a hole, by at least this much, so that growing does not cost a call per
    /// cluster.</summary>
    public const long GrowthBytes = 8L * 1024 * 1024;

    /// <summary>Clusters in use behind the end of the file that allocation steps over before it calls that
    /// damage.</summary>
    public const int MaxUsedClustersBehindEnd = 65536;

    /// <summary>L2 entries that are changed under one hold of the metadata lock.</summary>
    public const int EntriesPerHold = 1024;

    /// <summary>L2 slices one status query reads; the caller asks again from where the run ended.</summary>
    public const int SlicesPerStatusQuery = 1024;

    /// <summary>Most header extensions.</summary>
    public const int MaxHeaderExtensions = 256;

    /// <summary>The part of a metadata cache that is for L2 tables.</summary>
    public static long L2Share(long cacheBytes) => cacheBytes / 4 * 3;

    /// <summary>The part of a metadata cache that is for refcount blocks.</summary>
    public static long RefcountShare(long cacheBytes) => cacheBytes / 4;
}
