// SPDX-License-Identifier: MIT
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>The L1 table, and the slices of L2 tables that are in memory.</summary>
/// <remarks>
/// <para>It owns the metadata lock. It finds and loads slices; which of them may be changed, and how, is the matter of
/// <see cref="Changing.WritableTables"/>. Changes are kept here until <see cref="MetadataWriteBack"/> captures them.</para>
/// <para>Threading. <see cref="FindSlice"/> and <see cref="CountEmptyTables"/> from any thread; the rest under
/// <see cref="Sync"/>.</para>
/// </remarks>
internal sealed class MappingTables
{
    private readonly MetadataFile _file;
    private readonly ulong[] _l1;
    private readonly SliceValidator _validator;
    private readonly ClusterAddressing _addressing;

    /// <param name="file">Holds the L2 tables.</param>
    /// <param name="header">The image's header.</param>
    /// <param name="l1">The active L1 table, validated.</param>
    /// <param name="validator">Judges slices when they are loaded.</param>
    /// <param name="cacheBytes">Bound on all slices together.</param>
    public MappingTables(MetadataFile file, Qcow2Header header, ulong[] l1, SliceValidator validator, long cacheBytes)
    {
        _file = file;
        _l1 = l1;
        _validator = validator;
        _addressing = new ClusterAddressing(header);
        L1OffsetBytes = header.L1OffsetBytes;
        Cache = new L2Cache(header, cacheBytes);
    }

    /// <summary>The metadata lock: over mappings, refcounts, freed clusters and the header. Short: table lookups and changes,
    /// loading a slice, growing the file; never across the guest's own I/O.</summary>
    public Lock Sync { get; } = new();

    public L2Cache Cache { get; }

    /// <summary>L1 entries the disk does not have yet.</summary>
    public List<int> DirtyL1Entries { get; } = [];

    /// <summary>L1 indices of the tables that the L1 table on disk does not point to yet.</summary>
    public HashSet<int> NewTables { get; } = [];

    public long L1OffsetBytes { get; }

    public ulong L1Entry(int index) => _l1[index];

    /// <summary>The slice that maps an offset, loaded if need be; null when no table does. Any thread.</summary>
    /// <param name="offsetBytes">Guest offset.</param>
    /// <param name="filling">What the slice says is to be believed only if <see cref="L2Slice.IsStill"/> says so
    /// afterwards.</param>
    public L2Slice? FindSlice(long offsetBytes, out int filling)
    {
        if (Cache.TryFind(_addressing.FirstOfSlice(offsetBytes), out filling) is { } cached)
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
        long firstCluster = _addressing.FirstOfSlice(offsetBytes);
        if (Cache.TryFind(firstCluster, out _) is { } cached)
        {
            return cached;
        }

        ulong l1Entry = _l1[_addressing.L1Index(offsetBytes)];
        if (l1Entry == 0)
        {
            return null;
        }

        L2Slice slice = Cache.Take(firstCluster);
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
        NewTables.Add(l1Index);
        DirtyL1Entries.Add(l1Index);
        Volatile.Write(ref _l1[l1Index], (ulong)tableOffsetBytes | L2Entry.Copied);
    }

    /// <summary>Notes in an L1 entry that only this disk uses its table.</summary>
    public void MarkL1Copied(int l1Index)
    {
        _l1[l1Index] |= L2Entry.Copied;
        DirtyL1Entries.Add(l1Index);
    }
}
