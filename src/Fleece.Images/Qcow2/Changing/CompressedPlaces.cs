// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Places for compressed clusters, one behind the other, to the byte; see
/// <see cref="Compression.ClusterCompressor"/>.</summary>
/// <remarks>
/// The host cluster that is being filled is the allocator's <see cref="ClusterAllocator.OpenCluster"/>: when all who use it are
/// gone, it is free, and is not filled any further.
/// <para>Threading. Any thread.</para>
/// </remarks>
internal sealed class CompressedPlaces(
    Qcow2Header header,
    LiveHeader live,
    WritableTables tables,
    HostClusters hosts,
    RefcountStore refcounts,
    ClusterAllocator allocator)
{
    private readonly ClusterAddressing _addressing = new(header);
    private readonly int _clusterBits = header.ClusterBits;
    private long _packedEndBytes;

    /// <summary>Counts a place for compressed data.</summary>
    /// <returns>False when the file has grown beyond what such entries can name.</returns>
    public bool TryReserve(int lengthBytes, out CompressedExtent extent)
    {
        lock (tables.Sync)
        {
            live.BeginChange();
            long startBytes = TakePacked(lengthBytes);
            long sectorEndBytes = (startBytes + lengthBytes + CompressedExtent.SectorBytes - 1) & -CompressedExtent.SectorBytes;
            extent = new CompressedExtent(startBytes, (int)(sectorEndBytes - startBytes));
            if (sectorEndBytes <= CompressedExtent.OffsetLimitBytes(_clusterBits))
            {
                return true;
            }

            GiveBack(extent);
            return false;
        }
    }

    /// <summary>Makes stored data a cluster's content.</summary>
    /// <returns>False when the cluster has been given something else meanwhile.</returns>
    public bool TryPublish(long offsetBytes, CompressedExtent extent)
    {
        lock (tables.Sync)
        {
            live.ThrowIfPoisoned();
            L2Slice slice = tables.FindOrAdd(offsetBytes);
            int index = _addressing.IndexInSlice(offsetBytes);
            if (!L2Entry.IsHostless(slice[index]))
            {
                return false;
            }

            // The data was written after the place was counted, perhaps across a write-back's first flush.
            hosts.NoteContent();
            tables.Set(slice, index, new L2Descriptor(extent.ToEntry(_clusterBits), 0));
            return true;
        }
    }

    /// <summary>Gives a place back that nothing leads to.</summary>
    public void Abandon(CompressedExtent extent)
    {
        lock (tables.Sync)
        {
            GiveBack(extent);
        }
    }

    private void GiveBack(CompressedExtent extent)
    {
        long first = extent.FirstCluster(_clusterBits);
        hosts.GiveBack(first, extent.LastCluster(_clusterBits) - first + 1);
    }

    private long TakePacked(int lengthBytes)
    {
        long open = allocator.OpenCluster;
        long openEndBytes = (open + 1) << _clusterBits;
        bool isOpen = open >= 0 && refcounts.Get(open) < refcounts.LargestRefcount;
        long startBytes = _packedEndBytes;
        if (!isOpen || startBytes + lengthBytes > openEndBytes)
        {
            long hostOffsetBytes = hosts.TakeOne();
            bool isSpanning = isOpen && hostOffsetBytes == openEndBytes && startBytes < openEndBytes;
            if (isSpanning)
            {
                refcounts.Set(open, refcounts.Get(open) + 1);
            }
            else
            {
                startBytes = hostOffsetBytes;
            }

            allocator.OpenCluster = hostOffsetBytes >> _clusterBits;
        }
        else
        {
            refcounts.Set(open, refcounts.Get(open) + 1);
        }

        _packedEndBytes = startBytes + lengthBytes;
        if ((_packedEndBytes & (header.ClusterBytes - 1)) == 0)
        {
            allocator.OpenCluster = -1;
        }

        return startBytes;
    }
}
