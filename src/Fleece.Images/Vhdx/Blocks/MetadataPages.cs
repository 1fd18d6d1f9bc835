// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>A page of 4 KiB of the BAT or of a sector bitmap: what the log changes at once.</summary>
/// <remarks>Threading. Words are read by any thread without a lock; they are changed under the metadata lock.</remarks>
internal sealed class MetadataPage(long offsetBytes)
{
    public const int WordCount = VhdxFormat.PageBytes / sizeof(ulong);

    private readonly ulong[] _words = new ulong[WordCount];

    public long OffsetBytes => offsetBytes;

    /// <summary>True when the log does not have the page's content.</summary>
    public bool IsDirty { get; set; }

    /// <summary>True while a commit takes the page to its place in the file.</summary>
    public bool IsBeingWritten { get; set; }

    /// <summary>True when it was used since the cache last looked for pages to drop.</summary>
    public bool IsRecentlyUsed { get; set; }

    public Span<byte> Bytes => MemoryMarshal.AsBytes(_words.AsSpan());

    /// <summary>A word as the file has it: little-endian.</summary>
    public ulong this[int index]
    {
        get => Swap(Volatile.Read(ref _words[index]));
        set => Volatile.Write(ref _words[index], Swap(value));
    }

    private static ulong Swap(ulong word) => BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);
}

/// <summary>The pages of the BAT and of the sector bitmaps that are in memory, and which of them have changed.</summary>
/// <remarks>
/// <para>A page that is dropped and read again is another object with the same content; a request that still holds the first
/// sees the state before a change that runs at the same time, and <see cref="Epochs"/> protects the blocks it finds there.</para>
/// <para>Threading. <see cref="Find"/> from any thread; the rest under <see cref="Sync"/>.</para>
/// </remarks>
internal sealed class MetadataPages(IContainerFile view, long cacheBytes)
{
    // A page, its object, and its place in the tables around it.
    private const int CostBytes = VhdxFormat.PageBytes + 200;

    private readonly ConcurrentDictionary<long, MetadataPage> _pages = new();
    private readonly Queue<MetadataPage> _byAge = new();
    private readonly long _mostPages = Math.Max(VhdxLimits.MinCachedPages, cacheBytes / CostBytes);

    /// <summary>The metadata lock. Short: loading a page, changes, growing the file.</summary>
    public Lock Sync { get; } = new();

    /// <summary>Pages that have changed since the last commit took them.</summary>
    public List<MetadataPage> Dirty { get; } = [];

    /// <summary>Pages in memory.</summary>
    public int Count => _pages.Count;

    /// <summary>The page that holds a byte of the file.</summary>
    public MetadataPage Find(long offsetBytes)
    {
        if (_pages.TryGetValue(offsetBytes / VhdxFormat.PageBytes, out MetadataPage? page))
        {
            if (!page.IsRecentlyUsed)
            {
                page.IsRecentlyUsed = true;
            }

            return page;
        }

        lock (Sync)
        {
            return FindLocked(offsetBytes);
        }
    }

    /// <summary>As <see cref="Find"/>, for a change: the page stays what the file will have while the lock is held.</summary>
    public MetadataPage FindLocked(long offsetBytes)
    {
        long index = offsetBytes / VhdxFormat.PageBytes;
        if (_pages.TryGetValue(index, out MetadataPage? page))
        {
            return page;
        }

        MakeRoom();
        page = new MetadataPage(index * VhdxFormat.PageBytes);
        view.Read(page.OffsetBytes, page.Bytes);
        _pages[index] = page;
        _byAge.Enqueue(page);
        return page;
    }

    public void MarkDirty(MetadataPage page)
    {
        if (!page.IsDirty)
        {
            page.IsDirty = true;
            Dirty.Add(page);
        }
    }

    private void MakeRoom()
    {
        for (int looks = _byAge.Count; looks > 0 && _pages.Count >= _mostPages; looks--)
        {
            MetadataPage page = _byAge.Dequeue();
            if (page.IsDirty || page.IsBeingWritten || page.IsRecentlyUsed)
            {
                page.IsRecentlyUsed = false;
                _byAge.Enqueue(page);
            }
            else
            {
                _pages.TryRemove(page.OffsetBytes / VhdxFormat.PageBytes, out _);
            }
        }

        // When everything was used lately, the oldest that may go goes.
        for (int looks = _byAge.Count; looks > 0 && _pages.Count >= _mostPages; looks--)
        {
            MetadataPage page = _byAge.Dequeue();
            if (page.IsDirty || page.IsBeingWritten)
            {
                _byAge.Enqueue(page);
            }
            else
            {
                _pages.TryRemove(page.OffsetBytes / VhdxFormat.PageBytes, out _);
            }
        }
    }
}
