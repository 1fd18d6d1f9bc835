// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2;

/// <content>Allocating and freeing guest clusters.</content>
internal sealed partial class Qcow2Metadata
{
    private volatile bool _mustClearAutoclear;

    /// <summary>L1 entries the disk does not have yet.</summary>
    public List<int> DirtyL1Entries { get; } = [];

    /// <summary>Tables the L1 table on disk does not point to yet.</summary>
    public List<L2Table> NewTables { get; } = [];

    public FreedClusters Freed { get; }

    /// <summary>Null for a read-only image.</summary>
    public RefcountStore? Refcounts { get; }

    /// <summary>Null for a read-only image.</summary>
    public ClusterAllocator? Allocator { get; }

    /// <summary>The number of the write-back that will take the next changes.</summary>
    public long NextWriteBack { get; private set; } = 1;

    /// <summary>The last write-back whose changes are durable.</summary>
    public long FinishedWriteBack { get; private set; }

    /// <summary>True when something has changed since the image was opened.</summary>
    public bool HasChanged { get; private set; }

    /// <summary>True when a request should write metadata back before it makes more of it. Any thread.</summary>
    public bool NeedsWriteBack => Cache.IsFullOfChanges || Freed.NeedsWriteBack;

    public long L1OffsetBytes => _header.L1OffsetBytes;

    public ulong L1Entry(int index) => _l1[index];

    /// <summary>Takes back what extensions claim of the data, before the first change.</summary>
    public void PrepareForChange()
    {
        if (!_mustClearAutoclear)
        {
            return;
        }

        lock (Sync)
        {
            PrepareLocked();
        }
    }

