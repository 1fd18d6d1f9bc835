// SPDX-License-Identifier: MIT
using Xunit;

namespace Fleece.Block.Tests;

public sealed class BlockRangeTests
{
    [Theory]
    [InlineData(-1, 0)]
    [InlineData(0, -1)]
    [InlineData(long.MinValue, 0)]
    [InlineData(0, long.MinValue)]
    [InlineData(long.MaxValue, 1)]
    [InlineData(1, long.MaxValue)]
    [InlineData(long.MaxValue, long.MaxValue)]
    [InlineData(-1, long.MaxValue)]
    public void Negative_and_overflowing_ranges_are_refused(long offsetBytes, long lengthBytes) =>
        CheckFails(BlockErrors.InvalidRange, () => _ = new BlockRange(offsetBytes, lengthBytes));

    [Theory]
    [InlineData(0, long.MaxValue)]
    [InlineData(long.MaxValue, 0)]
    [InlineData(long.MaxValue - 1, 1)]
    public void A_range_may_end_at_the_largest_offset(long offsetBytes, long lengthBytes) =>
        Assert.Equal(long.MaxValue, new BlockRange(offsetBytes, lengthBytes).EndBytes);

    [Fact]
    public void Ends_in_the_wrong_order_make_an_empty_range()
    {
        Assert.True(BlockRange.FromEnds(10, 5).IsEmpty);
        Assert.True(BlockRange.FromEnds(long.MaxValue, 0).IsEmpty);
        Assert.Equal(new BlockRange(5, 5), BlockRange.FromEnds(5, 10));
        CheckFails(BlockErrors.InvalidRange, () => BlockRange.FromEnds(-1, 10));
    }

    [Theory]
    [InlineData(0, 10, 10, 10, false)]
    [InlineData(0, 11, 10, 10, true)]
    [InlineData(10, 10, 0, 100, true)]
    [InlineData(19, 1, 10, 10, true)]
    [InlineData(20, 1, 10, 10, false)]
    [InlineData(15, 0, 10, 10, false)]
    [InlineData(0, long.MaxValue, long.MaxValue - 1, 1, true)]
    public void Ranges_overlap_when_they_share_a_byte(
        long offsetBytes, long lengthBytes, long otherBytes, long otherLengthBytes, bool isOverlap)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        BlockRange other = new(otherBytes, otherLengthBytes);

        Assert.Equal(isOverlap, range.Overlaps(other));
        Assert.Equal(isOverlap, other.Overlaps(range));
        Assert.Equal(isOverlap, !range.Intersect(other).IsEmpty);
    }

    [Fact]
    public void A_range_contains_itself_and_its_parts()
    {
        BlockRange range = new(10, 10);

        Assert.True(range.Contains(range));
        Assert.True(range.Contains(new BlockRange(19, 1)));
        Assert.False(range.Contains(new BlockRange(19, 2)));
        Assert.False(range.Contains(new BlockRange(9, 2)));
    }

    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(0, 4096, 4096)]
    [InlineData(4096, 0, 4096)]
    public void A_range_up_to_the_end_is_within(long offsetBytes, long lengthBytes, long diskLengthBytes) =>
        new BlockRange(offsetBytes, lengthBytes).CheckWithin(diskLengthBytes, null, "read");

    [Theory]
    [InlineData(0, 1, 0)]
    [InlineData(4096, 1, 4096)]
    [InlineData(4097, 0, 4096)]
    [InlineData(long.MaxValue, 0, 4096)]
    [InlineData(0, long.MaxValue, 4096)]
    public void A_range_over_the_end_is_out_of_range(long offsetBytes, long lengthBytes, long diskLengthBytes) =>
        CheckFails(
            BlockErrors.OutOfRange,
            () => new BlockRange(offsetBytes, lengthBytes).CheckWithin(diskLengthBytes, null, "read"));

    [Theory]
    [InlineData(512, 512, 512, true)]
    [InlineData(0, 0, 4096, true)]
    [InlineData(1, 1, 1, true)]
    [InlineData(1, 512, 512, false)]
    [InlineData(512, 513, 512, false)]
    public void Both_ends_must_be_aligned(long offsetBytes, long lengthBytes, int alignmentBytes, bool isAligned)
    {
        void Check() => new BlockRange(offsetBytes, lengthBytes).CheckAlignment(alignmentBytes, null, "read");
        if (isAligned)
        {
            Check();
            return;
        }

        CheckFails(BlockErrors.Misaligned, Check);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(256)]
    [InlineData(768)]
    [InlineData(8192)]
    [InlineData(-512)]
    [InlineData(long.MinValue)]
    public void What_is_no_power_of_two_in_the_bounds_is_refused(long valueBytes) => CheckFails(
        BlockErrors.InvalidArgument, () => BlockRange.CheckPowerOfTwo(valueBytes, 512, 4096, "granule size"));

    private static void CheckFails(string kind, Action operation) =>
        Assert.Equal(kind, Assert.Throws<BlockException>(operation).Kind);
}
