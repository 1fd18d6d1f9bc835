// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Refcounts;

/// <summary>Hands out host clusters that are free and read as zeros.</summary>
/// <remarks>
/// <para>That they read as zeros is what keeps the rest simple: a mapping can be published before the guest's bytes are
/// written, because until then readers see the zeros they saw before, and so does everybody after a crash. Clusters
/// behind the old end of the file are holes; those this session freed have been zeroed when they were freed
/// (<see cref="FreedPlaces"/>); those that were free when the image was opened are zeroed here.</para>
/// <para>Threading. Only under the metadata lock, but for <see cref="ZeroFreed"/>.</para>
/// </remarks>
internal sealed class ClusterAllocator
{
    private readonly MetadataFile _file;
    private readonly RefcountStore _refcounts;
    private readonly int _clusterBits;
    private readonly Stack<(long Cluster, long Count)> _free = new();
    private long _fileLengthBytes;
    private long _endCluster;
    private long _scanCluster;
    private long _scanEndCluster;
    private long _sharedReleases;

    public ClusterAllocator(MetadataFile file, Qcow2Header header, RefcountStore refcounts)
    {
        _file = file;
        _refcounts = refcounts;
        _clusterBits = header.ClusterBits;
        _fileLengthBytes = header.FileLengthBytes;
        _endCluster = (header.FileLengthBytes + header.ClusterBytes - 1) >> _clusterBits;
        _scanEndCluster = _endCluster;
    }

    /// <summary>By how much the file grows at least.</summary>
    public required long GrowthBytes { get; init; }

    /// <summary>The cluster that is being filled with compressed data; -1 when there is none.</summary>
    public long OpenCluster { get; set; } = -1;

    /// <summary>How often <see cref="ReleaseShared"/> has been called. Any thread.</summary>
    public long SharedReleases => Volatile.Read(ref _sharedReleases);

    /// <summary>Behind the last cluster of the file that is or was in use.</summary>
    public long EndCluster => _endCluster;

    /// <summary>Clusters of tables that have moved; freed when the image is closed.</summary>
    public List<(long Cluster, long Count)> Abandoned { get; } = [];

    /// <summary>True when a refcount went up since the last write-back.</summary>
    public bool HasAllocated { get; set; }

    /// <summary>
    /// True when an allocation failed half-way, which leaves refcounts in memory that must not reach the disk.
    /// </summary>
    public bool IsTorn { get; private set; }

    /// <summary>Length of the file in bytes, with what was grown in advance.</summary>
    public long FileLengthBytes => _fileLengthBytes;

    /// <summary>Takes up to <paramref name="wanted"/> contiguous clusters; their refcounts are 1 and they read as
    /// zeros.</summary>
    public long Allocate(int wanted, out int count)
    {
        HasAllocated = true;
        if (TryTakeFreed(wanted, out long cluster, out count) || TryScan(wanted, out cluster, out count))
        {
            for (long i = cluster; i < cluster + count; i++)
            {
                _refcounts.Set(i, 1);
            }

            return cluster;
        }

        count = wanted;
        return AllocateContiguous(wanted);
    }

    /// <summary>As <see cref="Allocate"/>, but takes all of the clusters, behind everything else.</summary>
    public long AllocateContiguous(int count)
    {
        HasAllocated = true;
        CheckRoomAtEnd(count);
        long cluster = TakeAtEnd(count);
        IsTorn = true;
        Count(cluster, count);
        IsTorn = false;
        return cluster;
    }

    /// <summary>Takes back clusters that read as zeros and that nothing points to, on disk as in memory.</summary>
    public void Release(long cluster, long count)
    {
        for (long i = cluster; i < cluster + count; i++)
        {
            _refcounts.Set(i, 0);
        }

        if (_free.Count < Qcow2Limits.MaxFreeRuns)
        {
            _free.Push((cluster, count));
            return;
        }

        FindByScanning(cluster, cluster + count);
    }

    /// <summary>Counts one user less for clusters of any content. Those that have none left are zeroed when they are
    /// used again.</summary>
    public void ReleaseShared(long cluster, long count)
    {
        for (long i = cluster; i < cluster + count; i++)
        {
            ulong refcount = _refcounts.Get(i);
            if (refcount != 0)
            {
                _refcounts.Set(i, refcount - 1);
            }

            if (refcount == 1)
            {
                FindByScanning(i, i + 1);
                OpenCluster = OpenCluster == i ? -1 : OpenCluster;
            }
        }

        Volatile.Write(ref _sharedReleases, _sharedReleases + 1);
    }

    /// <summary>Makes freed clusters read as zeros, and gives their storage back where the file system can. Any thread.</summary>
    public void ZeroFreed(FreedRun run) => _file.Zero(run.First << _clusterBits, run.Count << _clusterBits);

    /// <summary>Takes back clusters that have passed both gates.</summary>
    public void ReleaseFreed(FreedRun run)
    {
        if (run.IsShared)
        {
            ReleaseShared(run.First, run.Count);
        }
        else
        {
            Release(run.First, run.Count);
        }
    }

    /// <summary>Cuts free clusters and what was grown in advance off the end of the file.</summary>
    public void TrimFile()
    {
        while (_endCluster > 1 && _refcounts.HasBlock(_endCluster - 1) && _refcounts.Get(_endCluster - 1) == 0)
        {
            _endCluster--;
        }

        if (_endCluster << _clusterBits < _fileLengthBytes)
        {
            _fileLengthBytes = _endCluster << _clusterBits;
            _file.SetLength(_fileLengthBytes);
        }
    }

