// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Compression;

/// <summary>A few clusters as they are inflated, so that small reads one behind the other inflate each cluster once.</summary>
/// <remarks>
/// <para>The cache is small and fixed: what it is for is the cluster that somebody is in the middle of. When all of it is in
/// use, a reader gets a cluster of its own, which nobody keeps.</para>
/// <para>A place in the file can come to hold other data only after its clusters have been given back and counted down. Every
/// reader says how often that has happened to any; when that number has changed, nothing that was kept before is used.</para>
/// <para>Threading. Any thread. Who borrows a cluster first fills it; others wait for that.</para>
/// </remarks>
internal sealed class InflatedClusters
{
    private const int BudgetBytes = 4 * 1024 * 1024;
    private const int LeastClusters = 2;
    private const int MostClusters = 64;

    private readonly Lock _sync = new();
    private readonly Cluster?[] _clusters;
    private readonly int _clusterBytes;
    private long _releases;
    private long _clock;

    public InflatedClusters(int clusterBytes)
    {
        _clusterBytes = clusterBytes;
        _clusters = new Cluster?[Math.Clamp(BudgetBytes / clusterBytes, LeastClusters, MostClusters)];
    }

    /// <summary>Most clusters that are kept.</summary>
    public int Capacity => _clusters.Length;

    /// <summary>A cluster's place, to be filled by who finds it empty, and to be given back.</summary>
    public Cluster Borrow(CompressedExtent extent, long releases)
    {
        lock (_sync)
        {
            if (releases > _releases)
            {
                _releases = releases;
                ForgetAll();
            }

            Cluster cluster = Find(extent) ?? Replace(extent);
            cluster.Users++;
            cluster.LastUse = ++_clock;
            return cluster;
        }
    }

    /// <summary>Gives a cluster back.</summary>
    public void Return(Cluster cluster)
    {
        lock (_sync)
        {
            cluster.Users--;
        }
    }

    private void ForgetAll()
    {
        // One that is in use lives on in its users' hands.
        Array.Clear(_clusters);
    }

    private Cluster? Find(CompressedExtent extent)
    {
        foreach (Cluster? cluster in _clusters)
        {
            if (cluster?.Extent == extent)
            {
                return cluster;
            }
        }

        return null;
    }

    private Cluster Replace(CompressedExtent extent)
    {
        int oldest = -1;
        for (int i = 0; i < _clusters.Length; i++)
        {
            if (_clusters[i] is not { } cluster)
            {
                return _clusters[i] = new Cluster(extent, new byte[_clusterBytes]);
            }

            if (cluster.Users == 0 && (oldest < 0 || cluster.LastUse < _clusters[oldest]!.LastUse))
            {
                oldest = i;
            }
        }

        return oldest < 0
            ? new Cluster(extent, new byte[_clusterBytes])
            : _clusters[oldest] = new Cluster(extent, _clusters[oldest]!.Bytes);
    }

    /// <summary>One cluster.</summary>
    internal sealed class Cluster(CompressedExtent extent, byte[] bytes)
    {
        /// <summary>Held while the cluster is filled.</summary>
        public readonly Lock Filling = new();

        public CompressedExtent Extent => extent;

        public byte[] Bytes => bytes;

        /// <summary>True when the bytes are there; under <see cref="Filling"/>.</summary>
        public bool IsFilled;

        public int Users;

        public long LastUse;
    }
}
