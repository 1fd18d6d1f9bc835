// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2;

/// <content>Taking host clusters away, and making them free.</content>
internal sealed partial class Qcow2Metadata
{
    /// <summary>Takes the host clusters of whole guest clusters away; they read as zeros afterwards.</summary>
    /// <param name="cluster">First guest cluster.</param>
    /// <param name="count">At least 1.</param>
    /// <param name="asZero">True to leave zeros behind that say so, false to leave what is unallocated without a
    /// parent.</param>
    /// <returns>How many guest clusters are done; the caller goes on behind them.</returns>
    /// <remarks>Version 2 has no zeros to leave behind: there it is not for clusters that would show a parent.</remarks>
    public long Drop(long cluster, long count, bool asZero)
    {
        long offsetBytes = cluster << _clusterBits;
        int first = (int)cluster & _entryMask;
        lock (Sync)
        {
            Poison.ThrowIfSet();
            if (FindSliceLocked(offsetBytes) is not { } slice)
            {
                if (!IsParentAt(offsetBytes))
                {
                    int l1Index = L1Index(offsetBytes);
                    long emptyEnd = (l1Index + 1L + CountEmptyTables(l1Index + 1)) << _header.L2EntryBits;
                    return Math.Min(count, emptyEnd - cluster);
                }

                PrepareLocked();
                slice = FindOrAddSlice(offsetBytes);
            }

            PrepareLocked();
            int most = (int)Math.Min(Math.Min(count, slice.Count - first), Qcow2Limits.EntriesPerHold);
            for (int i = first; i < first + most; i++)
            {
                if (!IsParentAt(GuestOffset(slice, i)))
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

    /// <summary>Makes whole subclusters of one cluster read as zeros without touching the others.</summary>
    /// <returns>False when the cluster has to be copied first, or has no subclusters.</returns>
    public bool TryZeroSubclusters(long offsetBytes, long lengthBytes)
    {
        int index = IndexInSlice(offsetBytes);
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            L2Slice slice = FindOrAddSlice(offsetBytes);
            L2Descriptor old = slice.Read(index);
            int first = IndexInCluster(offsetBytes);
            int end = first + (int)(lengthBytes >> _subclusterBits);
            ClusterKind kind = Subclusters.Kind(old, first);
            if (kind == ClusterKind.Invalid)
            {
                throw Unusable(offsetBytes);
            }

            bool hasHost = L2Entry.HostOffset(old.Entry) != 0;
            if (kind == ClusterKind.Compressed || (hasHost && OwnHost(slice, index, old) < 0))
            {
                return false;
            }

            Cache.Set(slice, index, old with { Subclusters = Subclusters.Zero(old.Subclusters, first, end) });
            return true;
        }
    }

    /// <summary>Zeroes freed clusters nobody uses any more and makes those free that the disk has forgotten.</summary>
    /// <remarks>Not from within a request that is counted in <see cref="Epochs"/>: it would wait for itself.</remarks>
    public void Reclaim()
    {
        while (true)
        {
            FreedRun run;
            lock (Sync)
            {
                if (Poison.IsSet)
                {
                    return;
                }

                if (Freed.TryTakeForgotten(FinishedWriteBack, out FreedRun forgotten))
                {
                    Release(forgotten);
                    continue;
                }

                Epochs.Advance();
                if (!Freed.TryTakeUnused(Epochs, out run))
                {
                    return;
                }

                if (run.IsShared)
                {
                    Freed.AddZeroed(run);
                    continue;
                }
            }

            ZeroFreed(run);
        }
    }

    private void Release(FreedRun run)
    {
        if (run.IsShared)
        {
            Allocator!.ReleaseShared(run.Cluster, run.Count);
        }
        else
        {
            Allocator!.Release(run.Cluster, run.Count);
        }
    }

    private void ZeroFreed(FreedRun run)
    {
        bool isZeroed = false;
        try
        {
            _file.Zero(run.Cluster << _clusterBits, run.Count << _clusterBits);
            isZeroed = true;
        }
        finally
        {
            lock (Sync)
            {
                if (isZeroed)
                {
                    Freed.AddZeroed(run);
                }
                else
                {
                    Freed.Forget(run);
                }
            }
        }
    }

    private void DropOne(L2Slice slice, int index, bool asZero)
    {
        L2Descriptor old = slice.Read(index);
        bool isParent = IsParentAt(GuestOffset(slice, index));
        L2Descriptor left = Left(asZero || isParent);
        bool isHostless = old.Entry is 0 or L2Entry.ZeroFlag;
        if (old == left || (isHostless && !isParent))
        {
            return;
        }

        if (L2Entry.Kind(old.Entry) == ClusterKind.Invalid)
        {
            throw Unusable(GuestOffset(slice, index));
        }

        if (!isHostless && !_hasDataFile && (old.Entry & L2Entry.Compressed) == 0)
        {
            CountOf(L2Entry.HostOffset(old.Entry), slice, index);
        }

        EnsureTableIsSole(slice);
        Cache.Set(slice, index, left);
        FreeEntry(old.Entry);
    }

    private L2Descriptor Left(bool asZero)
    {
        if (!asZero || _header.Version < 3)
        {
            return default;
        }

        return _isExtended ? new L2Descriptor(0, Subclusters.AllZero) : new L2Descriptor(L2Entry.ZeroFlag, 0);
    }

    private void FreeEntry(ulong entry)
    {
        if (_hasDataFile)
        {
            return;
        }

        if ((entry & L2Entry.Compressed) != 0)
        {
            CompressedExtent extent = CompressedExtent.FromEntry(entry, _clusterBits);
            for (long i = extent.FirstCluster(_clusterBits); i <= extent.LastCluster(_clusterBits); i++)
            {
                Freed.Add(i, Epochs.Current, NextWriteBack, isShared: true);
            }
        }
        else if (L2Entry.HostOffset(entry) != 0)
        {
            FreeHost(L2Entry.HostOffset(entry) >> _clusterBits);
        }
    }

    private void FreeHost(long cluster) =>
        Freed.Add(cluster, Epochs.Current, NextWriteBack, isShared: Refcounts!.Get(cluster) != 1);
}
