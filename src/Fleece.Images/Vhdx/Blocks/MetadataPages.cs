// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx.Blocks;

/// <summary>The pages of the BAT and of the sector bitmaps, loaded when they are first used.</summary>
/// <remarks>
/// <para>A page that is dropped and read again is another object with the same content.</para>
/// <para>Threading. <see cref="Find"/> from any thread; the rest under <see cref="Sync"/>.</para>
/// </remarks>
internal sealed class MetadataPages
{
    // A page, its object, and its place in the tables around it.
    private const int CostBytes = VhdxFormat.PageBytes + 200;

    private readonly IContainerFile _view;
    private readonly ImageJournal? _journal;

    /// <param name="view">The file, with its log replayed.</param>
    /// <param name="cacheBytes">Memory for pages.</param>
    /// <param name="pageCount">Pages that the image has.</param>
    /// <param name="dirtyLimit">As <see cref="ClockCache{T}"/> takes it.</param>
    /// <param name="journal">Gets the changes; null for none.</param>
    public MetadataPages(IContainerFile view, long cacheBytes, long pageCount, int dirtyLimit, ImageJournal? journal)
    {
        _view = view;
        _journal = journal;
        long room = Math.Max(VhdxLimits.MinCachedPages, cacheBytes / CostBytes);
        Cache = new ClockCache<MetadataPage>((int)Math.Min(pageCount, room), dirtyLimit);
    }

    /// <summary>The metadata lock. Short: loading a page, changes, growing the file.</summary>
    public Lock Sync { get; } = new();

    /// <summary>The pages in memory.</summary>
    public ClockCache<MetadataPage> Cache { get; }

    /// <summary>The page that holds a byte of the file.</summary>
    public MetadataPage Find(long offsetBytes)
    {
        if (Cache.TryFind(offsetBytes / VhdxFormat.PageBytes, out _) is { } page)
        {
            return page;
        }

        lock (Sync)
        {
            return FindLocked(offsetBytes);
        }
    }

    /// <summary>True when so much has changed that one more change may find no room in a commit, or in the journal. Any thread.</summary>
    public bool AreFullOfChanges => Cache.IsFullOfChanges || _journal is { HasRoom: false };

    /// <summary>True when a write-back is due. Any thread.</summary>
    public bool NeedWriteBack => Cache.IsFullOfChanges || _journal is { IsDue: true };

    /// <summary>Changes a word of a page, which the journal has before any request sees it.</summary>
    public void Set(MetadataPage page, int index, ulong word)
    {
        if (_journal is not null)
        {
            Span<byte> before = stackalloc byte[sizeof(ulong)];
            Span<byte> now = stackalloc byte[sizeof(ulong)];
            BinaryPrimitives.WriteUInt64LittleEndian(before, page[index]);
            BinaryPrimitives.WriteUInt64LittleEndian(now, word);
            _journal.Note(0, page.OffsetBytes + (index * sizeof(ulong)), before, now);
            _journal.Commit();
        }

        page[index] = word;
        Cache.MarkDirty(page);
    }

    /// <summary>As <see cref="Find"/>, for a change: the page stays what the file will have while the lock is held.</summary>
    public MetadataPage FindLocked(long offsetBytes)
    {
        long index = offsetBytes / VhdxFormat.PageBytes;
        if (Cache.TryFind(index, out _) is { } page)
        {
            return page;
        }

        _ = Cache.TryEvict();
        page = new MetadataPage();
        page.BeginFilling(index);
        _view.Read(page.OffsetBytes, page.Bytes);
        Cache.Add(page);
        return page;
    }
}
