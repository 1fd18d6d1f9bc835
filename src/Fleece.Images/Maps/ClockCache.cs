// SPDX-License-Identifier: MIT
using System.Numerics;

namespace Fleece.Images.Maps;

/// <summary>The pieces of an image's tables that are in memory, found by key without a lock, and which of them have changed.</summary>
/// <remarks>
/// <para>Threading. <see cref="TryFind"/> and <see cref="IsFullOfChanges"/> from any thread; the rest under the metadata lock.</para>
/// <para>A request may still use an entry that has been evicted. It sees the tables of a moment within its own duration, and
/// <see cref="Container.Epochs"/> keeps the places behind them from being used again meanwhile. Changes look the entry up under the lock
/// and so never reach an evicted one.</para>
/// <para>Buckets are chains. A search that is led into another chain, because an object it stands on is filled anew, finds nothing; the
/// caller then searches under the lock.</para>
/// <para>Changed entries are never evicted: writing one needs flushes before it, which the write-back does outside the lock. Their number
/// is limited, so that a clean one is found; if not, the cache is larger for a while.</para>
/// </remarks>
/// <typeparam name="T">The pieces.</typeparam>
internal sealed class ClockCache<T>
    where T : ClockEntry
{
    private readonly ClockEntry?[] _buckets;
    private readonly int _bucketShift;
    private readonly List<T> _resident = [];
    private readonly List<T> _dirty = [];
    private readonly List<T> _captured = [];
    private readonly int _dirtyLimit;
    private int _dirtyCount;
    private int _hand;

    /// <param name="capacity">Most entries in memory, as long as one can be evicted; at least 1.</param>
    /// <param name="dirtyLimit">Changed entries that make a write-back due; at least 1.</param>
    public ClockCache(int capacity, int dirtyLimit)
    {
        Capacity = capacity;
        _dirtyLimit = dirtyLimit;
        uint buckets = BitOperations.RoundUpToPowerOf2((uint)capacity);
        _buckets = new ClockEntry?[buckets];
        _bucketShift = 64 - BitOperations.Log2(buckets);
    }

    public int Capacity { get; }

    /// <summary>Entries in memory, in no order.</summary>
    public IReadOnlyList<T> Resident => _resident;

    /// <summary>True when so many entries have changed that they should be written back. Any thread.</summary>
    public bool IsFullOfChanges => Volatile.Read(ref _dirtyCount) >= _dirtyLimit;

    /// <summary>Entries with changes that no write-back has captured, in the order of their first change.</summary>
    public List<T> Dirty => _dirty;

    /// <summary>Entries whose changes the running write-back has captured.</summary>
    public List<T> Captured => _captured;

    /// <summary>The entry of a key, if it is in memory.</summary>
    /// <param name="key">The key.</param>
    /// <param name="filling">To be given to <see cref="ClockEntry.IsStill"/> when the entry has been read, where objects are filled
    /// anew.</param>
    public T? TryFind(long key, out int filling)
    {
        ClockEntry? entry = Volatile.Read(ref Bucket(key));
        while (entry is not null)
        {
            if (entry.IsOf(key, out filling))
            {
                if (!entry.IsReferenced)
                {
                    // Written only when it changes, so that readers on several processors share the line.
                    entry.IsReferenced = true;
                }

                return (T)entry;
            }

            entry = Volatile.Read(ref entry.Next);
        }

        filling = 0;
        return null;
    }

    /// <summary>Takes an entry out when the cache is full, for its object to be filled anew or forgotten; null when there is room, or no
    /// entry may go.</summary>
    public T? TryEvict()
    {
        if (_resident.Count < Capacity)
        {
            return null;
        }

        for (int step = 0; step < 2 * _resident.Count; step++)
        {
            _hand = _hand + 1 < _resident.Count ? _hand + 1 : 0;
            T entry = _resident[_hand];
            if (entry.IsDirty || entry.IsBeingWritten || entry.IsHeld)
            {
                continue;
            }

            if (entry.IsReferenced)
            {
                entry.IsReferenced = false;
                continue;
            }

            Unlink(entry);
            _resident[_hand] = _resident[^1];
            _resident.RemoveAt(_resident.Count - 1);
            return entry;
        }

        return null;
    }

    /// <summary>Lets an entry be found whose content is complete.</summary>
    /// <param name="entry">Between <see cref="ClockEntry.BeginFilling"/> and <see cref="ClockEntry.EndFilling"/>, which this calls.</param>
    public void Add(T entry)
    {
        entry.EndFilling();
        _resident.Add(entry);
        ref ClockEntry? bucket = ref Bucket(entry.Key);
        Volatile.Write(ref entry.Next, bucket);
        Volatile.Write(ref bucket, entry);
    }

    /// <summary>Notes that an entry has changed.</summary>
    public void MarkDirty(T entry)
    {
        if (!entry.IsDirty)
        {
            entry.IsDirty = true;
            _dirty.Add(entry);
            Volatile.Write(ref _dirtyCount, _dirty.Count);
        }
    }

    /// <summary>Takes the changes of all entries as captured; the entries stay in memory until <see cref="EndWriteBack"/>.</summary>
    public void BeginWriteBack()
    {
        foreach (T entry in _dirty)
        {
            entry.IsBeingWritten = true;
        }

        _captured.AddRange(_dirty);
        MarkAllClean();
    }

    /// <summary>Hears that what was captured is on the disk.</summary>
    public void EndWriteBack()
    {
        foreach (T entry in _captured)
        {
            entry.IsBeingWritten = false;
        }

        _captured.Clear();
    }

    /// <summary>Takes the changes of all entries as written.</summary>
    public void MarkAllClean()
    {
        foreach (T entry in _dirty)
        {
            entry.MarkClean();
        }

        _dirty.Clear();
        Volatile.Write(ref _dirtyCount, 0);
    }

    private void Unlink(T entry)
    {
        ref ClockEntry? link = ref Bucket(entry.Key);
        while (link != entry)
        {
            link = ref link!.Next;
        }

        Volatile.Write(ref link, entry.Next);
    }

    // Multiplied by 2^64 divided by the golden ratio, so that equal strides over the disk spread over the buckets.
    private ref ClockEntry? Bucket(long key)
    {
        ulong hash = (ulong)key * 0x9e37_79b9_7f4a_7c15;
        return ref _buckets[_bucketShift == 64 ? 0 : hash >> _bucketShift];
    }
}
