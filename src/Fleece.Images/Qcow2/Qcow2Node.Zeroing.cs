// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2;

/// <content>Zeroing and discarding.</content>
internal sealed partial class Qcow2Node
{
    // Version 2 can't say that a cluster reads as zeros where a parent is below it: there zeros are written.
    private bool HasZeroFlag => _header.Version >= 3;

    /// <inheritdoc/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
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

    /// <inheritdoc/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
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
        int ticket = _metadata.Epochs.Enter();
        try
        {
            long atBytes = range.OffsetBytes;
            while (atBytes < range.EndBytes)
            {
                MappedRun run = _metadata.Map(atBytes, range.EndBytes - atBytes, isContiguous: true);
                long doneBytes = run.LengthBytes;
                if (run.Kind == ClusterKind.Zero || (run.Kind == ClusterKind.Unallocated && !IsParentAt(atBytes)))
                {
                    atBytes += doneBytes;
                    continue;
                }

                _metadata.PrepareForChange();
                if (TryZeroSubclusters(atBytes, run, range.EndBytes, out long zeroedBytes))
                {
                    doneBytes = zeroedBytes;
                }
                else if (run.Kind == ClusterKind.Data && run.IsCopied)
                {
                    _dataFile.Zero(run.HostOffsetBytes, doneBytes);
                }
                else if (run.Kind == ClusterKind.Data && _metadata.Allocate(atBytes, doneBytes))
                {
                    continue;
                }
                else
                {
                    doneBytes = _copy.Write(atBytes, doneBytes, default);
                }

                atBytes += doneBytes;
            }
        }
        finally
        {
            _metadata.Epochs.Exit(ticket);
        }
    }

    private bool TryZeroSubclusters(long offsetBytes, MappedRun run, long endBytes, out long zeroedBytes)
    {
        zeroedBytes = 0;
        long subclusterBytes = 1L << _header.SubclusterBits;
        if (!_header.IsExtended || _header.IsDataFileRaw || (offsetBytes & (subclusterBytes - 1)) != 0)
        {
            return false;
        }

        long clusterEndBytes = (offsetBytes & -_header.ClusterBytes) + _header.ClusterBytes;
        long runEndBytes = Math.Min(offsetBytes + run.LengthBytes, Math.Min(clusterEndBytes, endBytes));
        zeroedBytes = (runEndBytes - offsetBytes) & -subclusterBytes;
        return zeroedBytes != 0 && _metadata.TryZeroSubclusters(offsetBytes, zeroedBytes);
    }

    private async ValueTask DropAsync(BlockRange whole, bool asZero, CancellationToken cancellationToken)
    {
        if (_dataFile != _file)
        {
            // Before the mapping goes, so that no write that comes after it is zeroed.
            _metadata.PrepareForChange();
            _dataFile.Zero(whole.OffsetBytes, whole.LengthBytes);
            if (_header.IsDataFileRaw)
            {
                return;
            }
        }

        if (!HasZeroFlag && _parent is not null)
        {
            whole = await ZeroAboveParentAsync(whole, asZero, cancellationToken).ConfigureAwait(false);
            if (whole.IsEmpty)
            {
                return;
            }
        }

        long cluster = whole.OffsetBytes >> _header.ClusterBits;
        long endCluster = (whole.EndBytes + _header.ClusterBytes - 1) >> _header.ClusterBits;
        while (cluster < endCluster)
        {
            if (_metadata.NeedsWriteBack)
            {
                await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            cluster += _metadata.Drop(cluster, endCluster - cluster, asZero);
        }

        _metadata.Reclaim();
    }

    // Version 2: what lies above the parent is written as zeros, or kept by a discard; what is left can be dropped.
    private async ValueTask<BlockRange> ZeroAboveParentAsync(
        BlockRange whole, bool asZero, CancellationToken cancellationToken)
    {
        long clusterMask = _header.ClusterBytes - 1;
        long parentEndBytes = (_parent!.Layer.LengthBytes + clusterMask) & ~clusterMask;
        long aboveEndBytes = Math.Clamp(parentEndBytes, whole.OffsetBytes, whole.EndBytes);
        for (long atBytes = whole.OffsetBytes; asZero && atBytes < aboveEndBytes;)
        {
            if (_metadata.NeedsWriteBack)
            {
                await _writeBack.RunAsync(cancellationToken).ConfigureAwait(false);
            }

            long nextBytes = Math.Min(
                aboveEndBytes, atBytes + ((long)Qcow2Limits.ClustersPerCopy << _header.ClusterBits));
            ZeroPart(BlockRange.FromEnds(atBytes, nextBytes));
            atBytes = nextBytes;
        }

        return BlockRange.FromEnds(aboveEndBytes, whole.EndBytes);
    }

    private bool IsParentAt(long offsetBytes) => _parent is not null && offsetBytes < _parent.Layer.LengthBytes;

    // The last cluster of the disk may be partial; a range that reaches the end of the disk takes it with it.
    private BlockRange WholeClusters(BlockRange range)
    {
        long clusterMask = _header.ClusterBytes - 1;
        long startBytes = (range.OffsetBytes + clusterMask) & ~clusterMask;
        long endBytes = range.EndBytes == _header.SizeBytes ? range.EndBytes : range.EndBytes & ~clusterMask;
        return BlockRange.FromEnds(startBytes, endBytes);
    }
}
