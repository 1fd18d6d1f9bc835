// SPDX-License-Identifier: MIT
using Fleece.Block.DirtyBitmaps;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.DirtyBitmaps;

public sealed class DirtyBitmapTests
{
    private const long G = DirtyBitmap.DefaultGranularityBytes;

    [Theory]
    [InlineData(0, 1, 0, G)]
    [InlineData(G - 1, 2, 0, 2 * G)]
    [InlineData(G, G, G, G)]
    [InlineData(3 * G - 1, 1, 2 * G, G)]
    public void Marking_covers_every_unit_that_holds_a_byte(long offsetBytes, long lengthBytes, long startBytes, long markedBytes)
    {
        DirtyBitmap bitmap = new(8 * G, G);

        bitmap.Mark(offsetBytes, lengthBytes);

        Assert.Equal([new BlockRange(startBytes, markedBytes)], bitmap.DirtyRanges());
        Assert.Equal(markedBytes, bitmap.DirtyBytes);
    }

    [Fact]
    public void No_bytes_mark_nothing()
    {
        DirtyBitmap bitmap = new(8 * G, G);

        bitmap.Mark(G, 0);

        Assert.Empty(bitmap.DirtyRanges());
    }

    [Fact]
    public void The_last_partial_unit_counts_the_bytes_that_exist()
    {
        DirtyBitmap bitmap = new(2 * G + 512, G);

        bitmap.Mark(2 * G, 1);

        Assert.Equal([new BlockRange(2 * G, 512)], bitmap.DirtyRanges());
        Assert.Equal(512, bitmap.DirtyBytes);
    }

    [Theory]
    [InlineData(-1, 1, BlockErrors.InvalidRange)]
    [InlineData(8 * G, 1, BlockErrors.OutOfRange)]
    [InlineData(0, 8 * G + 1, BlockErrors.OutOfRange)]
    public void Marking_outside_of_the_disk_is_refused(long offsetBytes, long lengthBytes, string kind)
    {
        DirtyBitmap bitmap = new(8 * G, G);

        Assert.Equal(kind, Assert.Throws<BlockException>(() => bitmap.Mark(offsetBytes, lengthBytes)).Kind);
        Assert.Empty(bitmap.DirtyRanges());
    }

    [Theory]
    [InlineData(256)]
    [InlineData(1L << 32)]
    [InlineData(1000)]
    [InlineData(512)]
    public void A_granularity_that_is_none_or_makes_too_many_bits_is_refused(long granularityBytes) =>
        Assert.Equal(
            BlockErrors.InvalidArgument,
            Assert.Throws<BlockException>(() => new DirtyBitmap(64L << 40, granularityBytes)).Kind);

