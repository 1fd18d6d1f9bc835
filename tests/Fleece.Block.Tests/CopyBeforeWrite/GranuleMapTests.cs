// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>The two-level map against a plain array of truth, across pages and at the partial last one.</summary>
public sealed class GranuleMapTests
{
    /// <summary>
    /// Granules of one page, as GranuleMap lays them out; the borders of pages are where it may go wrong.
    /// </summary>
    private const long Page = 32768;

    private const long Count = 3 * Page + 17;

    public static TheoryData<long, long> Runs => new()
    {
        { 0, 1 },
        { 63, 65 },
        { 64, 128 },
        { 1, 64 },
        { Page - 1, Page },
        { Page - 1, Page + 1 },
        { Page, Page + 1 },
        { 0, Page },
        { Page, 3 * Page },
        { Page - 64, 2 * Page + 64 },
        { 3 * Page, Count },
        { Count - 1, Count },
        { 3 * Page + 1, Count - 1 },
        { 0, Count },
    };

    [Theory]
    [MemberData(nameof(Runs))]
    public void A_run_holds_its_granules_and_no_others(long start, long end)
    {
        GranuleMap map = new(Count);

        map.Add(new GranuleRun(start, end));

        long[] edges = [0, start - 1, start, end - 1, end, Count - 1];
        foreach (long granule in edges.Where(g => g is >= 0 and < Count))
        {
            Assert.Equal(granule >= start && granule < end, map.Contains(granule));
        }

        Assert.Equal(end - start, map.AddedCount);
        Assert.Equal(start, map.FirstIn(new GranuleRun(0, Count)));
        Assert.Equal(end, map.FirstNotIn(new GranuleRun(start, Count)));
    }

    [Theory]
    [MemberData(nameof(Runs))]
    public void Pages_make_the_same_map_again_and_add_to_what_another_has(long start, long end)
    {
        GranuleMap map = new(Count);
        map.Add(new GranuleRun(start, end));
        GranuleMap copy = new(Count);
        copy.Add(new GranuleRun(Count - 1, Count));
        ulong[] words = new ulong[GranuleMap.WordsPerPage];
        for (int page = 0; page < map.PageCount; page++)
        {
            Array.Fill(words, ulong.MaxValue);
            GranulePageKind kind = map.GetPage(page, words);
            copy.AddPage(page, kind, words);
        }

        map.Add(new GranuleRun(Count - 1, Count));
        Assert.Equal(map.AddedCount, copy.AddedCount);
        for (long granule = 0; granule < Count; granule++)
        {
            Assert.Equal(map.Contains(granule), copy.Contains(granule));
        }
    }

    [Fact]
    public void Bits_of_a_page_behind_the_last_granule_are_ignored()
    {
        GranuleMap map = new(Count);
        ulong[] words = new ulong[GranuleMap.WordsPerPage];
        Array.Fill(words, ulong.MaxValue);

        map.AddPage(map.PageCount - 1, GranulePageKind.Partial, words);

        Assert.Equal(Count - 3 * Page, map.AddedCount);
        Assert.Equal(GranulePageKind.Full, map.GetPage(map.PageCount - 1, words));
    }

    [Theory]
    [MemberData(nameof(Runs))]
    public void Adding_a_run_again_changes_nothing(long start, long end)
    {
        GranuleMap map = new(Count);
        map.Add(new GranuleRun(start, end));

        map.Add(new GranuleRun(start, end));

        Assert.Equal(end - start, map.AddedCount);
    }

    // A page that fills up bit by bit turns uniform, and so does the last one, which has 17 granules.
    [Theory]
    [InlineData(Page, 2 * Page)]
    [InlineData(3 * Page, Count)]
    public void A_page_filled_in_pieces_is_full(long start, long end)
    {
        GranuleMap map = new(Count);
        for (long granule = end - 1; granule >= start; granule--)
        {
            map.Add(new GranuleRun(granule, granule + 1));
        }

        Assert.Equal(end, map.FirstNotIn(new GranuleRun(start, end)));
        Assert.Equal(start, map.FirstIn(new GranuleRun(0, Count)));
        Assert.Equal(end - start, map.AddedCount);
    }

