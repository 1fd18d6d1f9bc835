// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2;

/// <content>Clusters for other tables than the format's own, such as those of dirty bitmaps.</content>
internal sealed partial class Qcow2Metadata
{
    private ulong _keptAutoclear;

    /// <summary>Leaves those autoclear bits as they are: the caller keeps what they stand for. Before the first change.</summary>
    public void KeepAutoclear(ulong bits)
    {
        lock (Sync)
        {
            _keptAutoclear = bits;
            _mustClearAutoclear = (_header.AutoclearFeatures & ~bits) != 0;
        }
    }

    /// <summary>Takes neighbouring clusters that read as zeros; where they begin in the file.</summary>
    public long TakeTogether(int count)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            try
            {
                long cluster = count == 1 ? Allocator!.Allocate(1, out _) : Allocator!.AllocateTogether(count);
                return cluster << _clusterBits;
            }
            catch (BlockException failure) when (Allocator!.IsTorn)
            {
                Poison.Set(failure);
                throw;
            }
        }
    }

    /// <summary>Gives clusters back that nothing on disk points to any more. Those that are not what they should be are left alone:
    /// leaked, not shared.</summary>
    public void GiveBack(IEnumerable<long> clusters)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            foreach (long cluster in clusters.Distinct())
            {
                if (Refcounts!.Get(cluster) == 1 && !_ownClusters!.Contains(cluster))
                {
                    _file.Zero(cluster << _clusterBits, _header.ClusterBytes);
                    Allocator!.Release(cluster, 1);
                }
            }
        }
    }
}