    [Fact]
    public void A_sparse_bitmap_of_a_huge_disk_takes_little_memory()
    {
        long before = GC.GetAllocatedBytesForCurrentThread();

        DirtyBitmap bitmap = new(64L << 40, G);
        bitmap.Mark(40L << 40, 1);
        bitmap.Mark(0, 16L << 40);

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 1, 1024 * 1024);
        Assert.Equal([new BlockRange(0, 16L << 40), new BlockRange(40L << 40, G)], bitmap.DirtyRanges());
    }

    // The reference is one bool a unit; sizes reach over several pages of the map and end within a unit.
    [Fact]
    public void Random_marks_merges_and_copies_agree_with_a_reference()
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < 30; round++)
        {
            long granularityBytes = seeds.Pick<long>(512, 4096, 65536);
            long sizeBytes = granularityBytes * seeds.Next(100_000L) + seeds.Next(granularityBytes) + 512;
            ImageOf(seeds, sizeBytes, granularityBytes, out DirtyBitmap left, out bool[] leftBits);
            ImageOf(seeds, sizeBytes, seeds.Pick<long>(512, 65536, 1 << 20), out DirtyBitmap right, out _);

            left.Merge(right);
            foreach (BlockRange range in right.DirtyRanges())
            {
                Set(leftBits, range, granularityBytes);
            }

            Check(leftBits, left);
            Check(leftBits, Copy(left));
        }
    }

    [Fact]
    public void A_bit_is_in_the_journal_before_it_can_be_seen()
    {
        Journal journal = new();
        DirtyBitmap bitmap = new(1000 * G, G, journal);
        journal.OnStore = () => Assert.False(bitmap.IsDirty(7 * G));

        bitmap.Mark(7 * G, 1);

        Assert.Equal(1, journal.Count);
        Assert.True(bitmap.IsDirty(7 * G));
    }

    [Fact]
    public void What_is_marked_already_reaches_the_journal_no_more()
    {
        Journal journal = new();
        DirtyBitmap bitmap = new(1000 * G, G, journal);
        bitmap.Mark(7 * G, 5 * G);
        journal.Count = 0;

        bitmap.Mark(8 * G, 2 * G);

        Assert.Equal(0, journal.Count);
    }

    // Threads mark at random; whatever order their words reach the journal in, it ends with all of them.
    [Fact]
    public async Task The_journal_has_every_bit_of_several_threads()
    {
        Seeds seeds = Seeds.FromEnvironment();
        Journal journal = new();
        DirtyBitmap bitmap = new(100_000 * G, G, journal);

        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => seeds.Fork()).Select(own => Task.Run(() =>
        {
            for (int i = 0; i < 5000; i++)
            {
                bitmap.Mark(own.Next(99_000L) * G, own.Next(900 * G));
            }
        })));

        DirtyBitmap again = new(100_000 * G, G);
        again.Load(0, journal.Bytes.AsSpan(0, (int)again.LengthInBytes));
        Assert.Equal(bitmap.DirtyRanges(), again.DirtyRanges());
    }

    private static void ImageOf(Seeds seeds, long sizeBytes, long granularityBytes, out DirtyBitmap bitmap, out bool[] bits)
    {
        bitmap = new DirtyBitmap(sizeBytes, granularityBytes);
        bits = new bool[bitmap.BitCount];
        for (int i = seeds.Next(40); i > 0; i--)
        {
            BlockRange range = seeds.Range(sizeBytes);
            bitmap.Mark(range.OffsetBytes, range.LengthBytes);
            Set(bits, range, granularityBytes);
        }
    }

    private static void Set(bool[] bits, BlockRange range, long granularityBytes)
    {
        if (!range.IsEmpty)
        {
            int first = (int)(range.OffsetBytes / granularityBytes);
            Array.Fill(bits, true, first, (int)((range.EndBytes - 1) / granularityBytes) - first + 1);
        }
    }

    private static void Check(bool[] bits, DirtyBitmap bitmap)
    {
        bool[] found = new bool[bits.Length];
        foreach (BlockRange range in bitmap.DirtyRanges())
        {
            Set(found, range, bitmap.GranularityBytes);
        }

        Assert.Equal(bits, found);
        Assert.Equal(bitmap.DirtyRanges().Sum(range => range.LengthBytes), bitmap.DirtyBytes);
    }

    private static DirtyBitmap Copy(DirtyBitmap bitmap)
    {
        byte[] bytes = new byte[(bitmap.LengthInBytes + 7) & ~7L];
        bitmap.CopyTo(0, bytes);
        DirtyBitmap copy = new(bitmap.DiskLengthBytes, bitmap.GranularityBytes);
        copy.Load(0, bytes);
        return copy;
    }

    private sealed class Journal : IBitmapJournal
    {
        private readonly byte[] _page = new byte[IBitmapJournal.PageBytes];

        public byte[] Bytes { get; } = new byte[4 * IBitmapJournal.PageBytes];

        public int Count { get; set; }

        public Action OnStore { get; set; } = () => { };

        public Span<byte> Page => _page;

        // The next bits of the bitmap must not build on the page's present content.
        public void Store(long pageIndex)
        {
            OnStore();
            Count++;
            _page.CopyTo(Bytes, pageIndex * IBitmapJournal.PageBytes);
            Array.Fill(_page, (byte)0xA5);
        }
    }
}