    /// <summary>Gives every cluster of a range a host cluster that may be written in place.</summary>
    /// <param name="offsetBytes">Guest offset.</param>
    /// <param name="lengthBytes">At least 1; what lies in the next L2 table is left to the next call.</param>
    public void Allocate(long offsetBytes, long lengthBytes)
    {
        int l1Index = (int)(offsetBytes >> _tableBits);
        long endBytes = Math.Min(offsetBytes + lengthBytes, (l1Index + 1L) << _tableBits);
        int first = IndexInTable(offsetBytes);
        int end = Math.Min(IndexInTable(endBytes - 1) + 1, first + Qcow2Limits.EntriesPerHold);
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            L2Table table = FindOrAddTable(l1Index);
            while (first < end)
            {
                first += AllocateSome(table, first, end);
            }
        }
    }

    /// <summary>Takes the host clusters of whole guest clusters away; they read as zeros afterwards.</summary>
    /// <param name="cluster">First guest cluster.</param>
    /// <param name="count">At least 1.</param>
    /// <param name="asZero">True to leave the zero flag behind, false to leave them unallocated.</param>
    /// <returns>How many guest clusters are done; the caller goes on behind them.</returns>
    public long Drop(long cluster, long count, bool asZero)
    {
        ulong left = asZero && _header.Version >= 3 ? L2Entry.ZeroFlag : 0;
        int l1Index = (int)(cluster >> _header.L2EntryBits);
        int first = (int)cluster & _entryMask;
        lock (Sync)
        {
            Poison.ThrowIfSet();
            if (FindTableLocked(l1Index) is not { } table)
            {
                long emptyEnd = (l1Index + 1L + CountEmptyTables(l1Index + 1)) << _header.L2EntryBits;
                return Math.Min(count, emptyEnd - cluster);
            }

            PrepareLocked();
            int most = (int)Math.Min(Math.Min(count, table.Count - first), Qcow2Limits.EntriesPerHold);
            for (int i = first; i < first + most; i++)
            {
                i += table.CountUnallocated(i, first + most - i);
                if (i < first + most)
                {
                    DropOne(table, i, left);
                }
            }

            return most;
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
                    Allocator!.Release(forgotten.Cluster, forgotten.Count);
                    continue;
                }

                Epochs.Advance();
                if (!Freed.TryTakeUnused(Epochs, out run))
                {
                    return;
                }
            }

            ZeroFreed(run);
        }
    }

    /// <summary>Starts a write-back; its changes are those made so far.</summary>
    public long BeginWriteBack() => NextWriteBack++;

    /// <summary>Notes that the changes of a write-back are durable.</summary>
    public void EndWriteBack(long number) => FinishedWriteBack = number;

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

    private void PrepareLocked()
    {
        HasChanged = true;
        if (_mustClearAutoclear)
        {
            Qcow2HeaderWriter.WriteAutoclear(_file, _header.AutoclearFeatures & _keptAutoclear);
            _mustClearAutoclear = false;
        }
    }

    private int AllocateSome(L2Table table, int first, int end)
    {
        ulong entry = table[first];
        switch (L2Entry.Kind(entry))
        {
            case ClusterKind.Data:
                if ((entry & L2Entry.Copied) == 0)
                {
                    RequireSole(L2Entry.HostOffset(entry), table, first);
                    Cache.Set(table, first, entry | L2Entry.Copied);
                }

                return 1;
            case ClusterKind.Zero when L2Entry.HostOffset(entry) != 0:
                // A reserved cluster holds anything; it must read as zeros, durably, before its entry says data.
                RequireSole(L2Entry.HostOffset(entry), table, first);
                Allocator!.HasAllocated = true;
                _file.Zero(L2Entry.HostOffset(entry), _header.ClusterBytes);
                Cache.Set(table, first, (entry & L2Entry.OffsetMask) | L2Entry.Copied);
                return 1;
            case ClusterKind.Unallocated:
            case ClusterKind.Zero:
                break;
            case ClusterKind kind:
                throw Unusable(kind, GuestOffset(table, first));
        }

        int wanted = 1;
        while (first + wanted < end && IsWithoutCluster(table[first + wanted]))
        {
            wanted++;
        }

        long cluster = TakeClusters(wanted, out int count);
        for (int i = 0; i < count; i++)
        {
            Cache.Set(table, first + i, ((ulong)(cluster + i) << _clusterBits) | L2Entry.Copied);
        }

        return count;
    }

    private static bool IsWithoutCluster(ulong entry) => entry is 0 or L2Entry.ZeroFlag;

    private long TakeClusters(int wanted, out int count)
    {
        try
        {
            return Allocator!.Allocate(wanted, out count);
        }
        catch (BlockException failure) when (Allocator!.IsTorn)
        {
            Poison.Set(failure);
            throw;
        }
    }

    private L2Table FindOrAddTable(int l1Index)
    {
        if (FindTableLocked(l1Index) is { } table)
        {
            EnsureTableIsSole(table);
            return table;
        }

        long cluster = TakeClusters(1, out _);
        table = new L2Table(l1Index, cluster << _clusterBits, 1 << _header.L2EntryBits) { IsNew = true };
        Cache.Add(table);
        NewTables.Add(table);
        DirtyL1Entries.Add(l1Index);
        Volatile.Write(ref _l1[l1Index], ((ulong)cluster << _clusterBits) | L2Entry.Copied);
        return table;
    }

    private void EnsureTableIsSole(L2Table table)
    {
        if ((_l1[table.L1Index] & L2Entry.Copied) == 0)
        {
            RequireSole(table.HostOffsetBytes, table, 0);
            _l1[table.L1Index] |= L2Entry.Copied;
            DirtyL1Entries.Add(table.L1Index);
        }
    }

    private void DropOne(L2Table table, int index, ulong left)
    {
        ulong entry = table[index];
        ClusterKind kind = L2Entry.Kind(entry);
        if (kind is ClusterKind.Compressed or ClusterKind.Invalid)
        {
            throw Unusable(kind, GuestOffset(table, index));
        }

        long hostBytes = L2Entry.HostOffset(entry);
        if (hostBytes == 0)
        {
            return;
        }

        RequireSole(hostBytes, table, index);
        EnsureTableIsSole(table);
        Cache.Set(table, index, left);
        Freed.Add(hostBytes >> _clusterBits, Epochs.Current, NextWriteBack);
    }

    // Without snapshots every cluster in use counts 1. Anything else means that two owners may believe it theirs.
    private void RequireSole(long hostOffsetBytes, L2Table table, int index)
    {
        ulong refcount = Refcounts!.Get(hostOffsetBytes >> _clusterBits);
        if (refcount != 1)
        {
            throw Qcow2Fault.Corrupt(
                _file.Path,
                $"the cluster at file offset {hostOffsetBytes}, in use for disk offset {GuestOffset(table, index)}, " +
                $"has refcount {refcount} and must have 1",
                hostOffsetBytes);
        }
    }

    private long GuestOffset(L2Table table, int index) =>
        (((long)table.L1Index << _header.L2EntryBits) + index) << _clusterBits;
}
