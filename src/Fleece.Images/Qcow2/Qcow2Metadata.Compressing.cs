// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2;

/// <content>Places for compressed clusters, one behind the other, to the byte; see
/// <see cref="Compression.ClusterCompressor"/>.</content>
/// <remarks>
/// The host cluster that is being filled is the allocator's <see cref="ClusterAllocator.OpenCluster"/>: when all who use it are
/// gone, it is free, and is not filled any further.
/// </remarks>
internal sealed partial class Qcow2Metadata
{
    private long _packedEndBytes;

    /// <summary>True when nothing is stored for a cluster and no place is kept for it. Any thread.</summary>
    public bool IsHostless(long offsetBytes)
    {
        while (FindSlice(offsetBytes, out int filling) is { } slice)
        {
            ulong entry = slice[IndexInSlice(offsetBytes)];
            if (slice.IsStill(filling))
            {
                return IsHostless(entry) && L2Entry.Kind(entry) != ClusterKind.Invalid;
            }
        }

        return true;
    }

    /// <summary>Makes a whole cluster read as zeros, where nothing is stored for it.</summary>
    /// <returns>False when something is, or when the version has no way to say so.</returns>
    public bool TryWriteZeroCluster(long offsetBytes)
    {
        if (!IsHostless(offsetBytes) || (_header.Version < 3 && IsParentAt(offsetBytes)))
        {
            return false;
        }

        Drop(offsetBytes >> _clusterBits, 1, asZero: true);
        return true;
    }

    /// <summary>Counts a place for compressed data.</summary>
    /// <returns>False when the file has grown beyond what such entries can name.</returns>
    public bool TryReserveCompressed(int lengthBytes, out CompressedExtent extent)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            long startBytes = TakePacked(lengthBytes);
            long sectorEndBytes = (startBytes + lengthBytes + CompressedExtent.SectorBytes - 1) & -CompressedExtent.SectorBytes;
            extent = new CompressedExtent(startBytes, (int)(sectorEndBytes - startBytes));
            if (sectorEndBytes <= CompressedExtent.OffsetLimitBytes(_clusterBits))
            {
                return true;
            }

            ReleaseExtent(extent);
            return false;
        }
    }

    /// <summary>Makes stored data a cluster's content.</summary>
    /// <returns>False when the cluster has been given something else meanwhile.</returns>
    public bool TryPublishCompressed(long offsetBytes, CompressedExtent extent)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            L2Slice slice = FindOrAddSlice(offsetBytes);
            int index = IndexInSlice(offsetBytes);
            if (!IsHostless(slice[index]))
            {
                return false;
            }

            // The data was written after the place was counted, perhaps across a write-back's first flush.
            Allocator!.HasAllocated = true;
            Cache.Set(slice, index, new L2Descriptor(extent.ToEntry(_clusterBits), 0));
            return true;
        }
    }

    /// <summary>Gives a place back that nothing leads to.</summary>
    public void AbandonCompressed(CompressedExtent extent)
    {
        lock (Sync)
        {
            if (!Poison.IsSet)
            {
                ReleaseExtent(extent);
            }
        }
    }

    private void ReleaseExtent(CompressedExtent extent)
    {
        long first = extent.FirstCluster(_clusterBits);
        Allocator!.ReleaseShared(first, extent.LastCluster(_clusterBits) - first + 1);
    }

    private long TakePacked(int lengthBytes)
    {
        ClusterAllocator allocator = Allocator!;
        long open = allocator.OpenCluster;
        long openEndBytes = (open + 1) << _clusterBits;
        bool isOpen = open >= 0 && Refcounts!.Get(open) < Refcounts.LargestRefcount;
        long startBytes = _packedEndBytes;
        if (!isOpen || startBytes + lengthBytes > openEndBytes)
        {
            long cluster = TakeClusters(1, out _);
            bool isSpanning = isOpen && cluster == open + 1 && startBytes < openEndBytes;
            if (isSpanning)
            {
                Refcounts!.Set(open, Refcounts.Get(open) + 1);
            }
            else
            {
                startBytes = cluster << _clusterBits;
            }

            allocator.OpenCluster = cluster;
        }
        else
        {
            Refcounts!.Set(open, Refcounts.Get(open) + 1);
        }

        _packedEndBytes = startBytes + lengthBytes;
        if ((_packedEndBytes & (_header.ClusterBytes - 1)) == 0)
        {
            allocator.OpenCluster = -1;
        }

        return startBytes;
    }
}
