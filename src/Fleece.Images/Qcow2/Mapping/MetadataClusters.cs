// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>The clusters that hold the format's own tables, so that guest data is never taken to lie on one.</summary>
/// <remarks>
/// A damaged or hostile image can have an L2 entry that points at the header or at a table; a guest's write through it
/// would rewrite the metadata. The set is what the file held when it was opened; clusters that become tables later come
/// from the allocator, which hands out each of them once.
/// <para>Threading. Immutable.</para>
/// </remarks>
internal sealed class MetadataClusters
{
    private readonly long[] _sorted;

    private MetadataClusters(long[] sorted) => _sorted = sorted;

    /// <summary>Collects the clusters of an image, its snapshots' tables included.</summary>
    /// <exception cref="Fleece.Block.BlockException">Corrupt: two tables share a cluster; read errors.</exception>
    public static MetadataClusters Read(IContainerFile file, Qcow2Header header, ulong[] l1, RefcountStore refcounts)
    {
        int clusterBits = header.ClusterBits;
        List<long> clusters = new(l1.Length) { 0 };
        AddBytes(clusters, header.L1OffsetBytes, (long)l1.Length * sizeof(ulong), clusterBits);
        AddBytes(clusters, header.RefcountTableOffsetBytes, (long)header.RefcountTableClusters << clusterBits, clusterBits);
        foreach (ulong entry in l1)
        {
            AddOffset(clusters, L2Entry.HostOffset(entry) >> clusterBits);
        }

        foreach (ulong offset in refcounts.Table)
        {
            AddOffset(clusters, (long)(offset >> clusterBits));
        }

        HashSet<long> l2OfSnapshots = AddSnapshots(clusters, file, header);
        foreach (ulong entry in l1)
        {
            // A table that a snapshot shares with the active state is listed already.
            l2OfSnapshots.Remove(L2Entry.HostOffset(entry) >> clusterBits);
        }

        clusters.AddRange(l2OfSnapshots);
        long[] sorted = [.. clusters];
        Array.Sort(sorted);
        for (int i = 1; i < sorted.Length; i++)
        {
            if (sorted[i] == sorted[i - 1])
            {
                throw FormatFault.Qcow2.Corrupt(
                    file.Path,
                    $"two metadata tables share the cluster at file offset {sorted[i] << clusterBits}",
                    sorted[i] << clusterBits);
            }
        }

        return new MetadataClusters(sorted);
    }

    /// <summary>True when the format's tables own the cluster.</summary>
    public bool Contains(long cluster) => Array.BinarySearch(_sorted, cluster) >= 0;

    // The snapshots' L2 tables come back on their own: snapshots share them with each other.
    private static HashSet<long> AddSnapshots(List<long> clusters, IContainerFile file, Qcow2Header header)
    {
        HashSet<long> l2 = [];
        IReadOnlyList<Qcow2Snapshot> snapshots = Qcow2Snapshot.ReadAll(file, header, out long tableBytes);
        AddBytes(clusters, header.SnapshotsOffsetBytes, tableBytes, header.ClusterBits);
        long guarded = 0;
        foreach (Qcow2Snapshot snapshot in snapshots)
        {
            guarded += snapshot.L1Entries;
            if (guarded > Qcow2Limits.MaxGuardedL1Entries)
            {
                throw FormatFault.Qcow2.Unsupported(
                    file.Path,
                    $"the L1 tables of its internal snapshots have more than {Qcow2Limits.MaxGuardedL1Entries} entries in " +
                    "all, too many to write beside. Open it read-only, or remove some with 'qemu-img snapshot -d'");
            }

            AddBytes(clusters, snapshot.L1OffsetBytes, (long)snapshot.L1Entries * sizeof(ulong), header.ClusterBits);
            foreach (ulong entry in L1Table.Read(file, header, snapshot.L1OffsetBytes, snapshot.L1Entries))
            {
                if (entry != 0)
                {
                    l2.Add(L2Entry.HostOffset(entry) >> header.ClusterBits);
                }
            }
        }

        return l2;
    }

    private static void AddBytes(List<long> clusters, long offsetBytes, long lengthBytes, int clusterBits)
    {
        if (lengthBytes == 0)
        {
            return;
        }

        for (long i = offsetBytes >> clusterBits; i <= (offsetBytes + lengthBytes - 1) >> clusterBits; i++)
        {
            clusters.Add(i);
        }
    }

    private static void AddOffset(List<long> clusters, long cluster)
    {
        if (cluster != 0)
        {
            clusters.Add(cluster);
        }
    }
}
