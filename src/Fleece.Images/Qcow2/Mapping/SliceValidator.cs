// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>Judges each slice of an L2 table once, when it is loaded, so that requests need not look at more than the kind of an
/// entry.</summary>
/// <remarks>
/// An entry that contradicts the format is hidden (<see cref="L2Slice.Hide"/>). Refcounts that contradict the slice are noted in
/// <see cref="L2Slice.RefcountFault"/>; only a writable image has them loaded.
/// <para>Threading. Only under the metadata lock.</para>
/// </remarks>
/// <param name="header">The image's header.</param>
/// <param name="refcounts">Null for a read-only image, as are the others.</param>
/// <param name="allocator">Knows how long the file is now.</param>
/// <param name="ownClusters">The clusters of the format's own tables.</param>
internal sealed class SliceValidator(
    Qcow2Header header, RefcountStore? refcounts, ClusterAllocator? allocator, MetadataClusters? ownClusters)
{
    private readonly ClusterAddressing _addressing = new(header);
    private readonly bool _hasDataFile = header.HasDataFile;

    /// <summary>Judges a slice.</summary>
    /// <param name="slice">Just read from the file.</param>
    /// <param name="l1Entry">The L1 entry of its table.</param>
    public void Validate(L2Slice slice, ulong l1Entry)
    {
        long lengthBytes = allocator?.FileLengthBytes ?? header.FileLengthBytes;
        long fileEndBytes = (lengthBytes + header.ClusterBytes - 1) & -header.ClusterBytes;
        long tableOffsetBytes = L2Entry.HostOffset(l1Entry);
        CheckRefcount(slice, tableOffsetBytes, tableOffsetBytes, (l1Entry & L2Entry.Copied) != 0);
        for (int i = 0; (i += slice.CountUnallocated(i, slice.Count - i)) < slice.Count; i++)
        {
            L2Descriptor descriptor = slice.Read(i);
            bool isUsable = (descriptor.Entry & L2Entry.Compressed) != 0
                ? IsCompressedUsable(descriptor.Entry, fileEndBytes)
                : IsStandardUsable(descriptor, _addressing.GuestOffset(slice, i), fileEndBytes);
            if (!isUsable)
            {
                slice.Hide(i);
            }
            else if (!_hasDataFile)
            {
                CheckRefcounts(slice, tableOffsetBytes, descriptor.Entry);
            }
        }
    }

    private bool IsStandardUsable(L2Descriptor descriptor, long guestOffsetBytes, long fileEndBytes)
    {
        ulong entry = descriptor.Entry;
        long hostBytes = L2Entry.HostOffset(entry);
        bool isZero = (entry & L2Entry.ZeroFlag) != 0;
        bool isBare = entry == 0 || (entry == L2Entry.ZeroFlag && !header.IsExtended);
        if ((entry & L2Entry.ReservedMask) != 0
            || (isZero && (header.Version < 3 || header.IsExtended))
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
            && (hostBytes & (header.ClusterBytes - 1)) == 0
            && hostBytes < fileEndBytes
            && ownClusters?.Contains(hostBytes >> header.ClusterBits) != true;
    }

    private bool IsCompressedUsable(ulong entry, long fileEndBytes)
    {
        CompressedExtent extent = CompressedExtent.FromEntry(entry, header.ClusterBits);
        return !_hasDataFile
            && (entry & L2Entry.Copied) == 0
            && extent.OffsetBytes >= header.ClusterBytes
            && extent.OffsetBytes < fileEndBytes
            && (ulong)extent.OffsetBytes <= L2Entry.OffsetMask + 511
            && ownClusters?.Contains(extent.FirstCluster(header.ClusterBits)) != true
            && ownClusters?.Contains(extent.LastCluster(header.ClusterBits)) != true;
    }

    private void CheckRefcounts(L2Slice slice, long tableOffsetBytes, ulong entry)
    {
        if (refcounts is null || slice.RefcountFault is not null)
        {
            return;
        }

        if ((entry & L2Entry.Compressed) == 0)
        {
            if (L2Entry.HostOffset(entry) != 0)
            {
                CheckRefcount(slice, tableOffsetBytes, L2Entry.HostOffset(entry), (entry & L2Entry.Copied) != 0);
            }

            return;
        }

        CompressedExtent extent = CompressedExtent.FromEntry(entry, header.ClusterBits);
        for (long i = extent.FirstCluster(header.ClusterBits); i <= extent.LastCluster(header.ClusterBits); i++)
        {
            CheckRefcount(slice, tableOffsetBytes, i << header.ClusterBits, isCopied: false);
        }
    }

    // A cluster in use that is not counted would be handed out again; one that several use must not be changed in place.
    private void CheckRefcount(L2Slice slice, long tableOffsetBytes, long hostOffsetBytes, bool isCopied)
    {
        if (refcounts is null)
        {
            return;
        }

        ulong refcount = refcounts.Get(hostOffsetBytes >> header.ClusterBits);
        if (refcount == 0 || (isCopied && refcount != 1))
        {
            slice.RefcountFault =
                $"the cluster at file offset {hostOffsetBytes}, in use by the L2 table at {tableOffsetBytes}" +
                $"{(isCopied ? " with the copied flag" : string.Empty)}, has refcount {refcount}";
        }
    }
}
