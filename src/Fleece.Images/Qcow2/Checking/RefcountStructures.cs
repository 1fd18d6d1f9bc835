// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Refcounts;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>The refcount table and blocks as the file has them, believed as far as they are sound.</summary>
/// <remarks>Layout: qcow2.txt, "Host cluster management". Threading. One thread.</remarks>
internal sealed class RefcountStructures
{
    private const int CachedBlocks = 32;
    private const ulong ReservedMask = 0x1ff;

    private readonly IContainerFile _file;
    private readonly CheckedHeader _header;
    private readonly RefcountBlock?[] _cache = new RefcountBlock?[CachedBlocks];
    private readonly ulong[] _table = [];

    /// <summary>Reads the table.</summary>
    public RefcountStructures(IContainerFile file, CheckedHeader header, CheckLog log)
    {
        _file = file;
        _header = header;
        ulong lengthBytes = (ulong)header.RefcountTableClusters << header.ClusterBits;
        if (header.RefcountTableOffsetBytes == 0
            || lengthBytes == 0
            || lengthBytes > Math.Max(Qcow2Limits.MaxRefcountTableBytes, (ulong)header.ClusterBytes)
            || !header.IsWithinFile(header.RefcountTableOffsetBytes, lengthBytes))
        {
            MustRebuild = true;
            log.Add(
                FindingCause.Refcount,
                $"The header's refcount_table_offset is {header.RefcountTableOffsetBytes} for {header.RefcountTableClusters} " +
                $"clusters, which is no place in the file of {header.FileLengthBytes} bytes",
                Qcow2Header.RefcountTableOffsetField);
            return;
        }

        _table = TableWords.Read(file, (long)header.RefcountTableOffsetBytes, (long)(lengthBytes / sizeof(ulong)));
        for (int i = 0; i < _table.Length; i++)
        {
            _table[i] = Judge(i, _table[i], log);
        }
    }

    /// <summary>True when the structures can't be mended where they are.</summary>
    public bool MustRebuild { get; private set; }

    /// <summary>Clusters one block counts.</summary>
    public int ClustersPerBlock => ClustersPerBlockOf(_header);

    public static int ClustersPerBlockOf(CheckedHeader header) => 1 << (header.ClusterBits + 3 - header.RefcountOrder);

    public static ulong LargestRefcount(CheckedHeader header) =>
        header.RefcountOrder == Qcow2Limits.MaxRefcountOrder ? ulong.MaxValue : (1UL << (1 << header.RefcountOrder)) - 1;

    /// <summary>The refcount of a cluster; 0 where no sound block counts it.</summary>
    public ulong this[long cluster] => HasBlock(cluster)
        ? Find((int)(cluster / ClustersPerBlock)).Get((int)(cluster % ClustersPerBlock))
        : 0;

    /// <summary>Counts the structures' own clusters.</summary>
    public void CountInto(ReferenceCounts counts)
    {
        if (_table.Length == 0)
        {
            return;
        }

        for (uint i = 0; i < _header.RefcountTableClusters; i++)
        {
            counts.Add((long)(_header.RefcountTableOffsetBytes >> _header.ClusterBits) + i, 1);
        }

        foreach (ulong offset in _table)
        {
            if (offset != 0)
            {
                counts.Add((long)(offset >> _header.ClusterBits), 1);
            }
        }
    }

    /// <summary>Finds structures that share clusters with each other or with anything else.</summary>
    public void FindShared(ReferenceCounts all, CheckLog log)
    {
        for (uint i = 0; _table.Length != 0 && i < _header.RefcountTableClusters; i++)
        {
            FindShared(all, log, "the refcount table", (long)(_header.RefcountTableOffsetBytes >> _header.ClusterBits) + i);
        }

        for (int i = 0; i < _table.Length; i++)
        {
            if (_table[i] != 0)
            {
                FindShared(all, log, $"refcount block {i}", (long)(_table[i] >> _header.ClusterBits));
            }
        }
    }

