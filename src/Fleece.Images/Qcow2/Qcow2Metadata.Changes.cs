// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2;

/// <content>Giving guest clusters host clusters that read as zeros, and what all changes begin with.</content>
internal sealed partial class Qcow2Metadata
{
    private volatile bool _mustClearAutoclear;

    /// <summary>L1 entries the disk does not have yet.</summary>
    public List<int> DirtyL1Entries { get; } = [];

    /// <summary>L1 indices of the tables that the L1 table on disk does not point to yet.</summary>
    public HashSet<int> NewTables { get; } = [];

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
            offsetBytes, Math.Min(offsetBytes + lengthBytes, SliceEnd(offsetBytes)));
        int first = IndexInSlice(offsetBytes);
        int end = Math.Min(IndexInSlice(range.EndBytes - 1) + 1, first + Qcow2Limits.EntriesPerHold);
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            if (_hasDataFile)
            {
                return false;
            }

            L2Slice slice = FindOrAddSlice(offsetBytes);
            int next = first;
            for (int done = 1; next < end && done != 0; next += done)
            {
                done = AllocateSome(slice, next, end, range);
            }

            return next > first;
        }
    }

    /// <summary>Starts a write-back; its changes are those made so far.</summary>
    public long BeginWriteBack() => NextWriteBack++;

    /// <summary>Notes that the changes of a write-back are durable.</summary>
    public void EndWriteBack(long number) => FinishedWriteBack = number;

    private void PrepareLocked()
    {
        HasChanged = true;
        if (_mustClearAutoclear)
        {
            WriteAutoclear(AutoclearFeatures & _keptAutoclear);
            _mustClearAutoclear = false;
        }
    }

    // How many entries are done; 0 when the first one must be copied.
    private int AllocateSome(L2Slice slice, int first, int end, BlockRange range)
    {
        L2Descriptor old = slice.Read(first);
        switch (L2Entry.Kind(old.Entry))
        {
            case ClusterKind.Invalid:
                throw Unusable(GuestOffset(slice, first));
            case ClusterKind.Compressed:
                return 0;
            case ClusterKind.Data or ClusterKind.Zero when L2Entry.HostOffset(old.Entry) is var hostBytes and not 0:
                return TakeOwn(slice, first, old, hostBytes);
            case ClusterKind.Unallocated when IsParentAt(GuestOffset(slice, first)):
                return 0;
        }

        int wanted = 1;
        while (first + wanted < end && IsHostless(slice[first + wanted])
            && !(slice[first + wanted] == 0 && IsParentAt(GuestOffset(slice, first + wanted))))
        {
            wanted++;
        }

        long cluster = TakeClusters(wanted, out int count);
        for (int i = first; i < first + count; i++)
        {
            ulong entry = ((ulong)(cluster + i - first) << _clusterBits) | L2Entry.Copied;
            Cache.Set(slice, i, new L2Descriptor(entry, AllocatedBits(slice, i, range)));
        }

        return count;
    }

    // A cluster that has a host cluster may be changed there when nobody else uses it.
    private int TakeOwn(L2Slice slice, int index, L2Descriptor old, long hostBytes)
    {
        if (CountOf(hostBytes, slice, index) != 1)
        {
            return 0;
        }

        bool isZero = (old.Entry & L2Entry.ZeroFlag) != 0;
        if (isZero)
        {
            // A reserved cluster holds anything; it must read as zeros, durably, before its entry says data.
            Allocator!.HasAllocated = true;
            _file.Zero(hostBytes, _header.ClusterBytes);
        }
        else if ((old.Entry & L2Entry.Copied) != 0)
        {
            // Only some of its subclusters are missing.
            return _isExtended ? 0 : 1;
        }

        ulong entry = (old.Entry & L2Entry.OffsetMask) | L2Entry.Copied;
        Cache.Set(slice, index, old with { Entry = entry });
        return 1;
    }

    private ulong AllocatedBits(L2Slice slice, int index, BlockRange range)
    {
        if (!_isExtended)
        {
            return 0;
        }

        long startBytes = GuestOffset(slice, index);
        BlockRange inside = range.Intersect(new BlockRange(startBytes, _header.ClusterBytes));
        return Subclusters.Allocate(
            slice.Read(index).Subclusters,
            (int)((inside.OffsetBytes - startBytes) >> _subclusterBits),
            (int)((inside.EndBytes - startBytes - 1) >> _subclusterBits) + 1);
    }

    private static bool IsHostless(ulong entry) => entry is 0 or L2Entry.ZeroFlag;

    private bool IsParentAt(long offsetBytes) => offsetBytes < _parentEndBytes;

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

    // The slice to change, of a table that only the disk uses.
    private L2Slice FindOrAddSlice(long offsetBytes)
    {
        int l1Index = L1Index(offsetBytes);
        if (_l1[l1Index] == 0)
        {
            PointL1At(l1Index, TakeClusters(1, out _) << _clusterBits);
        }

        L2Slice slice = FindSliceLocked(offsetBytes)!;
        EnsureTableIsSole(slice);
        return slice;
    }

    // Moves the table to a place of its own when a snapshot uses it.
    private void EnsureTableIsSole(L2Slice slice)
    {
        int l1Index = L1Index(slice);
        long tableOffsetBytes = TableOffset(slice);
        if (slice.RefcountFault is { } fault)
        {
            throw Qcow2Fault.Contradicted(_file.Path, fault, tableOffsetBytes);
        }

        if ((_l1[l1Index] & L2Entry.Copied) != 0)
        {
            return;
        }

        if (CountOf(tableOffsetBytes, slice, 0) == 1)
        {
            _l1[l1Index] |= L2Entry.Copied;
            DirtyL1Entries.Add(l1Index);
            return;
        }

        // None of its slices has changed, so the file holds all of the table. The copy is durable before the L1 entry is
        // written, by the flush that everything newly allocated gets.
        byte[] table = new byte[_header.ClusterBytes];
        _file.Read(tableOffsetBytes, table);
        long copyOffsetBytes = TakeClusters(1, out _) << _clusterBits;
        _file.Write(copyOffsetBytes, table);
        PointL1At(l1Index, copyOffsetBytes);
        FreeHost(tableOffsetBytes >> _clusterBits);
    }

    private void PointL1At(int l1Index, long tableOffsetBytes)
    {
        NewTables.Add(l1Index);
        DirtyL1Entries.Add(l1Index);
        Volatile.Write(ref _l1[l1Index], (ulong)tableOffsetBytes | L2Entry.Copied);
    }

    private ulong CountOf(long hostOffsetBytes, L2Slice slice, int index)
    {
        ulong refcount = Refcounts!.Get(hostOffsetBytes >> _clusterBits);
        return refcount != 0 ? refcount : throw Qcow2Fault.Contradicted(
            _file.Path,
            $"the cluster at file offset {hostOffsetBytes}, in use for disk offset {GuestOffset(slice, index)}, " +
            "has refcount 0",
            hostOffsetBytes);
    }
}
