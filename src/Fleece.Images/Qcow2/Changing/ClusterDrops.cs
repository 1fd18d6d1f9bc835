// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Takes the host clusters of guest clusters away, so that they read as zeros.</summary>
/// <remarks>
/// <para>Version 2 has no zeros to leave behind where a parent is below: nothing is dropped before the parent's end. Zeros are written as
/// data there, and a discard changes nothing.</para>
/// <para>The range of an external data file is zeroed before the mapping goes, so that no write that comes after it is zeroed. A raw one
/// is the disk by itself, so the mapping stays.</para>
/// <para>Threading. Any thread.</para>
/// </remarks>
/// <param name="header">The image's header.</param>
/// <param name="live">Where each change begins.</param>
/// <param name="found">Finds tables without adding any.</param>
/// <param name="tables">The tables to change.</param>
/// <param name="hosts">Where host clusters go to.</param>
/// <param name="freed">Those that were given up.</param>
/// <param name="dataFile">The external data file; null when the data lies in the image.</param>
/// <param name="parentEndBytes">Up to where the parent shows through what is unallocated; 0 without a parent.</param>
/// <param name="hasRoom">False while a write-back must make room for changes.</param>
internal sealed class ClusterDrops(
    Qcow2Header header,
    LiveHeader live,
    MappingTables found,
    WritableTables tables,
    HostClusters hosts,
    FreedPlaces freed,
    IContainerFile? dataFile,
    long parentEndBytes,
    Func<bool> hasRoom) : IUnitDrops
{
    private readonly ClusterAddressing _addressing = new(header);

    public long UnitBytes => header.ClusterBytes;

    public long FirstBytes => header.Version < 3 ? (parentEndBytes + header.ClusterBytes - 1) & -header.ClusterBytes : 0;

    public bool ArePartsSlow => false;

    public bool TryDrop(BlockRange range, bool isDiscard, out long doneBytes)
    {
        doneBytes = 0;
        if (!hasRoom())
        {
            return false;
        }

        if (dataFile is not null)
        {
            live.PrepareForChange();
            range = header.IsDataFileRaw
                ? range
                : BlockRange.FromEnds(range.OffsetBytes, Math.Min(range.EndBytes, _addressing.SliceEnd(range.OffsetBytes)));
            dataFile.Zero(range.OffsetBytes, range.LengthBytes);
            if (header.IsDataFileRaw)
            {
                doneBytes = range.LengthBytes;
                return true;
            }
        }

        long clusters = (range.LengthBytes + header.ClusterBytes - 1) >> _addressing.ClusterBits;
        doneBytes = Drop(range.OffsetBytes >> _addressing.ClusterBits, clusters, asZero: !isDiscard) << _addressing.ClusterBits;
        return true;
    }

    public void Reclaim() => freed.Reclaim();

    // With asZero zeros stay behind that say so, without it what is unallocated where no parent shows. Returns how many clusters are done.
    private long Drop(long cluster, long count, bool asZero)
    {
        long offsetBytes = cluster << _addressing.ClusterBits;
        int first = _addressing.IndexInSlice(offsetBytes);
        lock (tables.Sync)
        {
            live.ThrowIfPoisoned();
            if (found.FindSliceLocked(offsetBytes) is not { } slice)
            {
                if (!IsParentAt(offsetBytes))
                {
                    int l1Index = _addressing.L1Index(offsetBytes);
                    long emptyEndBytes = _addressing.TableStart(l1Index + 1L + found.CountEmptyTables(l1Index + 1));
                    return Math.Min(count, (emptyEndBytes >> _addressing.ClusterBits) - cluster);
                }

                live.NoteChange();
                slice = tables.FindOrAdd(offsetBytes);
            }

            live.NoteChange();
            int most = (int)Math.Min(Math.Min(count, slice.Count - first), Qcow2Limits.EntriesPerHold);
            for (int i = first; i < first + most; i++)
            {
                if (!IsParentAt(_addressing.GuestOffset(slice, i)))
                {
                    i += slice.CountUnallocated(i, first + most - i);
                }

                if (i < first + most)
                {
                    DropOne(slice, i, asZero);
                }
            }

            return most;
        }
    }

    /// <summary>Makes a whole cluster read as zeros.</summary>
    /// <returns>False when version 2 has no way to say so, because the parent would show.</returns>
    public bool TryZeroCluster(long offsetBytes)
    {
        if (header.Version < 3 && IsParentAt(offsetBytes))
        {
            return false;
        }

        Drop(offsetBytes >> _addressing.ClusterBits, 1, asZero: true);
        return true;
    }

    /// <summary>Makes whole subclusters of one cluster read as zeros without touching the others. For extended L2 entries.</summary>
    /// <param name="offsetBytes">Disk offset.</param>
    /// <param name="lengthBytes">At least 1; all from there on is alike.</param>
    /// <param name="doneBytes">How many bytes are done, from the offset on.</param>
    /// <returns>False when the range begins with no whole subcluster, or the cluster has to be copied first.</returns>
    public bool TryZeroSubclusters(long offsetBytes, long lengthBytes, out long doneBytes)
    {
        long subclusterBytes = 1L << _addressing.SubclusterBits;
        long leftBytes = _addressing.ClusterStart(offsetBytes) + header.ClusterBytes - offsetBytes;
        doneBytes = Math.Min(lengthBytes, leftBytes) & -subclusterBytes;
        if (doneBytes == 0 || (offsetBytes & (subclusterBytes - 1)) != 0)
        {
            return false;
        }

        int index = _addressing.IndexInSlice(offsetBytes);
        lock (tables.Sync)
        {
            live.BeginChange();
            L2Slice slice = tables.FindOrAdd(offsetBytes);
            L2Descriptor old = slice.Read(index);
            int first = _addressing.IndexInCluster(offsetBytes);
            int end = first + (int)(doneBytes >> _addressing.SubclusterBits);
            ClusterKind kind = Subclusters.Kind(old, first);
            if (kind == ClusterKind.Invalid)
            {
                throw tables.Unusable(offsetBytes);
            }

            bool hasHost = L2Entry.HostOffset(old.Entry) != 0;
            if (kind == ClusterKind.Compressed || (hasHost && hosts.OwnOffset(old, _addressing.ClusterStart(offsetBytes)) < 0))
            {
                return false;
            }

            tables.Set(slice, index, old with { Subclusters = Subclusters.Zero(old.Subclusters, first, end) });
            return true;
        }
    }

    private void DropOne(L2Slice slice, int index, bool asZero)
    {
        L2Descriptor old = slice.Read(index);
        long guestOffsetBytes = _addressing.GuestOffset(slice, index);
        bool isParent = IsParentAt(guestOffsetBytes);
        L2Descriptor left = Left(asZero || isParent);
        bool isHostless = L2Entry.IsHostless(old.Entry);
        if (old == left || (isHostless && !isParent))
        {
            return;
        }

        if (L2Entry.Kind(old.Entry) == ClusterKind.Invalid)
        {
            throw tables.Unusable(guestOffsetBytes);
        }

        if (!isHostless && !header.HasDataFile && (old.Entry & L2Entry.Compressed) == 0)
        {
            // Throws when it is 0, before anything changes.
            hosts.CountOf(L2Entry.HostOffset(old.Entry), guestOffsetBytes);
        }

        tables.EnsureIsSole(slice);
        tables.Set(slice, index, left);
        hosts.FreeEntry(old.Entry);
    }

    private L2Descriptor Left(bool asZero)
    {
        if (!asZero || header.Version < 3)
        {
            return default;
        }

        return header.IsExtended ? new L2Descriptor(0, Subclusters.AllZero) : new L2Descriptor(L2Entry.ZeroFlag, 0);
    }

    private bool IsParentAt(long offsetBytes) => offsetBytes < parentEndBytes;
}
