// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2;

/// <summary>Zeroes and discards parts of a qcow2 disk.</summary>
/// <remarks>
/// Whole clusters lose their host clusters; in parts of clusters zeros are written where something is stored.
/// <para>Threading. As <see cref="Qcow2Writer"/>.</para>
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="dataFile">Where data that is not compressed lies: the image, or its external data file.</param>
/// <param name="parent">What shows through where nothing is stored; null for zeros.</param>
/// <param name="header">The image's header.</param>
/// <param name="metadata">Its tables.</param>
/// <param name="changes">What changes them.</param>
/// <param name="copy">Writes to clusters with content elsewhere.</param>
internal sealed class Qcow2Zeroing(
    IContainerFile dataFile,
    ParentImage? parent,
    Qcow2Header header,
    Qcow2Metadata metadata,
    Qcow2Changes changes,
    ClusterCopy copy)
{
    private readonly LiveHeader _live = metadata.Header;
    private readonly Epochs _epochs = metadata.Epochs;
    private readonly MappingLookup _lookup = metadata.Lookup;
    private readonly ClusterAllocation _allocation = changes.Allocation;
    private readonly ClusterDrops _drops = changes.Drops;
    private readonly ClusterReclaim _reclaim = changes.Reclaim;
    private readonly MetadataWriteBack _writeBack = changes.WriteBack;

    /// <inheritdoc cref="IBlockNode.WriteZeroesAsync"/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        BlockRange whole = WholeClusters(range);
        if (whole.IsEmpty)
        {
            ZeroPart(range);
        }
        else
        {
            ZeroPart(BlockRange.FromEnds(range.OffsetBytes, whole.OffsetBytes));
            ZeroPart(BlockRange.FromEnds(whole.EndBytes, range.EndBytes));
            await DropAsync(whole, asZero: true, cancellationToken).ConfigureAwait(false);
        }

        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <inheritdoc cref="IBlockNode.DiscardAsync"/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange whole = WholeClusters(new BlockRange(offsetBytes, lengthBytes));
        if (!whole.IsEmpty)
        {
            await DropAsync(whole, asZero: false, cancellationToken).ConfigureAwait(false);
        }
    }

    // A part of a cluster, or clusters that can't be dropped: zeros go into the host cluster; where nothing is stored
    // and no parent shows, there are zeros already.
    private void ZeroPart(BlockRange range)
    {
        int ticket = _epochs.Enter();
        try
        {
            long atBytes = range.OffsetBytes;
            while (atBytes < range.EndBytes)
            {
                MappedRun run = _lookup.Map(atBytes, range.EndBytes - atBytes, isContiguous: true);
                long doneBytes = run.LengthBytes;
                if (run.Kind == ClusterKind.Zero || (run.Kind == ClusterKind.Unallocated && !IsParentAt(atBytes)))
                {
                    atBytes += doneBytes;
                    continue;
                }

                _live.PrepareForChange();
                if (TryZeroSubclusters(atBytes, run, range.EndBytes, out long zeroedBytes))
                {
                    doneBytes = zeroedBytes;
                }
                else if (run.Kind == ClusterKind.Data && run.IsCopied)
                {
                    dataFile.Zero(run.HostOffsetBytes, doneBytes);
                }
                else if (run.Kind == ClusterKind.Data && _allocation.Allocate(atBytes, doneBytes))
                {
                    continue;
                }
                else
                {
                    doneBytes = copy.Write(atBytes, doneBytes, default);
                }

                atBytes += doneBytes;
            }
        }
        finally
        {
            _epochs.Exit(ticket);
        }
    }

    private bool TryZeroSubclusters(long offsetBytes, MappedRun run, long endBytes, out long zeroedBytes)
    {
        zeroedBytes = 0;
        long subclusterBytes = 1L << header.SubclusterBits;
        if (!header.IsExtended || header.IsDataFileRaw || (offsetBytes & (subclusterBytes - 1)) != 0)
        {
            return false;
        }

        long clusterEndBytes = (offsetBytes & -header.ClusterBytes) + header.ClusterBytes;
        long runEndBytes = Math.Min(offsetBytes + run.LengthBytes, Math.Min(clusterEndBytes, endBytes));
        zeroedBytes = (runEndBytes - offsetBytes) & -subclusterBytes;
        return zeroedBytes != 0 && _drops.TryZeroSubclusters(offsetBytes, zeroedBytes);
    }

    private async ValueTask DropAsync(BlockRange whole, bool asZero, CancellationToken cancellationToken)
    {
        if (header.HasDataFile)
        {
            // Before the mapping goes, so that no write that comes after it is zeroed.
            _live.PrepareForChange();
            dataFile.Zero(whole.OffsetBytes, whole.LengthBytes);
            if (header.IsDataFileRaw)
            {
                return;
            }
        }

        if (header.Version < 3 && parent is not null)
        {
            whole = await ZeroAboveParentAsync(whole, asZero, cancellationToken).ConfigureAwait(false);
            if (whole.IsEmpty)
            {
                return;
            }
        }

        long cluster = whole.OffsetBytes >> header.ClusterBits;
        long endCluster = (whole.EndBytes + header.ClusterBytes - 1) >> header.ClusterBits;
        while (cluster < endCluster)
        {
            if (_writeBack.IsDue)
            {
                await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            cluster += _drops.Drop(cluster, endCluster - cluster, asZero);
        }

        _reclaim.Reclaim();
    }

    // Version 2 can't say that a cluster reads as zeros where a parent is below it. So what lies above the parent is written as
    // zeros, or kept by a discard; what is left can be dropped.
    private async ValueTask<BlockRange> ZeroAboveParentAsync(
        BlockRange whole, bool asZero, CancellationToken cancellationToken)
    {
        long clusterMask = header.ClusterBytes - 1;
        long parentEndBytes = (parent!.Layer.LengthBytes + clusterMask) & ~clusterMask;
        long aboveEndBytes = Math.Clamp(parentEndBytes, whole.OffsetBytes, whole.EndBytes);
        for (long atBytes = whole.OffsetBytes; asZero && atBytes < aboveEndBytes;)
        {
            if (_writeBack.IsDue)
            {
                await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            long nextBytes = Math.Min(
                aboveEndBytes, atBytes + ((long)Qcow2Limits.ClustersPerCopy << header.ClusterBits));
            ZeroPart(BlockRange.FromEnds(atBytes, nextBytes));
            atBytes = nextBytes;
        }

        return BlockRange.FromEnds(aboveEndBytes, whole.EndBytes);
    }

    private bool IsParentAt(long offsetBytes) => parent is not null && offsetBytes < parent.Layer.LengthBytes;

    // The last cluster of the disk may be partial; a range that reaches the end of the disk takes it with it.
    private BlockRange WholeClusters(BlockRange range)
    {
        long clusterMask = header.ClusterBytes - 1;
        long startBytes = (range.OffsetBytes + clusterMask) & ~clusterMask;
        long endBytes = range.EndBytes == header.SizeBytes ? range.EndBytes : range.EndBytes & ~clusterMask;
        return BlockRange.FromEnds(startBytes, endBytes);
    }
}
