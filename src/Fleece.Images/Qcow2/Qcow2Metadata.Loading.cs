// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2;

/// <content>Loading and judging slices of L2 tables.</content>
internal sealed partial class Qcow2Metadata
{
    // What the slice says is to be believed only if IsStill says so afterwards.
    private L2Slice? FindSlice(long offsetBytes, out int filling)
    {
        if (Cache.TryFind(FirstOfSlice(offsetBytes), out filling) is { } cached)
        {
            return cached;
        }

        if (Volatile.Read(ref _l1[L1Index(offsetBytes)]) == 0)
        {
            return null;
        }

        lock (Sync)
        {
            L2Slice? slice = FindSliceLocked(offsetBytes);
            filling = slice?.Filling ?? 0;
            return slice;
        }
    }

    private L2Slice? FindSliceLocked(long offsetBytes)
    {
        long firstCluster = FirstOfSlice(offsetBytes);
        if (Cache.TryFind(firstCluster, out _) is { } cached)
        {
            return cached;
        }

        if (_l1[L1Index(offsetBytes)] == 0)
        {
            return null;
        }

        L2Slice slice = Cache.Take(firstCluster);
        _file.Read(HostOffset(slice), slice.Bytes);
        Validate(slice);
        Cache.Add(slice);
        return slice;
    }

    /// <summary>Where a slice lies in the file. Under the lock.</summary>
    public long HostOffset(L2Slice slice) =>
        TableOffset(slice) + ((slice.FirstCluster & ((1L << _header.L2EntryBits) - 1)) * slice.EntryBytes);

    /// <summary>The L1 index of a slice's table.</summary>
    public int L1Index(L2Slice slice) => (int)(slice.FirstCluster >> _header.L2EntryBits);

    private long TableOffset(L2Slice slice) => L2Entry.HostOffset(_l1[L1Index(slice)]);

    private long FirstOfSlice(long offsetBytes) => (offsetBytes >> _sliceBits) << _header.L2SliceEntryBits;

    // Once per load, so that requests need not look at more than the kind of an entry.
    private void Validate(L2Slice slice)
    {
        long lengthBytes = Allocator?.FileLengthBytes ?? _header.FileLengthBytes;
        long fileEndBytes = (lengthBytes + _header.ClusterBytes - 1) & -_header.ClusterBytes;
        CheckRefcount(slice, TableOffset(slice), (_l1[L1Index(slice)] & L2Entry.Copied) != 0);
        for (int i = 0; (i += slice.CountUnallocated(i, slice.Count - i)) < slice.Count; i++)
        {
            L2Descriptor descriptor = slice.Read(i);
            bool isUsable = (descriptor.Entry & L2Entry.Compressed) != 0
                ? IsCompressedUsable(descriptor.Entry, fileEndBytes)
                : IsStandardUsable(descriptor, GuestOffset(slice, i), fileEndBytes);
            if (!isUsable)
            {
                slice.Hide(i);
            }
            else if (!_hasDataFile)
            {
                CheckRefcounts(slice, descriptor.Entry);
            }
        }
    }

    private bool IsStandardUsable(L2Descriptor descriptor, long guestOffsetBytes, long fileEndBytes)
    {
        ulong entry = descriptor.Entry;
        long hostBytes = L2Entry.HostOffset(entry);
        bool isZero = (entry & L2Entry.ZeroFlag) != 0;
        bool isBare = entry == 0 || (entry == L2Entry.ZeroFlag && !_isExtended);
        if ((entry & L2Entry.ReservedMask) != 0
            || (isZero && (_header.Version < 3 || _isExtended))
            || !Subclusters.IsValid(descriptor.Subclusters)
            || (isBare && (uint)descriptor.Subclusters != 0))
        {
            return false;
        }

        if (isBare)
        {
            return true;
        }

        if (_hasDataFile)
        {
            return hostBytes == guestOffsetBytes;
        }

        return hostBytes != 0
            && (hostBytes & (_header.ClusterBytes - 1)) == 0
            && hostBytes < fileEndBytes
            && _ownClusters?.Contains(hostBytes >> _clusterBits) != true;
    }

    private bool IsCompressedUsable(ulong entry, long fileEndBytes)
    {
        CompressedExtent extent = CompressedExtent.FromEntry(entry, _clusterBits);
        return !_hasDataFile
            && (entry & L2Entry.Copied) == 0
            && extent.OffsetBytes >= _header.ClusterBytes
            && extent.OffsetBytes < fileEndBytes
            && (ulong)extent.OffsetBytes <= L2Entry.OffsetMask + 511
            && _ownClusters?.Contains(extent.FirstCluster(_clusterBits)) != true
            && _ownClusters?.Contains(extent.LastCluster(_clusterBits)) != true;
    }

    private void CheckRefcounts(L2Slice slice, ulong entry)
    {
        if (Refcounts is null || slice.RefcountFault is not null)
        {
            return;
        }

        if ((entry & L2Entry.Compressed) == 0)
        {
            if (L2Entry.HostOffset(entry) != 0)
            {
                CheckRefcount(slice, L2Entry.HostOffset(entry), (entry & L2Entry.Copied) != 0);
            }

            return;
        }

        CompressedExtent extent = CompressedExtent.FromEntry(entry, _clusterBits);
        for (long i = extent.FirstCluster(_clusterBits); i <= extent.LastCluster(_clusterBits); i++)
        {
            CheckRefcount(slice, i << _clusterBits, isCopied: false);
        }
    }

    // A cluster in use that is not counted would be handed out again; one that several use must not be changed in place.
    private void CheckRefcount(L2Slice slice, long hostOffsetBytes, bool isCopied)
    {
        if (Refcounts is null)
        {
            return;
        }

        ulong refcount = Refcounts.Get(hostOffsetBytes >> _clusterBits);
        if (refcount == 0 || (isCopied && refcount != 1))
        {
            slice.RefcountFault =
                $"the cluster at file offset {hostOffsetBytes}, in use by the L2 table at {TableOffset(slice)}" +
                $"{(isCopied ? " with the copied flag" : string.Empty)}, has refcount {refcount}";
        }
    }

    private long GuestOffset(L2Slice slice, int index) =>
        (slice.FirstCluster + index) << _clusterBits;
}
