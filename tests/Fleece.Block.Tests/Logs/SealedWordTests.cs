// SPDX-License-Identifier: MIT
using Fleece.Block.Logs;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Logs;

public sealed class SealedWordTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(SealedWord.Maximum)]
    public void A_number_comes_back(ulong number)
    {
        Assert.True(SealedWord.TryDecode(8, SealedWord.Encode(8, number), out ulong read));
        Assert.Equal(number, read);
    }

    [Fact]
    public void A_number_of_another_place_is_refused() =>
        Assert.False(SealedWord.TryDecode(16, SealedWord.Encode(8, 5), out _));

    [Fact]
    public void A_word_that_was_never_stored_is_refused() => Assert.False(SealedWord.TryDecode(8, 0, out _));

    [Fact]
    public void A_number_that_is_too_large_is_refused() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => SealedWord.Encode(8, SealedWord.Maximum + 1));

    // CRC-32C finds all errors of one to three bits in so few bytes; 24 bits of it find nearly all.
    [Fact]
    public void Damage_to_any_one_or_two_bits_shows()
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < 20; round++)
        {
            ulong word = SealedWord.Encode(8, seeds.NextBits() & SealedWord.Maximum);
            for (int first = 0; first < 64; first++)
            {
                for (int second = first; second < 64; second++)
                {
                    ulong damaged = word ^ (1UL << first) ^ (second == first ? 0 : 1UL << second);
                    Assert.False(SealedWord.TryDecode(8, damaged, out _), $"{word:x} as {damaged:x}");
                }
            }
        }
    }
}
