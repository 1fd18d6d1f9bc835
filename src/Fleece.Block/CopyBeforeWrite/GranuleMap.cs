// SPDX-License-Identifier: MIT
using System.Numerics;
using System.Runtime.CompilerServices;

namespace Fleece.Block.CopyBeforeWrite;

/// <summary>How many of its granules a page of a <see cref="GranuleMap"/> has.</summary>
internal enum GranulePageKind
{
    /// <summary>None.</summary>
    Absent,

    /// <summary>Some.</summary>
    Partial,

    /// <summary>All.</summary>
    Full,
}

/// <summary>A set of granules that only grows, readable without a lock.</summary>
/// <remarks>
/// <para>Two levels: a directory of pages, each page one bit per granule. A page without a granule is absent and one
/// with all its granules is the shared full page, so uniform regions cost a directory entry. Because bits are never
/// cleared, a reader that holds an old page or word sees a subset of the truth, never a wrong bit; that is what makes the
/// settled path of guest writes lock-free (I4).</para>
/// <para>Threading. Queries from any thread. <see cref="Add"/> under the owner's lock; the bits are published with release
/// semantics, and the caller needs a full fence when it must read other shared state after adding.</para>
/// </remarks>
internal sealed class GranuleMap
{
    // 32768 granules a page: 4 KiB of bits for 128 MiB of disk at 4 KiB granules, and a directory of 4 MiB for 64 TiB.
    private const int PageShift = 15;
    private const int GranulesPerPage = 1 << PageShift;

    /// <summary>Words of a page: a bit for each granule.</summary>
    public const int WordsPerPage = GranulesPerPage / 64;

    private static readonly Page FullPage = CreateFullPage();

    private readonly Page?[] _pages;
    private readonly long _count;
    private long _addedCount;

    public GranuleMap(long count)
    {
        _count = count;
        _pages = new Page?[(count + GranulesPerPage - 1) >> PageShift];
    }

    /// <summary>How many granules are in the set.</summary>
    public long AddedCount => Volatile.Read(ref _addedCount);

    /// <summary>Pages of the map, in the order of their granules.</summary>
    public int PageCount => _pages.Length;

    /// <summary>True when the granule is in the set.</summary>
    public bool Contains(long granule)
    {
        Schedule.Point("a map is asked");
        return (Word(granule >> 6) >> (int)(granule & 63) & 1) != 0;
    }

    /// <summary>The first granule of the run that is in the set, or the run's end.</summary>
    public long FirstIn(GranuleRun run) => First<Members>(this, this, run);

    /// <summary>The first granule of the run that is not in the set, or the run's end.</summary>
    public long FirstNotIn(GranuleRun run) => First<Others>(this, this, run);

    /// <summary>The first granule of the run that is in neither set, or the run's end.</summary>
    public static long FirstInNeither(GranuleMap a, GranuleMap b, GranuleRun run) => First<Others>(a, b, run);

    /// <summary>The first granule of the run that is in one of the sets or in both, or the run's end.</summary>
    public static long FirstInEither(GranuleMap a, GranuleMap b, GranuleRun run) => First<Members>(a, b, run);

    /// <summary>Adds a run. The caller holds the owner's lock.</summary>
    public void Add(GranuleRun run)
    {
        Schedule.Point("a map grows");
        long at = run.Start;
        while (at < run.End)
        {
            long page = at >> PageShift;
            long pageStart = page << PageShift;
            long pageEnd = Math.Min(pageStart + GranulesPerPage, _count);
            long end = Math.Min(run.End, pageEnd);
            AddWithinPage(page, at - pageStart, end - pageStart, pageEnd - pageStart);
            at = end;
        }
    }

    private void AddWithinPage(long pageIndex, long start, long end, long capacity)
    {
        Page? page = _pages[pageIndex];
        if (ReferenceEquals(page, FullPage))
        {
            return;
        }

        int before = page?.AddedCount ?? 0;
        if (end - start == capacity)
        {
            Volatile.Write(ref _pages[pageIndex], FullPage);
            Volatile.Write(ref _addedCount, _addedCount + capacity - before);
            return;
        }

        if (page is null)
        {
            page = new Page();
            Volatile.Write(ref _pages[pageIndex], page);
        }

        for (long at = start; at < end;)
        {
            int word = (int)(at >> 6);
            int first = (int)(at & 63);
            int bits = (int)Math.Min(64 - first, end - at);
            ulong mask = (bits == 64 ? ulong.MaxValue : (1UL << bits) - 1) << first;
            ulong old = page.Words[word];
            page.AddedCount += BitOperations.PopCount(mask & ~old);
            Volatile.Write(ref page.Words[word], old | mask);
            at += bits;
        }

        Volatile.Write(ref _addedCount, _addedCount + page.AddedCount - before);
        if (page.AddedCount == capacity)
        {
            Volatile.Write(ref _pages[pageIndex], FullPage);
        }
    }

