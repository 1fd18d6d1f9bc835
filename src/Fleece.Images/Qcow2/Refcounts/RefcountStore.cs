// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Refcounts;

/// <summary>The refcount table, whole in memory, and a bounded cache of its blocks.</summary>
/// <remarks>
/// <para>A changed block may be written at any moment, without a flush before it: refcounts go up before anything points to a cluster, and
/// go down only when what pointed to it is gone from the disk durably. So all changed ones are written when the cache is full and has no
/// other left. The table's own entries are different: see <see cref="Qcow2Changes"/>.</para>
/// <para>The journal hears of each change, and has it counted before a changed block is written and before a mapping leads to what was
/// counted. A table that is being moved is noted no more at its old place, which may be too short; the new place gets it whole.</para>
/// <para>Threading. Only under the metadata lock.</para>
/// </remarks>
internal sealed class RefcountStore
{
    private const int MostBlocks = Qcow2Limits.MaxRefcountTableBytes / sizeof(ulong);

    private readonly MetadataFile _file;
    private readonly ClockCache<RefcountBlock> _blocks;
    private readonly List<int> _dirtyTableEntries = [];
    private readonly int _clusterBits;
    private readonly int _order;
    private readonly ImageJournal? _journal;
    private RefcountBlock? _last;
    private long _tableOffsetBytes;
    private int _storedTableEntries;

    /// <param name="file">The image.</param>
    /// <param name="header">Its header.</param>
    /// <param name="cacheBytes">Memory for blocks.</param>
    /// <param name="journal">Gets the changes; null for none.</param>
    public RefcountStore(MetadataFile file, Qcow2Header header, long cacheBytes, ImageJournal? journal = null)
    {
        _file = file;
        _journal = journal;
        _clusterBits = header.ClusterBits;
        _order = header.RefcountOrder;
        int capacity = (int)Math.Clamp(cacheBytes >> _clusterBits, Qcow2Limits.MinCachedTables, MostBlocks);
        _blocks = new ClockCache<RefcountBlock>(capacity, dirtyLimit: int.MaxValue);
        _tableOffsetBytes = header.RefcountTableOffsetBytes;
        Table = new ulong[((long)header.RefcountTableClusters << _clusterBits) / sizeof(ulong)];
        _storedTableEntries = Table.Length;
        ReadTable();
    }

    /// <summary>Host offsets of the blocks, 0 where there is none.</summary>
    public ulong[] Table { get; private set; }

    /// <summary>First cluster of the table.</summary>
    public long TableCluster => _tableOffsetBytes >> _clusterBits;

    public int TableClusters => (int)((long)Table.Length * sizeof(ulong) >> _clusterBits);

    /// <summary>Clusters one block counts: 8 * cluster size / refcount bits.</summary>
    public int ClustersPerBlock => 1 << ClustersPerBlockBits;

    /// <summary>The largest refcount that fits.</summary>
    public ulong LargestRefcount =>
        _order == Qcow2Limits.MaxRefcountOrder ? ulong.MaxValue : (1UL << (1 << _order)) - 1;

    private int ClustersPerBlockBits => _clusterBits + 3 - _order;

    public bool IsCovered(long cluster) => TableIndexOf(cluster) < Table.Length;

    public bool HasBlock(long cluster) => IsCovered(cluster) && Table[TableIndexOf(cluster)] != 0;

    public int TableIndexOf(long cluster) =>
        (int)Math.Min(int.MaxValue, cluster >> ClustersPerBlockBits);

    /// <summary>The refcount of a cluster; 0 where there is no block.</summary>
    public ulong Get(long cluster) => HasBlock(cluster) ? Find(cluster).Get(IndexInBlock(cluster)) : 0;

    /// <summary>Sets the refcount of a cluster whose block exists.</summary>
    public void Set(long cluster, ulong refcount)
    {
        RefcountBlock block = Find(cluster);
        int index = IndexInBlock(cluster);
        if (_journal is null)
        {
            block.Set(index, refcount);
        }
        else
        {
            ReadOnlySpan<byte> word = block.Bytes.AsSpan(block.WordOf(index), sizeof(ulong));
            Span<byte> before = stackalloc byte[sizeof(ulong)];
            word.CopyTo(before);
            block.Set(index, refcount);
            _journal.Note(NoteStages.Refcounts, block.HostOffsetBytes + block.WordOf(index), before, word);
        }

        _blocks.MarkDirty(block);
    }

    /// <summary>The first free cluster in the part of the range that one block counts.</summary>
    /// <returns>The cluster, or -1; then <paramref name="nextCluster"/> says where to go on.</returns>
    public long FindFree(long start, long end, out long nextCluster)
    {
        long blockEnd = Math.Min(end, ((start >> ClustersPerBlockBits) + 1) << ClustersPerBlockBits);
        nextCluster = blockEnd;
        if (!HasBlock(start))
        {
            return start;
        }

        int first = IndexInBlock(start);
        int found = Find(start).FindFree(first, first + (int)(blockEnd - start));
        return found < 0 ? -1 : start + found - first;
    }

    /// <summary>Puts a new, empty block into the table in memory.</summary>
    public void AddBlock(int tableIndex, long hostOffsetBytes)
    {
        Insert(new RefcountBlock(tableIndex, hostOffsetBytes, 1 << _clusterBits, _order));
        Table[tableIndex] = (ulong)hostOffsetBytes;
        _dirtyTableEntries.Add(tableIndex);
    }

