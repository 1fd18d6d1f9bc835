// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>The L1 table, and the slices of L2 tables that are in memory.</summary>
/// <remarks>
/// <para>It owns the metadata lock. It finds and loads slices; which of them may be changed, and how, is the matter of
/// <see cref="Changing.WritableTables"/>. Changes are kept here until a write-back captures them.</para>
/// <para>The journal has each change before a request without the lock can see it.</para>
/// <para>Slices, not tables, because requests all over a large disk use one entry of each table: a table is a cluster, and
/// loading that much for eight bytes costs more than the request itself.</para>
/// <para>Threading. <see cref="FindSlice"/> and <see cref="CountEmptyTables"/> from any thread; the rest under
/// <see cref="Sync"/>.</para>
/// </remarks>
internal sealed class MappingTables
{
    private readonly MetadataFile _file;
    private readonly ulong[] _l1;
    private readonly SliceValidator _validator;
    private readonly ClusterAddressing _addressing;
    private readonly int _entriesPerSlice;
    private readonly bool _isExtended;
    private readonly long _l1OffsetBytes;
    private readonly ImageJournal? _journal;
    private readonly List<int> _dirtyL1Entries = [];
    private readonly HashSet<int> _newTables = [];
    private readonly List<int> _capturedTables = [];

    /// <param name="file">Holds the L2 tables.</param>
    /// <param name="header">The image's header.</param>
    /// <param name="l1">The active L1 table, validated.</param>
    /// <param name="validator">Judges slices when they are loaded.</param>
    /// <param name="cacheBytes">Bound on all slices together.</param>
    /// <param name="journal">Gets the changes; null for none.</param>
    public MappingTables(
        MetadataFile file, Qcow2Header header, ulong[] l1, SliceValidator validator, long cacheBytes, ImageJournal? journal = null)
    {
        _file = file;
        _journal = journal;
        _l1 = l1;
        _validator = validator;
        _addressing = new ClusterAddressing(header);
        _entriesPerSlice = 1 << header.L2SliceEntryBits;
        _isExtended = header.IsExtended;
        _l1OffsetBytes = header.L1OffsetBytes;
        long slices = (long)header.L1Entries << (header.L2EntryBits - header.L2SliceEntryBits);
        long room = Math.Clamp(cacheBytes >> header.L2SliceBits, Qcow2Limits.MinCachedTables, Qcow2Limits.MaxCachedSlices);

        // The changed part is one of the room, not of what the disk can fill of it: a small disk has few slices, each of which soon has a
        // change, and a write-back makes its writer wait for flushes.
        Cache = new ClockCache<L2Slice>(
            (int)Math.Clamp(slices, Qcow2Limits.MinCachedTables, room), (int)Math.Max(1, room / Qcow2Limits.DirtyShareOfCache));
    }

    /// <summary>The metadata lock: over mappings, refcounts, freed clusters and the header. Short: table lookups and changes,
    /// loading a slice, growing the file; never across the guest's own I/O.</summary>
    public Lock Sync { get; } = new();

    public ClockCache<L2Slice> Cache { get; }

    public ulong L1Entry(int index) => _l1[index];

