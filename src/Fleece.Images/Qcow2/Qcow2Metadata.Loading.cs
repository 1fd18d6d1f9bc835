// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2;

/// <content>Loading and judging L2 tables.</content>
internal sealed partial class Qcow2Metadata
{
    private L2Table? FindTable(int l1Index)
    {
        if (Cache.TryFind(l1Index) is { } cached)
        {
            return cached;
        }

        if (Volatile.Read(ref _l1[l1Index]) == 0)
        {
            return null;
        }

        lock (Sync)
        {
            return FindTableLocked(l1Index);
        }
    }

    private L2Table? FindTableLocked(int l1Index)
    {
        if (Cache.TryFind(l1Index) is { } cached)
        {
            return cached;
        }

        if (_l1[l1Index] == 0)
        {
            return null;
        }

        L2Table table = new(l1Index, L2Entry.HostOffset(_l1[l1Index]), 1 << _header.L2EntryBits, _isExtended);
        _file.Read(table.HostOffsetBytes, table.Bytes);
        Validate(table);
        Cache.Add(table);
        return table;
    }

    // Once per load, so that requests need not look at more than the kind of an entry.
    private void Validate(L2Table table)
    {
        long lengthBytes = Allocator?.FileLengthBytes ?? _header.FileLengthBytes;
        long fileEndBytes = (lengthBytes + _header.ClusterBytes - 1) & -_header.ClusterBytes;
        CheckRefcount(table, table.HostOffsetBytes, (_l1[table.L1Index] & L2Entry.Copied) != 0);
        for (int i = 0; (i += table.CountUnallocated(i, table.Count - i)) < table.Count; i++)
        {
            L2Descriptor descriptor = table.Read(i);
            bool isUsable = (descriptor.Entry & L2Entry.Compressed) != 0
                ? IsCompressedUsable(descriptor.Entry, fileEndBytes)
                : IsStandardUsable(descriptor, GuestOffset(table, i), fileEndBytes);
            if (!isUsable)
            {
                table.Hide(i);
            }
            else if (!_hasDataFile)
            {
                CheckRefcounts(table, descriptor.Entry);
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

    private void CheckRefcounts(L2Table table, ulong entry)
    {
        if (Refcounts is null || table.RefcountFault is not null)
        {
            return;
        }

        if ((entry & L2Entry.Compressed) == 0)
        {
            if (L2Entry.HostOffset(entry) != 0)
            {
                CheckRefcount(table, L2Entry.HostOffset(entry), (entry & L2Entry.Copied) != 0);
            }

            return;
        }

        CompressedExtent extent = CompressedExtent.FromEntry(entry, _clusterBits);
        for (long i = extent.FirstCluster(_clusterBits); i <= extent.LastCluster(_clusterBits); i++)
        {
            CheckRefcount(table, i << _clusterBits, isCopied: false);
        }
    }

    // A cluster in use that is not counted would be handed out again; one that several use must not be changed in place.
    private void CheckRefcount(L2Table table, long hostOffsetBytes, bool isCopied)
    {
        if (Refcounts is null)
        {
            return;
        }

        ulong refcount = Refcounts.Get(hostOffsetBytes >> _clusterBits);
        if (refcount == 0 || (isCopied && refcount != 1))
        {
            table.RefcountFault =
                $"the cluster at file offset {hostOffsetBytes}, in use by the L2 table at {table.HostOffsetBytes}" +
                $"{(isCopied ? " with the copied flag" : string.Empty)}, has refcount {refcount}";
        }
    }

    private long GuestOffset(L2Table table, int index) =>
        (((long)table.L1Index << _header.L2EntryBits) + index) << _clusterBits;
}
