// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Rounding between bytes and granules. The disk has three whole granules and one of 100 bytes.</summary>
public sealed class GranulesTests
{
    private const int G = 4096;
    private const long DiskBytes = 3 * G + 100;

    private readonly Granules _granules = new(DiskBytes, G);

    [Theory]
    [InlineData(0, 1, 0, 1)]
    [InlineData(0, G, 0, 1)]
    [InlineData(0, G + 1, 0, 2)]
    [InlineData(G - 1, 2, 0, 2)]
    [InlineData(G, G, 1, 2)]
    [InlineData(3 * G, 100, 3, 4)]
    [InlineData(3 * G - 1, 101, 2, 4)]
    [InlineData(0, DiskBytes, 0, 4)]
    public void Cover_rounds_outward(long offset, long length, long start, long end) =>
        Assert.Equal(new GranuleRun(start, end), _granules.Cover(offset, length));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(DiskBytes)]
    public void Nothing_covers_no_granule(long offset) => Assert.True(_granules.Cover(offset, 0).IsEmpty);

    [Theory]
    [InlineData(0, G, 0, 1)]
    [InlineData(1, 2 * G, 1, 2)]
    [InlineData(G, 2 * G - 1, 1, 2)]
    [InlineData(0, DiskBytes, 0, 4)]
    [InlineData(3 * G, 100, 3, 4)]
    [InlineData(2 * G + 1, G + 99, 3, 4)]
    public void Within_rounds_inward_but_takes_the_partial_last_one(long offset, long length, long start, long end) =>
        Assert.Equal(new GranuleRun(start, end), _granules.Within(new BlockRange(offset, length)));

    [Theory]
    [InlineData(0, G - 1)]
    [InlineData(1, G - 1)]
    [InlineData(1, G)]
    [InlineData(3 * G, 99)]
    [InlineData(3 * G + 1, 99)]
    [InlineData(DiskBytes, 0)]
    [InlineData(G, 0)]
    public void A_range_that_holds_no_whole_granule_is_within_none(long offset, long length) =>
        Assert.True(_granules.Within(new BlockRange(offset, length)).IsEmpty);

    [Fact]
    public void The_bytes_of_a_run_end_with_the_disk()
    {
        Assert.Equal(new BlockRange(G, G), _granules.Bytes(new GranuleRun(1, 2)));
        Assert.Equal(new BlockRange(3 * G, 100), _granules.Bytes(new GranuleRun(3, 4)));
        Assert.Equal(new BlockRange(0, DiskBytes), _granules.Bytes(_granules.All));
    }

    [Fact]
    public void A_disk_of_whole_granules_has_no_extra_one() => Assert.Equal(3, new Granules(3 * G, G).Count);

    [Fact]
    public void A_disk_of_nothing_has_no_granule()
    {
        Granules none = new(0, G);

        Assert.Equal(0, none.Count);
        Assert.True(none.Within(new BlockRange(0, 0)).IsEmpty);
    }

    [Fact]
    public void More_granules_than_a_frozen_read_can_name_are_refused()
    {
        const long Largest = Granules.MaximumCount * 512;
        Assert.Equal(Granules.MaximumCount, new Granules(Largest, 512).Count);
        BlockException refused = Assert.Throws<BlockException>(() => new Granules(Largest + 1, 512));
        Assert.Equal(BlockErrors.InvalidArgument, refused.Kind);
    }

    [Theory]
    [InlineData(0, 2, 1, 3, true)]
    [InlineData(0, 2, 2, 3, false)]
    [InlineData(2, 3, 0, 2, false)]
    [InlineData(0, 9, 4, 5, true)]
    public void Runs_overlap_when_they_share_a_granule(long a, long aEnd, long b, long bEnd, bool expected) =>
        Assert.Equal(expected, new GranuleRun(a, aEnd).Overlaps(new GranuleRun(b, bEnd)));
}
