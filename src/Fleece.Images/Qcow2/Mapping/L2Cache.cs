// SPDX-License-Identifier: MIT
using System.Numerics;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Mapping;

/// <summary>The slices of L2 tables in memory, found by guest cluster without a lock.</summary>
/// <remarks>
/// <para>Slices, not tables, because requests all over a large disk use one entry of each table: a table is a cluster, and
/// loading that much for eight bytes costs more than the request itself.</para>
/// <para>Threading. <see cref="TryFind"/> from any thread; the rest under the metadata lock.</para>
/// <para>A request may still use a slice that has been evicted, until <see cref="L2Slice.IsStill"/> tells it that the object
/// has been filled anew. So it sees the mappings of a moment within its own duration, and <see cref="Epochs"/> keeps the
/// clusters behind them from being used again meanwhile. Changes look the slice up under the lock and so never reach an
/// evicted one.</para>
/// <para>Buckets are chains. A search that is led into another chain, because an object it stands on is filled anew, finds
/// nothing; the caller then searches under the lock.</para>
/// </remarks>
internal sealed class L2Cache
{
    private readonly L2Slice?[] _buckets;
    private readonly int _bucketShift;
    private readonly List<L2Slice> _resident = [];
    private readonly int _entriesPerSlice;
    private readonly bool _isExtended;
    private readonly int _capacity;
    private readonly int _dirtyLimit;
    private readonly List<L2Slice> _dirty = [];
    private int _hand;
    private int _dirtyCount;

    /// <param name="header">Tells how large slices are.</param>
    /// <param name="cacheBytes">Bound on all slices together.</param>
    public L2Cache(Qcow2Header header, long cacheBytes)
    {
        _entriesPerSlice = 1 << header.L2SliceEntryBits;
        _isExtended = header.IsExtended;
        long tables = header.L1Entries;
        long slices = tables << (header.L2EntryBits - header.L2SliceEntryBits);
        long room = Math.Clamp(cacheBytes >> header.L2SliceBits, Qcow2Limits.MinCachedTables, Qcow2Limits.MaxCachedSlices);
        _capacity = (int)Math.Clamp(slices, Qcow2Limits.MinCachedTables, room);

        // A part of the room, not of what the disk can fill of it: a small disk has few slices, each of which soon has a change, and a
        // write-back makes its writer wait for flushes.
        _dirtyLimit = (int)Math.Max(1, room / Qcow2Limits.DirtyShareOfCache);
        uint buckets = BitOperations.RoundUpToPowerOf2((uint)_capacity);
        _buckets = new L2Slice?[buckets];
        _bucketShift = 64 - BitOperations.Log2(buckets);
    }

    /// <summary>True when so many slices have changed that they should be written back. Any thread.</summary>
    public bool IsFullOfChanges => Volatile.Read(ref _dirtyCount) >= _dirtyLimit;

    /// <summary>Slices in memory, for tests of the bound.</summary>
    public int ResidentCount => _resident.Count;

    public int Capacity => _capacity;

    /// <summary>Slices with changes that have not been captured for writing, in the order of their first
    /// change.</summary>
    public List<L2Slice> Dirty => _dirty;

    /// <summary>The slice that begins with a guest cluster, if it is in memory.</summary>
    /// <param name="firstCluster">The guest cluster.</param>
    /// <param name="filling">What to ask <see cref="L2Slice.IsStill"/> with when the slice has been read.</param>
    public L2Slice? TryFind(long firstCluster, out int filling)
    {
        L2Slice? slice = Volatile.Read(ref Bucket(firstCluster));
        while (slice is not null)
        {
            if (slice.IsOf(firstCluster, out filling))
            {
                if (!slice.IsReferenced)
                {
                    // Written only when it changes, so that readers on several processors share the line.
                    slice.IsReferenced = true;
                }

                return slice;
            }

            slice = Volatile.Read(ref slice.Next);
        }

        filling = 0;
        return null;
    }

    /// <summary>An object for a slice that is not in memory, which nobody finds before <see cref="Add"/>: an evicted one
    /// when the cache is full.</summary>
    public L2Slice Take(long firstCluster)
    {
        L2Slice slice = (_resident.Count >= _capacity ? EvictOne() : null) ?? new L2Slice(_entriesPerSlice, _isExtended);
        slice.BeginFilling(firstCluster);
        return slice;
    }

    /// <summary>Lets a slice be found that has been filled.</summary>
    public void Add(L2Slice slice)
    {
        slice.EndFilling();
        _resident.Add(slice);
        ref L2Slice? bucket = ref Bucket(slice.FirstCluster);
        Volatile.Write(ref slice.Next, bucket);
        Volatile.Write(ref bucket, slice);
    }

    /// <summary>Changes an entry.</summary>
    public void Set(L2Slice slice, int index, L2Descriptor descriptor)
    {
        if (!slice.IsDirty)
        {
            _dirty.Add(slice);
            Volatile.Write(ref _dirtyCount, _dirty.Count);
        }

        slice.Set(index, descriptor);
    }

    /// <summary>Takes the changes of all slices as captured.</summary>
    public void MarkAllClean()
    {
        foreach (L2Slice slice in _dirty)
        {
            slice.MarkClean();
        }

        _dirty.Clear();
        Volatile.Write(ref _dirtyCount, 0);
    }

    // Changed slices are never evicted: writing one needs flushes before it, which the write-back does outside the
    // lock. Their number is limited, so that a clean one is found; if not, the cache is one slice larger.
    private L2Slice? EvictOne()
    {
        for (int step = 0; step < 2 * _resident.Count; step++)
        {
            _hand = _hand + 1 < _resident.Count ? _hand + 1 : 0;
            L2Slice slice = _resident[_hand];
            if (slice.IsDirty || slice.IsBeingWritten)
            {
                continue;
            }

            if (slice.IsReferenced)
            {
                slice.IsReferenced = false;
                continue;
            }

            Unlink(slice);
            _resident[_hand] = _resident[^1];
            _resident.RemoveAt(_resident.Count - 1);
            return slice;
        }

        return null;
    }

    private void Unlink(L2Slice slice)
    {
        ref L2Slice? link = ref Bucket(slice.FirstCluster);
        while (link != slice)
        {
            link = ref link!.Next;
        }

        Volatile.Write(ref link, slice.Next);
    }

    // Multiplied by 2^64 divided by the golden ratio, so that equal strides over the disk spread over the buckets.
    private ref L2Slice? Bucket(long firstCluster)
    {
        ulong hash = ((ulong)firstCluster / (uint)_entriesPerSlice) * 0x9e37_79b9_7f4a_7c15;
        return ref _buckets[_bucketShift == 64 ? 0 : hash >> _bucketShift];
    }
}
