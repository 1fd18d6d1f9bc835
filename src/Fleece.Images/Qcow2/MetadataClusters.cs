// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2;

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

    /// <exception cref="Fleece.Block.BlockException">Corrupt: two tables share a cluster.</exception>
    public MetadataClusters(string path, Qcow2Header header, ulong[] l1, RefcountStore refcounts)
    {
        int clusterBits = header.ClusterBits;
        long l1Clusters = (((long)l1.Length * sizeof(ulong)) + header.ClusterBytes - 1) >> clusterBits;
        List<long> clusters = new(l1.Length) { 0 };
        AddRun(clusters, header.L1OffsetBytes >> clusterBits, l1Clusters);
        AddRun(clusters, header.RefcountTableOffsetBytes >> clusterBits, header.RefcountTableClusters);
        foreach (ulong entry in l1)
        {
            AddOffset(clusters, L2Entry.HostOffset(entry) >> clusterBits);
        }

        foreach (ulong offset in refcounts.Table)
        {
            AddOffset(clusters, (long)(offset >> clusterBits));
        }

        _sorted = [.. clusters];
        Array.Sort(_sorted);
        for (int i = 1; i < _sorted.Length; i++)
        {
            if (_sorted[i] == _sorted[i - 1])
            {
                throw Qcow2Fault.Corrupt(
                    path,
                    $"two metadata tables share the cluster at file offset {_sorted[i] << clusterBits}",
                    _sorted[i] << clusterBits);
            }
        }
    }

    /// <summary>True when the format's tables own the cluster.</summary>
    public bool Contains(long cluster) => Array.BinarySearch(_sorted, cluster) >= 0;

    private static void AddRun(List<long> clusters, long first, long count)
    {
        for (long i = 0; i < count; i++)
        {
            clusters.Add(first + i);
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