    private void FindByScanning(long start, long end)
    {
        _scanCluster = Math.Min(_scanCluster, start);
        _scanEndCluster = Math.Max(_scanEndCluster, end);
    }

    private bool TryTakeFreed(int wanted, out long cluster, out int count)
    {
        count = 0;
        cluster = 0;
        while (_free.TryPop(out (long Cluster, long Count) run))
        {
            // A scan may have taken clusters of the run meanwhile: only the refcount tells.
            long start = run.Cluster;
            long end = run.Cluster + run.Count;
            while (start < end && _refcounts.Get(start) != 0)
            {
                start++;
            }

            while (start + count < end && count < wanted && _refcounts.Get(start + count) == 0)
            {
                count++;
            }

            if (start + count < end)
            {
                _free.Push((start + count, end - start - count));
            }

            if (count > 0)
            {
                cluster = start;
                return true;
            }
        }

        return false;
    }

    // Looks at one refcount block per allocation, so that a large, full image costs each request little.
    private bool TryScan(int wanted, out long cluster, out int count)
    {
        count = 0;
        cluster = -1;
        if (_scanCluster >= _scanEndCluster)
        {
            return false;
        }

        cluster = _refcounts.FindFree(_scanCluster, _scanEndCluster, out long next);
        if (cluster < 0 || !_refcounts.HasBlock(cluster))
        {
            _scanCluster = next;
            return false;
        }

        while (count < wanted && cluster + count < next && _refcounts.Get(cluster + count) == 0)
        {
            count++;
        }

        _file.Zero(cluster << _clusterBits, (long)count << _clusterBits);
        _scanCluster = cluster + count;
        return true;
    }

    private long TakeAtEnd(long count)
    {
        int steppedOver = 0;
        while (!IsRunFree(_endCluster, count, out long usedCluster))
        {
            _endCluster = usedCluster + 1;
            if (++steppedOver > Qcow2Limits.MaxUsedClustersBehindEnd)
            {
                throw FormatFault.Qcow2.Corrupt(
                    _file.Path,
                    $"refcounts say that more than {Qcow2Limits.MaxUsedClustersBehindEnd} clusters behind the end " +
                    "of the file are in use");
            }
        }

        long endBytes = (_endCluster + count) << _clusterBits;
        if (endBytes > _fileLengthBytes)
        {
            long lengthBytes = Math.Max(endBytes, Math.Min(_fileLengthBytes + GrowthBytes, _file.MaximumLengthBytes));
            _file.SetLength(lengthBytes);
            _fileLengthBytes = lengthBytes;
        }

        long cluster = _endCluster;
        _endCluster += count;
        return cluster;
    }

    // Where the file can't grow without end, what counts the clusters must find room behind them: half an allocation can't be undone.
    private void CheckRoomAtEnd(int count)
    {
        long lastCluster = _endCluster + count;
        if (_file.MaximumLengthBytes == long.MaxValue || (_refcounts.HasBlock(_endCluster) && _refcounts.HasBlock(lastCluster)))
        {
            return;
        }

        long blocks = (count / _refcounts.ClustersPerBlock) + 2;
        long table = _refcounts.IsCovered(lastCluster + blocks) ? 0 : (2L * _refcounts.TableClusters) + 2;
        long neededBytes = (lastCluster + blocks + table) << _clusterBits;
        if (neededBytes > _file.MaximumLengthBytes)
        {
            _file.SetLength(neededBytes);
        }
    }

    private bool IsRunFree(long cluster, long count, out long usedCluster)
    {
        for (usedCluster = cluster; usedCluster < cluster + count; usedCluster++)
        {
            if (_refcounts.Get(usedCluster) != 0)
            {
                return false;
            }
        }

        return true;
    }

    private void Count(long cluster, long count)
    {
        for (long i = cluster; i < cluster + count; i++)
        {
            if (!_refcounts.IsCovered(i))
            {
                GrowTable(i);
            }

            if (!_refcounts.HasBlock(i))
            {
                long block = TakeAtEnd(1);
                if (!_refcounts.IsCovered(block))
                {
                    GrowTable(block);
                }

                _refcounts.AddBlock(_refcounts.TableIndexOf(i), block << _clusterBits);
                Count(block, 1);
                _refcounts.NoteBlock(_refcounts.TableIndexOf(i));
            }

            _refcounts.Set(i, 1);
        }
    }

    // A longer refcount table: a new one is written whole behind everything else, then the header points to it. Both
    // need flushes before the next step, under the lock; doubling makes that rare. The old table's clusters stay
    // counted until the image is closed, because a write-back that runs meanwhile may still write to them.
    private void GrowTable(long cluster)
    {
        int neededClusters = (int)Math.Min(
            int.MaxValue, ((long)_refcounts.TableIndexOf(cluster) + 1) * sizeof(ulong) >> _clusterBits) + 1;
        int clusters = Math.Max(neededClusters, _refcounts.TableClusters * 2);
        int most = Math.Max(1, Qcow2Limits.MaxRefcountTableBytes >> _clusterBits);
        if (neededClusters > most)
        {
            throw FormatFault.Qcow2.Unsupported(
                _file.Path,
                $"it would need a refcount table of {neededClusters} clusters, {most} is the limit. Convert it to a " +
                "larger cluster size with 'qemu-img convert -o cluster_size='");
        }

        clusters = Math.Min(clusters, most);
        (long Cluster, long Count) old = (_refcounts.TableCluster, _refcounts.TableClusters);
        _refcounts.LengthenTable(clusters);
        long table = TakeAtEnd(clusters);
        Count(table, clusters);
        _refcounts.WriteTable(table << _clusterBits);
        Abandoned.Add(old);
    }
}