    /// <summary>Compares the refcounts with what was counted.</summary>
    public void Compare(ReferenceCounts all, CheckLog log, CancellationToken cancellationToken)
    {
        for (int table = 0; table < _table.Length; table++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            long first = (long)table * ClustersPerBlock;
            int count = (int)Math.Clamp(_header.FileClusters - first, 0, ClustersPerBlock);
            RefcountBlock? block = _table[table] == 0 || count == 0 ? null : Find(table);
            for (int i = 0; block is not null && i < count; i++)
            {
                ulong refcount = block.Get(i);
                uint uses = all[first + i];
                if (refcount != uses)
                {
                    Report(log, first + i, refcount, uses);
                }
            }
        }

        foreach ((long cluster, uint uses) in all.Used())
        {
            if (!HasBlock(cluster))
            {
                MustRebuild = true;
                Report(log, cluster, 0, uses);
            }
        }
    }

    /// <summary>Sets the refcounts that differ from what was counted; the structures are sound.</summary>
    /// <param name="all">What was counted.</param>
    /// <param name="isLoweringOnly">True to leave refcounts alone that are too low.</param>
    public void Correct(ReferenceCounts all, bool isLoweringOnly)
    {
        ulong largest = LargestRefcount(_header);
        for (int table = 0; table < _table.Length; table++)
        {
            long first = (long)table * ClustersPerBlock;
            if (_table[table] == 0 || first >= _header.FileClusters)
            {
                continue;
            }

            RefcountBlock block = Find(table);
            for (int i = 0; i < ClustersPerBlock; i++)
            {
                ulong refcount = block.Get(i);
                ulong uses = Math.Min(largest, all[first + i]);
                if (uses < refcount || (uses > refcount && !isLoweringOnly))
                {
                    block.Set(i, uses);
                }
            }

            if (block.HasChanged)
            {
                _file.Write(block.ChangedOffsetBytes, block.ChangedBytes);
                block.MarkClean();
            }
        }
    }

    private ulong Judge(int index, ulong entry, CheckLog log)
    {
        string? fault = (entry & ReservedMask) != 0 ? "has reserved bits"
            : entry != 0 && !_header.IsWithinFile(entry, 1) ? $"is no cluster of the file of {_header.FileLengthBytes} bytes"
            : null;
        if (fault is null)
        {
            return entry;
        }

        MustRebuild = true;
        log.Add(
            FindingCause.Refcount,
            $"Refcount table entry {index} is 0x{entry:x16}, which {fault}",
            (long)_header.RefcountTableOffsetBytes + ((long)index * sizeof(ulong)));
        return 0;
    }

    private void FindShared(ReferenceCounts all, CheckLog log, string what, long cluster)
    {
        if (all[cluster] != 1)
        {
            MustRebuild = true;
            log.Add(
                FindingCause.Refcount,
                $"The cluster at file offset {cluster << _header.ClusterBits} holds {what} and is used {all[cluster]} times",
                cluster << _header.ClusterBits);
        }
    }

    private void Report(CheckLog log, long cluster, ulong refcount, uint uses)
    {
        if (uses == 0)
        {
            log.UnusedClusters++;
        }

        log.Add(
            uses < refcount ? FindingCause.Leak : FindingCause.Refcount,
            $"The cluster at file offset {cluster << _header.ClusterBits} has refcount {refcount} and is used {uses} times",
            cluster << _header.ClusterBits);
    }

    private bool HasBlock(long cluster) => cluster / ClustersPerBlock < _table.Length && _table[cluster / ClustersPerBlock] != 0;

    private RefcountBlock Find(int tableIndex)
    {
        ref RefcountBlock? block = ref _cache[tableIndex % CachedBlocks];
        if (block?.TableIndex != tableIndex)
        {
            block = new RefcountBlock(tableIndex, (long)_table[tableIndex], _header.ClusterBytes, _header.RefcountOrder);
            _file.Read(block.HostOffsetBytes, block.Bytes);
        }

        return block;
    }
}
