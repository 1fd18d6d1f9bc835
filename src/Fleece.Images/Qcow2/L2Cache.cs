// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2;

/// <summary>The L2 tables in memory, found by L1 index without a lock.</summary>
/// <remarks>
/// <para>Threading. <see cref="TryFind"/> from any thread; the rest under the metadata lock.</para>
/// <para>A request may still use a table that has been evicted. It then sees the mappings of a moment within its own
/// duration, and <see cref="Epochs"/> keeps the clusters behind them from being used again meanwhile. Changes look the
/// table up under the lock and so never reach an evicted one.</para>
/// </remarks>
internal sealed class L2Cache
{
    private readonly L2Table?[] _byL1Index;
    private readonly List<L2Table> _resident = [];
    private readonly int _capacity;
    private readonly int _dirtyLimit;
    private readonly List<L2Table> _dirty = [];
    private int _hand;
    private int _dirtyCount;

    public L2Cache(int l1Entries, int clusterBytes, long cacheBytes)
    {
        _byL1Index = new L2Table?[l1Entries];
        _capacity = (int)Math.Clamp(cacheBytes / clusterBytes, Qcow2Limits.MinCachedTables, int.MaxValue);
        _dirtyLimit = Math.Max(1, _capacity / Qcow2Limits.DirtyShareOfCache);
    }

    /// <summary>True when so many tables have changed that they should be written back. Any thread.</summary>
    public bool IsFullOfChanges => Volatile.Read(ref _dirtyCount) >= _dirtyLimit;

    /// <summary>Tables in memory, for tests of the bound.</summary>
    public int ResidentCount => _resident.Count;

    public int Capacity => _capacity;

    /// <summary>Tables with changes that have not been captured for writing, in the order of their first
    /// change.</summary>
    public List<L2Table> Dirty => _dirty;

    public L2Table? TryFind(int l1Index)
    {
        L2Table? table = Volatile.Read(ref _byL1Index[l1Index]);
        if (table is not null && !table.IsReferenced)
        {
            // Written only when it changes, so that readers on several processors share the line.
            table.IsReferenced = true;
        }

        return table;
    }

    public void Add(L2Table table)
    {
        if (_resident.Count >= _capacity)
        {
            EvictOne();
        }

        table.IsReferenced = true;
        _resident.Add(table);
        Volatile.Write(ref _byL1Index[table.L1Index], table);
    }

    /// <summary>Puts a table's copy in its place, as wholly changed. Whoever still reads the old one sees the same
    /// mappings.</summary>
    public void Replace(L2Table old, L2Table copy)
    {
        copy.IsReferenced = true;
        copy.DirtyStart = 0;
        copy.DirtyEnd = copy.Count;
        NoteDirty(copy);
        _resident[_resident.IndexOf(old)] = copy;
        Volatile.Write(ref _byL1Index[copy.L1Index], copy);
    }

    /// <summary>Changes an entry.</summary>
    public void Set(L2Table table, int index, L2Descriptor descriptor)
    {
        if (!table.IsDirty)
        {
            NoteDirty(table);
        }

        table.Set(index, descriptor);
    }

    /// <summary>Takes the changes of all tables as captured.</summary>
    public void MarkAllClean()
    {
        foreach (L2Table table in _dirty)
        {
            table.MarkClean();
        }

        _dirty.Clear();
        Volatile.Write(ref _dirtyCount, 0);
    }

    private void NoteDirty(L2Table table)
    {
        _dirty.Add(table);
        Volatile.Write(ref _dirtyCount, _dirty.Count);
    }

    // Changed tables are never evicted: writing one needs flushes before it, which the write-back does outside the
    // lock. Their number is limited, so that a clean one is found; if not, the cache is one table larger for a while.
    private void EvictOne()
    {
        for (int step = 0; step < 2 * _resident.Count; step++)
        {
            _hand = _hand + 1 < _resident.Count ? _hand + 1 : 0;
            L2Table table = _resident[_hand];
            if (table.IsDirty || table.IsNew || table.IsBeingWritten)
            {
                continue;
            }

            if (table.IsReferenced)
            {
                table.IsReferenced = false;
                continue;
            }

            Volatile.Write(ref _byL1Index[table.L1Index], null);
            _resident[_hand] = _resident[^1];
            _resident.RemoveAt(_resident.Count - 1);
            return;
        }
    }
}