    // One scan serves all three searches: the filter says which bits of the joined word count, and the uniform page
    // that can be skipped whole. The struct type parameter makes the JIT inline it.
    private static long First<TWanted>(GranuleMap a, GranuleMap b, GranuleRun run)
        where TWanted : struct, IWanted
    {
        Schedule.Point("a map is searched");
        long at = run.Start;
        while (at < run.End)
        {
            Page? pageA = Volatile.Read(ref a._pages[at >> PageShift]);
            Page? pageB = ReferenceEquals(a, b) ? pageA : Volatile.Read(ref b._pages[at >> PageShift]);
            long pageEnd = Math.Min(run.End, ((at >> PageShift) + 1) << PageShift);
            if (TWanted.CanSkip(pageA, pageB))
            {
                at = pageEnd;
                continue;
            }

            while (at < pageEnd)
            {
                int index = (int)(at >> 6) & (WordsPerPage - 1);
                ulong joined = WordOf(pageA, index) | WordOf(pageB, index);
                ulong wanted = TWanted.Select(joined) >> (int)(at & 63);
                if (wanted != 0)
                {
                    return Math.Min(at + BitOperations.TrailingZeroCount(wanted), run.End);
                }

                at = (at | 63) + 1;
            }

            at = Math.Min(at, pageEnd);
        }

        return run.End;
    }

    /// <summary>The bits of 64 granules, the first in the lowest bit. Those behind the last granule may be anything.</summary>
    public ulong Word(long wordIndex) =>
        WordOf(Volatile.Read(ref _pages[wordIndex >> (PageShift - 6)]), (int)wordIndex & (WordsPerPage - 1));

    /// <summary>Copies words as <see cref="Word"/> has them.</summary>
    public void CopyTo(long firstWord, Span<ulong> words)
    {
        while (!words.IsEmpty)
        {
            Page? page = Volatile.Read(ref _pages[firstWord >> (PageShift - 6)]);
            int index = (int)firstWord & (WordsPerPage - 1);
            int count = Math.Min(words.Length, WordsPerPage - index);
            if (page is null)
            {
                words[..count].Clear();
            }
            else
            {
                page.Words.AsSpan(index, count).CopyTo(words);
            }

            firstWord += count;
            words = words[count..];
        }
    }

    /// <summary>Gives a page out: its kind, and its words where it has some of its granules and not all.</summary>
    /// <param name="index">0 to <see cref="PageCount"/> - 1.</param>
    /// <param name="words"><see cref="WordsPerPage"/> words, written for <see cref="GranulePageKind.Partial"/> alone.</param>
    /// <remarks>While the map grows, what is added meanwhile may be there or not, granule by granule.</remarks>
    public GranulePageKind GetPage(int index, Span<ulong> words)
    {
        Schedule.Point("a map is asked");
        Page? page = Volatile.Read(ref _pages[index]);
        if (page is null || ReferenceEquals(page, FullPage))
        {
            return page is null ? GranulePageKind.Absent : GranulePageKind.Full;
        }

        for (int i = 0; i < WordsPerPage; i++)
        {
            words[i] = Volatile.Read(ref page.Words[i]);
        }

        return GranulePageKind.Partial;
    }

    /// <summary>Takes a page in that <see cref="GetPage"/> has given out. It adds to what the map has. Bits behind the last granule are
    /// ignored. The caller holds the owner's lock.</summary>
    /// <param name="index">0 to <see cref="PageCount"/> - 1.</param>
    /// <param name="kind">Its kind.</param>
    /// <param name="words"><see cref="WordsPerPage"/> words for <see cref="GranulePageKind.Partial"/>; else not read.</param>
    public void AddPage(int index, GranulePageKind kind, ReadOnlySpan<ulong> words)
    {
        long start = (long)index << PageShift;
        GranuleRun all = new(start, Math.Min(start + GranulesPerPage, _count));
        if (kind == GranulePageKind.Full)
        {
            Add(all);
        }

        for (int i = 0; kind == GranulePageKind.Partial && i < WordsPerPage; i++)
        {
            AddWord(all, start + i * 64L, words[i]);
        }
    }

    // Run by run of the word's bits.
    private void AddWord(GranuleRun page, long start, ulong word)
    {
        for (int bit = 0; bit < 64 && word >> bit != 0;)
        {
            int first = bit + BitOperations.TrailingZeroCount(word >> bit);
            bit = first + BitOperations.TrailingZeroCount(~(word >> first));
            GranuleRun run = new(start + first, Math.Min(start + bit, page.End));
            if (!run.IsEmpty)
            {
                Add(run);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong WordOf(Page? page, int index) => page is null ? 0 : Volatile.Read(ref page.Words[index]);

    private static Page CreateFullPage()
    {
        Page page = new() { AddedCount = GranulesPerPage };
        Array.Fill(page.Words, ulong.MaxValue);
        return page;
    }

    private interface IWanted
    {
        static abstract bool CanSkip(Page? a, Page? b);

        static abstract ulong Select(ulong joined);
    }

    private readonly struct Members : IWanted
    {
        public static bool CanSkip(Page? a, Page? b) => a is null && b is null;

        public static ulong Select(ulong joined) => joined;
    }

    private readonly struct Others : IWanted
    {
        public static bool CanSkip(Page? a, Page? b) => ReferenceEquals(a, FullPage) || ReferenceEquals(b, FullPage);

        public static ulong Select(ulong joined) => ~joined;
    }

    private sealed class Page
    {
        public readonly ulong[] Words = new ulong[WordsPerPage];

        public int AddedCount;
    }
}
