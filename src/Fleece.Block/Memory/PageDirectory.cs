// SPDX-License-Identifier: MIT
namespace Fleece.Block.Memory;

/// <summary>Finds the pages of a sparse disk by number; what was never stored takes no memory.</summary>
/// <remarks>
/// <para>A tree of fixed depth: a root over branches, branches over leaves, leaves over pages. Only the root is made up
/// front, with one entry for every 16 TiB, so that a disk of 2^62 bytes starts with 2 MiB and one of 64 TiB with
/// next to nothing. Branches and leaves stay once made; pages come and go.</para>
/// <para>Threading. Every entry is set by compare-and-swap, so all members are safe from any thread and none waits.
/// A page that has been removed may still be written by an operation that found it earlier: that operation overlaps the
/// removal, and so its bytes may be lost. Pages are never reused, so they end up nowhere else.</para>
/// </remarks>
internal sealed class PageDirectory
{
    /// <summary>Bytes in one page.</summary>
    public const int PageBytes = 64 * 1024;

    private const int PagesPerLeafBits = 13;
    private const int LeavesPerBranchBits = 15;
    private const int PagesPerBranchBits = PagesPerLeafBits + LeavesPerBranchBits;

    private readonly byte[]?[]?[]?[] _root;
    private readonly long _pageCount;
    private long _storedPageCount;

    /// <summary>Makes an empty directory.</summary>
    public PageDirectory(long pageCount)
    {
        _pageCount = pageCount;
        _root = new byte[]?[]?[]?[EntriesFor(pageCount, PagesPerBranchBits)];
    }

    /// <summary>Number of pages that are stored.</summary>
    public long StoredPageCount => Volatile.Read(ref _storedPageCount);

    /// <summary>The page, or null when it is not stored.</summary>
    public byte[]? Find(long pageIndex)
    {
        byte[]?[]?[]? branch = Volatile.Read(ref _root[pageIndex >> PagesPerBranchBits]);
        byte[]?[]? leaf = branch is null ? null : Volatile.Read(ref branch[LeafIndexOf(pageIndex)]);
        return leaf is null ? null : Volatile.Read(ref leaf[EntryIndexOf(pageIndex)]);
    }

    /// <summary>The page, made of zeros when it was not stored.</summary>
    public byte[] FindOrAdd(long pageIndex) => Find(pageIndex) ?? Add(pageIndex);

    /// <summary>Removes a page. True when it was stored.</summary>
    public bool Remove(long pageIndex)
    {
        byte[]?[]?[]? branch = Volatile.Read(ref _root[pageIndex >> PagesPerBranchBits]);
        byte[]?[]? leaf = branch is null ? null : Volatile.Read(ref branch[LeafIndexOf(pageIndex)]);
        if (leaf is null || Interlocked.Exchange(ref leaf[EntryIndexOf(pageIndex)], null) is null)
        {
            return false;
        }

        Interlocked.Decrement(ref _storedPageCount);
        return true;
    }

    /// <summary>The first stored page from the first index to before the end; the end when there is none.</summary>
    public long FindStored(long firstPageIndex, long endPageIndex)
    {
        long pageIndex = firstPageIndex;
        while (pageIndex < endPageIndex)
        {
            byte[]?[]?[]? branch = Volatile.Read(ref _root[pageIndex >> PagesPerBranchBits]);
            if (branch is null)
            {
                pageIndex = ((pageIndex >> PagesPerBranchBits) + 1) << PagesPerBranchBits;
                continue;
            }

            byte[]?[]? leaf = Volatile.Read(ref branch[LeafIndexOf(pageIndex)]);
            if (leaf is null)
            {
                pageIndex = ((pageIndex >> PagesPerLeafBits) + 1) << PagesPerLeafBits;
                continue;
            }

            if (Volatile.Read(ref leaf[EntryIndexOf(pageIndex)]) is not null)
            {
                return pageIndex;
            }

            pageIndex++;
        }

        return endPageIndex;
    }

    private static int LeafIndexOf(long pageIndex) =>
        (int)(pageIndex >> PagesPerLeafBits) & ((1 << LeavesPerBranchBits) - 1);

    private static int EntryIndexOf(long pageIndex) => (int)pageIndex & ((1 << PagesPerLeafBits) - 1);

    private static long EntriesFor(long pageCount, int bitsBelow) => (pageCount + (1L << bitsBelow) - 1) >> bitsBelow;

    private static T FindOrMake<T>(ref T? entry, int entryCount, Func<int, T> make)
        where T : class
    {
        if (Volatile.Read(ref entry) is T present)
        {
            return present;
        }

        T made = make(entryCount);
        return Interlocked.CompareExchange(ref entry, made, null) ?? made;
    }

    private byte[] Add(long pageIndex)
    {
        // A small disk has one branch, and perhaps one leaf, that need no room for more pages than the disk has.
        int leafCount = (int)Math.Min(1 << LeavesPerBranchBits, EntriesFor(_pageCount, PagesPerLeafBits));
        int entryCount = (int)Math.Min(1 << PagesPerLeafBits, _pageCount);
        byte[]?[]?[] branch = FindOrMake(
            ref _root[pageIndex >> PagesPerBranchBits], leafCount, static count => new byte[]?[]?[count]);
        byte[]?[] leaf = FindOrMake(
            ref branch[LeafIndexOf(pageIndex)], entryCount, static count => new byte[]?[count]);
        byte[] made = new byte[PageBytes];
        byte[]? present = Interlocked.CompareExchange(ref leaf[EntryIndexOf(pageIndex)], made, null);
        if (present is null)
        {
            Interlocked.Increment(ref _storedPageCount);
        }

        return present ?? made;
    }
}
