// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;

namespace Fleece.Images.Vhd;

/// <summary>The sector bitmaps in memory, found by block without a lock.</summary>
/// <remarks>
/// <para>Threading. <see cref="TryFind"/> from any thread; the rest under the metadata lock.</para>
/// <para>A request may still read a bitmap that has been evicted. It then sees the bits of a moment within its own duration.
/// Bits are set through a look-up under the lock and so never reach an evicted one.</para>
/// </remarks>
internal sealed class SectorBitmapCache
{
    private readonly ConcurrentDictionary<int, SectorBitmap> _byBlock = new();
    private readonly List<SectorBitmap> _resident = [];
    private readonly List<SectorBitmap> _dirty = [];
    private readonly int _dirtyLimit;
    private int _dirtyCount;
    private int _hand;

    public SectorBitmapCache(int bitmapBytes, long cacheBytes)
    {
        Capacity = (int)Math.Clamp(cacheBytes / bitmapBytes, VhdLimits.MinCachedBitmaps, int.MaxValue);
        _dirtyLimit = Math.Max(1, Capacity / VhdLimits.DirtyShareOfCache);
    }

    public int Capacity { get; }

    /// <summary>Bitmaps in memory, for tests of the bound.</summary>
    public int ResidentCount => _resident.Count;

    /// <summary>True when so many bitmaps have changed that they should be written back. Any thread.</summary>
    public bool IsFullOfChanges => Volatile.Read(ref _dirtyCount) >= _dirtyLimit;

    /// <summary>Bitmaps with bits that no write-back has captured.</summary>
    public IReadOnlyList<SectorBitmap> Dirty => _dirty;

    public SectorBitmap? TryFind(int block)
    {
        if (!_byBlock.TryGetValue(block, out SectorBitmap? bitmap))
        {
            return null;
        }

        if (!bitmap.IsReferenced)
        {
            // Written only when it changes, so that readers on several processors share the line.
            bitmap.IsReferenced = true;
        }

        return bitmap;
    }

    public void Add(SectorBitmap bitmap)
    {
        while (_resident.Count >= Capacity && TryEvictOne())
        {
        }

        bitmap.IsReferenced = true;
        _resident.Add(bitmap);
        _byBlock[bitmap.Block] = bitmap;
    }

    public void MarkDirty(SectorBitmap bitmap)
    {
        if (!bitmap.IsDirty)
        {
            bitmap.IsDirty = true;
            _dirty.Add(bitmap);
            Volatile.Write(ref _dirtyCount, _dirty.Count);
        }
    }

    /// <summary>Takes the changes of all bitmaps as captured.</summary>
    public void MarkAllClean()
    {
        foreach (SectorBitmap bitmap in _dirty)
        {
            bitmap.IsDirty = false;
        }

        _dirty.Clear();
        Volatile.Write(ref _dirtyCount, 0);
    }

    // Changed bitmaps are never evicted: one may only be written behind a flush, which the write-back does outside the lock.
    // Their number is limited, so that a clean one is found; if not, the cache is larger for a while.
    private bool TryEvictOne()
    {
        for (int step = 0; step < 2 * _resident.Count; step++)
        {
            _hand = _hand + 1 < _resident.Count ? _hand + 1 : 0;
            SectorBitmap bitmap = _resident[_hand];
            if (bitmap.IsDirty || bitmap.IsNew || bitmap.IsBeingWritten)
            {
                continue;
            }

            if (bitmap.IsReferenced)
            {
                bitmap.IsReferenced = false;
                continue;
            }

            _ = _byBlock.TryRemove(bitmap.Block, out _);
            _resident[_hand] = _resident[^1];
            _resident.RemoveAt(_resident.Count - 1);
            return true;
        }

        return false;
    }
}