    /// <summary>Notes that the table leads to a block of <see cref="AddBlock"/>, once the block itself is counted.</summary>
    public void NoteBlock(int tableIndex)
    {
        if (_journal is not null && tableIndex < _storedTableEntries)
        {
            Span<byte> now = stackalloc byte[sizeof(ulong)];
            BinaryPrimitives.WriteUInt64BigEndian(now, Table[tableIndex]);
            ReadOnlySpan<byte> before = [0, 0, 0, 0, 0, 0, 0, 0];
            _journal.Note(NoteStages.RefcountTable, _tableOffsetBytes + ((long)tableIndex * sizeof(ulong)), before, now);
        }
    }

    /// <summary>Makes the table in memory longer; its place on disk follows with <see cref="WriteTable"/>.</summary>
    public void LengthenTable(int clusters)
    {
        ulong[] longer = new ulong[((long)clusters << _clusterBits) / sizeof(ulong)];
        Table.CopyTo(longer, 0);
        Table = longer;
    }

    /// <summary>Writes the whole table to a new place and makes the header point there, durably.</summary>
    public void WriteTable(long offsetBytes)
    {
        byte[] bytes = new byte[Table.Length * sizeof(ulong)];
        for (int i = 0; i < Table.Length; i++)
        {
            BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(i * sizeof(ulong)), Table[i]);
        }

        WriteDirtyBlocks();
        _file.Write(offsetBytes, bytes);
        _file.Flush();

        // Offset and length are neighbours in the header, so that one small write changes both.
        Span<byte> place = stackalloc byte[12];
        BinaryPrimitives.WriteInt64BigEndian(place, offsetBytes);
        BinaryPrimitives.WriteInt32BigEndian(place[8..], TableClusters);
        _file.Write(Qcow2Header.RefcountTableOffsetField, place);
        _file.Flush();
        _tableOffsetBytes = offsetBytes;
        _storedTableEntries = Table.Length;
        _dirtyTableEntries.Clear();
    }

    /// <summary>Writes every changed block, and leaves those changed that a write-back has captured
    /// meanwhile.</summary>
    public void WriteDirtyBlocks()
    {
        _journal?.CommitBeforeWrite();
        foreach (RefcountBlock block in _blocks.Dirty)
        {
            _file.Write(block.ChangedOffsetBytes, block.ChangedBytes);
        }

        _blocks.MarkAllClean();
        foreach (RefcountBlock block in _blocks.Captured)
        {
            // The captured, older bytes may land after these; so all of the block has to be written once more.
            _file.Write(block.HostOffsetBytes, block.Bytes);
            block.MarkAllChanged();
            _blocks.MarkDirty(block);
        }
    }

    /// <summary>Copies what has changed since the last time.</summary>
    /// <param name="writes">Gets the copies.</param>
    /// <param name="blockStage">The stage of blocks.</param>
    /// <param name="tableStage">The stage of the table's entries.</param>
    public void Capture(StagedWrites writes, int blockStage, int tableStage)
    {
        foreach (RefcountBlock block in _blocks.Dirty)
        {
            ReadOnlySpan<byte> changed = block.ChangedBytes;
            changed.CopyTo(writes.Add(blockStage, block.ChangedOffsetBytes, changed.Length));
        }

        _blocks.BeginWriteBack();
        foreach (int index in _dirtyTableEntries)
        {
            BinaryPrimitives.WriteUInt64BigEndian(
                writes.Add(tableStage, _tableOffsetBytes + ((long)index * sizeof(ulong)), sizeof(ulong)), Table[index]);
        }

        _dirtyTableEntries.Clear();
    }

    /// <summary>Hears that what was captured is on the disk.</summary>
    public void EndWriteBack() => _blocks.EndWriteBack();

    private RefcountBlock Find(long cluster)
    {
        int tableIndex = TableIndexOf(cluster);
        if (_last is { } last && last.TableIndex == tableIndex)
        {
            return last;
        }

        if (_blocks.TryFind(tableIndex, out _) is not { } block)
        {
            block = new RefcountBlock(tableIndex, (long)Table[tableIndex], 1 << _clusterBits, _order);
            _file.Read(block.HostOffsetBytes, block.Bytes);
            Insert(block);
        }

        _last = block;
        return block;
    }

    // Afterwards the block is the one that was used last, in place of one that may have been evicted.
    private void Insert(RefcountBlock block)
    {
        if (_blocks.TryEvict() is null && _blocks.Resident.Count >= _blocks.Capacity)
        {
            WriteDirtyBlocks();
            _ = _blocks.TryEvict();
        }

        _blocks.Add(block);
        _last = block;
    }

    private void ReadTable()
    {
        Span<byte> bytes = MemoryMarshal.AsBytes(Table.AsSpan());
        _file.Read(_tableOffsetBytes, bytes);
        long fileEndBytes = (_file.GetLength() + (1L << _clusterBits) - 1) & -(1L << _clusterBits);
        for (int i = 0; i < Table.Length; i++)
        {
            ulong offset = BinaryPrimitives.ReadUInt64BigEndian(bytes[(i * sizeof(ulong))..]);
            Table[i] = offset;
            if (offset != 0 && ((offset & ((1UL << _clusterBits) - 1)) != 0 || offset >= (ulong)fileEndBytes))
            {
                throw FormatFault.Qcow2.Corrupt(
                    _file.Path,
                    $"refcount table entry {i} is {offset}, not the offset of a cluster within the file of " +
                    $"{_file.GetLength()} bytes");
            }
        }
    }

    private int IndexInBlock(long cluster) => (int)(cluster & (ClustersPerBlock - 1));
}
