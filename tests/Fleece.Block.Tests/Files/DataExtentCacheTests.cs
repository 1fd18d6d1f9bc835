// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class DataExtentCacheTests
{
    private readonly DataExtentCache _cache = new();

    [Fact]
    public void A_fresh_cache_knows_nothing() => Assert.Equal(0, KnownFrom(0));

    [Fact]
    public void What_was_stored_is_known_from_its_start_to_its_end()
    {
        Store(100, 50);

        Assert.Equal(0, KnownFrom(99));
        Assert.Equal(50, KnownFrom(100));
        Assert.Equal(1, KnownFrom(149));
        Assert.Equal(0, KnownFrom(150));
    }

    [Fact]
    public void An_answer_asked_for_before_a_cut_is_not_kept()
    {
        _cache.FindDataBytes(0, out long generation);
        _cache.Cut(new BlockRange(500, 10));

        _cache.Store(new BlockRange(0, 1000), generation);

        Assert.Equal(0, KnownFrom(0));
    }

    [Theory]
    [InlineData(200, 10, 100, 100)]
    [InlineData(110, 10, 120, 80)]
    [InlineData(150, 100, 100, 50)]
    [InlineData(0, 150, 150, 50)]
    [InlineData(90, 200, 100, 0)]
    [InlineData(200, 0, 100, 100)]
    public void A_cut_keeps_the_longer_piece(long cutBytes, long cutLengthBytes, long leftBytes, long leftLengthBytes)
    {
        Store(100, 100);

        _cache.Cut(new BlockRange(cutBytes, cutLengthBytes));

        Assert.Equal(leftLengthBytes, KnownFrom(leftBytes));
        Assert.Equal(0, KnownFrom(leftBytes + leftLengthBytes));
    }

    private long KnownFrom(long offsetBytes) => _cache.FindDataBytes(offsetBytes, out _);

    private void Store(long offsetBytes, long lengthBytes)
    {
        _cache.FindDataBytes(offsetBytes, out long generation);
        _cache.Store(new BlockRange(offsetBytes, lengthBytes), generation);
    }
}