    [Fact]
    public void Searching_an_empty_run_answers_its_end()
    {
        GranuleMap map = new(Count);
        map.Add(new GranuleRun(0, Count));

        Assert.Equal(Count, map.FirstIn(new GranuleRun(Count, Count)));
        Assert.Equal(5, map.FirstNotIn(new GranuleRun(5, 5)));
    }

    // Sparse and dense maps, short and long runs; every query is asked at random places and compared granule by
    // granule.
    [Fact]
    public void Random_runs_match_the_array()
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < 12; round++)
        {
            long count = seeds.Pick(Count, 2 * Page, Page - 1, 100L, 1L);
            (GranuleMap map, bool[] truth) = (new GranuleMap(count), new bool[count]);
            (GranuleMap other, bool[] otherTruth) = (new GranuleMap(count), new bool[count]);
            for (int step = 0; step < 60; step++)
            {
                AddRandom(seeds, map, truth);
                AddRandom(seeds, other, otherTruth);
                Compare(seeds, map, truth, other, otherTruth);
            }
        }
    }

    // 64 TiB at 4 KiB granules: only the directory, 8 bytes for 128 MiB of disk.
    [Fact]
    public void Huge_uniform_maps_are_cheap()
    {
        const long Huge = 1L << 34;
        long beforeBytes = GC.GetAllocatedBytesForCurrentThread();
        GranuleMap map = new(Huge);
        map.Add(new GranuleRun(0, Huge / 2));
        map.Add(new GranuleRun(Huge - 1, Huge));
        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - beforeBytes;

        Assert.InRange(allocatedBytes, 0, 5 * 1024 * 1024);
        Assert.Equal(Huge / 2 + 1, map.AddedCount);
        Assert.Equal(Huge / 2, map.FirstNotIn(new GranuleRun(0, Huge)));
        Assert.Equal(Huge - 1, map.FirstIn(new GranuleRun(Huge / 2, Huge)));
        Assert.True(map.Contains(Huge - 1));
    }

    // Readers may see less than the truth, never more, and what they saw stays.
    [Fact]
    public async Task Readers_beside_an_adder_see_a_growing_subset()
    {
        GranuleMap map = new(Count);
        bool isAdded = false;
        Task adder = Task.Run(() =>
        {
            for (long granule = 0; granule < Count; granule += 3)
            {
                map.Add(new GranuleRun(granule, Math.Min(Count, granule + 2)));
            }

            Volatile.Write(ref isAdded, true);
        });
        await Task.Run(() =>
        {
            long seen = 0;
            while (!Volatile.Read(ref isAdded))
            {
                Assert.False(map.Contains(seen / 3 * 3 + 2 < Count ? seen / 3 * 3 + 2 : 2), "a granule nobody added");
                while (seen < Count && map.Contains(seen))
                {
                    seen += 3;
                }

                Assert.True(seen == 0 || map.Contains(seen - 3), "a granule went away");
            }
        });
        await adder;
        Assert.Equal(Count / 3 * 2 + Math.Min(2, Count % 3), map.AddedCount);
    }

    private static void AddRandom(Seeds seeds, GranuleMap map, bool[] truth)
    {
        long start = seeds.Next((long)truth.Length);
        long end = Math.Min(truth.Length, start + 1 + seeds.Next(seeds.Pick(1L, 70, 3000, Page, 2 * Page)));
        map.Add(new GranuleRun(start, end));
        truth.AsSpan((int)start, (int)(end - start)).Fill(true);
        Assert.Equal(truth.Count(added => added), map.AddedCount);
    }

    private static void Compare(Seeds seeds, GranuleMap map, bool[] truth, GranuleMap other, bool[] otherTruth)
    {
        long start = seeds.Next((long)truth.Length);
        GranuleRun run = new(start, start + seeds.Next(truth.Length - start + 1));

        Assert.Equal(truth[start], map.Contains(start));
        Assert.Equal(First(run, g => truth[g]), map.FirstIn(run));
        Assert.Equal(First(run, g => !truth[g]), map.FirstNotIn(run));
        Assert.Equal(First(run, g => !truth[g] && !otherTruth[g]), GranuleMap.FirstInNeither(map, other, run));
    }

    private static long First(GranuleRun run, Func<long, bool> wanted)
    {
        long granule = run.Start;
        while (granule < run.End && !wanted(granule))
        {
            granule++;
        }

        return granule;
    }
}
