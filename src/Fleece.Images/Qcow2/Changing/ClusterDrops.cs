// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Changing;

/// <summary>Takes the host clusters of guest clusters away, so that they read as zeros.</summary>
/// <remarks>Threading. Any thread. The caller reclaims what became free (<see cref="ClusterReclaim"/>).</remarks>
/// <param name="header">The image's header.</param>
/// <param name="live">Where each change begins.</param>
/// <param name="found">Finds tables without adding any.</param>
/// <param name="tables">The tables to change.</param>
/// <param name="hosts">Where host clusters go to.</param>
/// <param name="parentEndBytes">Up to where the parent shows through what is unallocated; 0 without a parent.</param>
internal sealed class ClusterDrops(
    Qcow2Header header,
    LiveHeader live,
    MappingTables found,
    WritableTables tables,
    HostClusters hosts,
    long parentEndBytes)
{
    private readonly ClusterAddressing _addressing = new(header);

    /// <summary>Takes the host clusters of whole guest clusters away; they read as zeros afterwards.</summary>
    /// <param name="cluster">First guest cluster.</param>
    /// <param name="count">At least 1.</param>
    /// <param name="asZero">True to leave zeros behind that say so, false to leave what is unallocated without a
    /// parent.</param>
    /// <returns>How many guest clusters are done; the caller goes on behind them.</returns>
    /// <remarks>Version 2 has no zeros to leave behind: there it is not for clusters that would show a parent.</remarks>
    public long Drop(long cluster, long count, bool asZero)
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

    /// <summary>Makes whole subclusters of one cluster read as zeros without touching the others.</summary>
    /// <returns>False when the cluster has to be copied first, or has no subclusters.</returns>
    public bool TryZeroSubclusters(long offsetBytes, long lengthBytes)
    {
        int index = _addressing.IndexInSlice(offsetBytes);
        lock (tables.Sync)
        {
            live.BeginChange();
            L2Slice slice = tables.FindOrAdd(offsetBytes);
            L2Descriptor old = slice.Read(index);
            int first = _addressing.IndexInCluster(offsetBytes);
            int end = first + (int)(lengthBytes >> _addressing.SubclusterBits);
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