    /// <summary>The slice that maps an offset, loaded if need be; null when no table does. Any thread.</summary>
    /// <param name="offsetBytes">Guest offset.</param>
    /// <param name="filling">The slice is to be believed only if <see cref="ClockEntry.IsStill"/> says so afterwards.</param>
    public L2Slice? FindSlice(long offsetBytes, out int filling)
    {
        if (Cache.TryFind(_addressing.SliceOf(offsetBytes), out filling) is { } cached)
        {
            return cached;
        }

        if (Volatile.Read(ref _l1[_addressing.L1Index(offsetBytes)]) == 0)
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

    /// <summary>As <see cref="FindSlice"/>, under the lock.</summary>
    public L2Slice? FindSliceLocked(long offsetBytes)
    {
        long number = _addressing.SliceOf(offsetBytes);
        if (Cache.TryFind(number, out _) is { } cached)
        {
            return cached;
        }

        ulong l1Entry = _l1[_addressing.L1Index(offsetBytes)];
        if (l1Entry == 0)
        {
            return null;
        }

        L2Slice slice = Cache.TryEvict() ?? new L2Slice(_entriesPerSlice, _isExtended);
        slice.BeginSlice(number);
        _file.Read(HostOffset(slice), slice.Bytes);
        _validator.Validate(slice, l1Entry);
        Cache.Add(slice);
        return slice;
    }

    /// <summary>How many L1 entries from an index on lead to no table. Any thread.</summary>
    public int CountEmptyTables(int l1Index)
    {
        ReadOnlySpan<ulong> rest = _l1.AsSpan(l1Index);
        int found = rest.IndexOfAnyExcept(0UL);
        return found < 0 ? rest.Length : found;
    }

    /// <summary>The L1 index of a slice's table.</summary>
    public int L1Index(L2Slice slice) => _addressing.L1Index(slice);

    /// <summary>Where a slice lies in the file.</summary>
    public long HostOffset(L2Slice slice) =>
        L2Entry.HostOffset(_l1[L1Index(slice)]) + (_addressing.IndexInTable(slice) * slice.EntryBytes);

    /// <summary>Makes an L1 entry lead to a table that nothing on disk leads to yet.</summary>
    public void PointL1At(int l1Index, long tableOffsetBytes)
    {
        ulong entry = (ulong)tableOffsetBytes | L2Entry.Copied;
        NoteL1(l1Index, entry);
        _newTables.Add(l1Index);
        _dirtyL1Entries.Add(l1Index);
        Volatile.Write(ref _l1[l1Index], entry);
    }

    /// <summary>Notes in an L1 entry that only this disk uses its table.</summary>
    public void MarkL1Copied(int l1Index)
    {
        NoteL1(l1Index, _l1[l1Index] | L2Entry.Copied);
        _l1[l1Index] |= L2Entry.Copied;
        _dirtyL1Entries.Add(l1Index);
    }

    /// <summary>Changes an entry of a slice.</summary>
    public void Set(L2Slice slice, int index, L2Descriptor descriptor)
    {
        if (_journal is not null)
        {
            Span<byte> before = stackalloc byte[2 * sizeof(ulong)];
            Span<byte> now = stackalloc byte[2 * sizeof(ulong)];
            slice.Read(index).WriteTo(before);
            descriptor.WriteTo(now);
            _journal.Note(
                NoteStages.Mappings,
                HostOffset(slice) + ((long)index * slice.EntryBytes),
                before[..slice.EntryBytes],
                now[..slice.EntryBytes]);
            _journal.Commit();
        }

        slice.Set(index, descriptor);
        Cache.MarkDirty(slice);
    }

    /// <summary>Copies what has changed since the last time.</summary>
    /// <param name="writes">Gets the copies.</param>
    /// <param name="newStage">The stage of tables that the L1 table on disk does not lead to yet.</param>
    /// <param name="stage">The stage of other tables, and of L1 entries.</param>
    public void Capture(StagedWrites writes, int newStage, int stage)
    {
        foreach (L2Slice slice in Cache.Dirty)
        {
            long offsetBytes = HostOffset(slice) + ((long)slice.DirtyStart * slice.EntryBytes);
            int lengthBytes = (slice.DirtyEnd - slice.DirtyStart) * slice.EntryBytes;
            slice.CopyDirty(writes.Add(_newTables.Contains(L1Index(slice)) ? newStage : stage, offsetBytes, lengthBytes));
        }

        Cache.BeginWriteBack();
        _capturedTables.AddRange(_newTables);
        foreach (int index in _dirtyL1Entries)
        {
            BinaryPrimitives.WriteUInt64BigEndian(
                writes.Add(stage, _l1OffsetBytes + ((long)index * sizeof(ulong)), sizeof(ulong)), _l1[index]);
        }

        _dirtyL1Entries.Clear();
    }

    /// <summary>Hears that what was captured is on the disk.</summary>
    public void EndWriteBack()
    {
        Cache.EndWriteBack();
        _newTables.ExceptWith(_capturedTables);
        _capturedTables.Clear();
    }

    private void NoteL1(int index, ulong entry)
    {
        if (_journal is not null)
        {
            Span<byte> before = stackalloc byte[sizeof(ulong)];
            Span<byte> now = stackalloc byte[sizeof(ulong)];
            BinaryPrimitives.WriteUInt64BigEndian(before, _l1[index]);
            BinaryPrimitives.WriteUInt64BigEndian(now, entry);
            _journal.Note(NoteStages.Mappings, _l1OffsetBytes + ((long)index * sizeof(ulong)), before, now);
            _journal.Commit();
        }
    }
}
