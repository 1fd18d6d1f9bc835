// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Gives guest clusters without content host clusters that may be written in place.</summary>
/// <remarks>Threading. Any thread.</remarks>
/// <param name="header">The image's header.</param>
/// <param name="live">Where each change begins.</param>
/// <param name="tables">The tables to change.</param>
/// <param name="hosts">Where host clusters come from.</param>
/// <param name="parentEndBytes">Up to where the parent shows through what is unallocated; 0 without a parent.</param>
internal sealed class ClusterAllocation(
    Qcow2Header header, LiveHeader live, WritableTables tables, HostClusters hosts, long parentEndBytes)
{
    private readonly ClusterAddressing _addressing = new(header);
    private readonly bool _isExtended = header.IsExtended;
    private readonly bool _hasDataFile = header.HasDataFile;

    /// <summary>
    /// Gives clusters of a range, from its first on, host clusters that may be written in place, as long as zeros are what
    /// they read as until the bytes arrive.
    /// </summary>
    /// <param name="offsetBytes">Guest offset.</param>
    /// <param name="lengthBytes">At least 1; what lies in the next L2 slice is left to the next call.</param>
    /// <returns>False when nothing was done because the first cluster has content to keep: it must be copied.</returns>
    public bool Allocate(long offsetBytes, long lengthBytes)
    {
        BlockRange range = BlockRange.FromEnds(
            offsetBytes, Math.Min(offsetBytes + lengthBytes, _addressing.SliceEnd(offsetBytes)));
        int first = _addressing.IndexInSlice(offsetBytes);
        int end = Math.Min(_addressing.IndexInSlice(range.EndBytes - 1) + 1, first + Qcow2Limits.EntriesPerHold);
        lock (tables.Sync)
        {
            live.BeginChange();
            if (_hasDataFile)
            {
                return false;
            }

            L2Slice slice = tables.FindOrAdd(offsetBytes);
            int next = first;
            for (int done = 1; next < end && done != 0; next += done)
            {
                done = AllocateSome(slice, next, end, range);
            }

            return next > first;
        }
    }

    // How many entries are done; 0 when the first one must be copied.
    private int AllocateSome(L2Slice slice, int first, int end, BlockRange range)
    {
        L2Descriptor old = slice.Read(first);
        switch (L2Entry.Kind(old.Entry))
        {
            case ClusterKind.Invalid:
                throw tables.Unusable(_addressing.GuestOffset(slice, first));
            case ClusterKind.Compressed:
                return 0;
            case ClusterKind.Data or ClusterKind.Zero when L2Entry.HostOffset(old.Entry) is var hostBytes and not 0:
                return TakeOwn(slice, first, old, hostBytes);
            case ClusterKind.Unallocated when IsParentAt(slice, first):
                return 0;
        }

        int wanted = 1;
        while (first + wanted < end && L2Entry.IsHostless(slice[first + wanted])
            && !(slice[first + wanted] == 0 && IsParentAt(slice, first + wanted)))
        {
            wanted++;
        }

        long hostOffsetBytes = hosts.Take(wanted, out int count);
        for (int i = 0; i < count; i++)
        {
            ulong entry = ((ulong)hostOffsetBytes + ((ulong)i << _addressing.ClusterBits)) | L2Entry.Copied;
            tables.Set(slice, first + i, new L2Descriptor(entry, AllocatedBits(slice, first + i, range)));
        }

        return count;
    }

    // A cluster that has a host cluster may be changed there when nothing else uses it.
    private int TakeOwn(L2Slice slice, int index, L2Descriptor old, long hostBytes)
    {
        if (hosts.CountOf(hostBytes, _addressing.GuestOffset(slice, index)) != 1)
        {
            return 0;
        }

        bool isZero = (old.Entry & L2Entry.ZeroFlag) != 0;
        if (isZero)
        {
            hosts.ZeroReserved(hostBytes);
        }
        else if ((old.Entry & L2Entry.Copied) != 0)
        {
            // Only some of its subclusters are missing.
            return _isExtended ? 0 : 1;
        }

        ulong entry = (old.Entry & L2Entry.OffsetMask) | L2Entry.Copied;
        tables.Set(slice, index, old with { Entry = entry });
        return 1;
    }

    private ulong AllocatedBits(L2Slice slice, int index, BlockRange range)
    {
        if (!_isExtended)
        {
            return 0;
        }

        long startBytes = _addressing.GuestOffset(slice, index);
        BlockRange inside = range.Intersect(new BlockRange(startBytes, header.ClusterBytes));
        return Subclusters.Allocate(
            slice.Read(index).Subclusters,
            (int)((inside.OffsetBytes - startBytes) >> _addressing.SubclusterBits),
            (int)((inside.EndBytes - startBytes - 1) >> _addressing.SubclusterBits) + 1);
    }

    private bool IsParentAt(L2Slice slice, int index) => _addressing.GuestOffset(slice, index) < parentEndBytes;
}
