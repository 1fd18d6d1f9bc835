// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Takes host clusters for mappings, and gives those up that mappings no longer need.</summary>
/// <remarks>
/// With an external data file, guest data has no host clusters here: its place is its guest offset, and nothing is counted.
/// <para>Threading. Only under the metadata lock.</para>
/// </remarks>
internal sealed class HostClusters(
    MetadataFile file, Qcow2Header header, RefcountStore refcounts, ClusterAllocator allocator, FreedPlaces freed)
{
    private readonly int _clusterBits = header.ClusterBits;
    private readonly bool _hasDataFile = header.HasDataFile;

    /// <summary>Takes up to <paramref name="wanted"/> contiguous clusters, counted and reading as zeros.</summary>
    /// <returns>The offset of the first in the file.</returns>
    /// <exception cref="BlockException">Corrupt, Unsupported; errors of the file, which poison the image when refcounts are
    /// half changed.</exception>
    public long Take(int wanted, out int count)
    {
        try
        {
            return allocator.Allocate(wanted, out count) << _clusterBits;
        }
        catch (BlockException failure) when (allocator.IsTorn)
        {
            file.Poison.Set(failure);
            throw;
        }
    }

    /// <inheritdoc cref="Take"/>
    public long TakeOne() => Take(1, out _);

    /// <summary>As <see cref="Take"/>, but takes all of the clusters, behind everything else.</summary>
    public long TakeContiguous(int count)
    {
        try
        {
            return allocator.AllocateContiguous(count) << _clusterBits;
        }
        catch (BlockException failure) when (allocator.IsTorn)
        {
            file.Poison.Set(failure);
            throw;
        }
    }

    /// <summary>Makes a reserved cluster, which holds anything, read as zeros, durably before its entry says data.</summary>
    public void ZeroReserved(long hostOffsetBytes)
    {
        NoteContent();
        file.Zero(hostOffsetBytes, header.ClusterBytes);
    }

    /// <summary>Says that a cluster that was counted before has its content only now, so that the next write-back makes it durable
    /// before the mapping.</summary>
    public void NoteContent() => allocator.HasAllocated = true;

    /// <summary>The refcount of a cluster that a mapping leads to.</summary>
    /// <exception cref="BlockException">Corrupt: it is 0.</exception>
    public ulong CountOf(long hostOffsetBytes, long guestOffsetBytes)
    {
        ulong refcount = refcounts.Get(hostOffsetBytes >> _clusterBits);
        return refcount != 0 ? refcount : throw Qcow2Fault.Contradicted(
            file.Path,
            $"the cluster at file offset {hostOffsetBytes}, in use for disk offset {guestOffsetBytes}, has refcount 0",
            hostOffsetBytes);
    }

    /// <summary>True when exactly one user of the cluster is counted.</summary>
    public bool IsOwnedOnce(long cluster) => refcounts.Get(cluster) == 1;

    /// <summary>Where a guest cluster's bytes go without an allocation, or -1.</summary>
    public long OwnOffset(L2Descriptor descriptor, long guestOffsetBytes)
    {
        if (_hasDataFile)
        {
            return guestOffsetBytes;
        }

        long hostBytes = (descriptor.Entry & L2Entry.Compressed) != 0 ? 0 : L2Entry.HostOffset(descriptor.Entry);
        return hostBytes != 0 && CountOf(hostBytes, guestOffsetBytes) == 1 ? hostBytes : -1;
    }

    /// <summary>Gives clusters back at once that no mapping has led to. In a poisoned image they stay counted.</summary>
    public void GiveBack(long cluster, long count)
    {
        if (!file.Poison.IsSet)
        {
            allocator.ReleaseShared(cluster, count);
        }
    }

    /// <summary>Frees the host clusters of an L2 entry that has just been replaced in memory.</summary>
    public void FreeEntry(ulong entry)
    {
        if (_hasDataFile)
        {
            return;
        }

        if ((entry & L2Entry.Compressed) != 0)
        {
            CompressedExtent extent = CompressedExtent.FromEntry(entry, _clusterBits);
            for (long i = extent.FirstCluster(_clusterBits); i <= extent.LastCluster(_clusterBits); i++)
            {
                freed.Add(i, 1, isShared: true);
            }
        }
        else if (L2Entry.HostOffset(entry) != 0)
        {
            FreeCluster(L2Entry.HostOffset(entry) >> _clusterBits);
        }
    }

    /// <summary>Frees a cluster that nothing in memory leads to any more.</summary>
    public void FreeCluster(long cluster) => freed.Add(cluster, 1, isShared: refcounts.Get(cluster) != 1);
}
