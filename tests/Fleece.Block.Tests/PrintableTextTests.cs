// SPDX-License-Identifier: MIT
using Xunit;

namespace Fleece.Block.Tests;

public sealed class PrintableTextTests
{
    [Theory]
    [InlineData("\u001b[31mred", "\\u001b[31mred")]
    [InlineData("a\nb\rc\td\0", "a\\u000ab\\u000dc\\u0009d\\u0000")]
    [InlineData("\u007f\u0080\u009b2J\u009f", "\\u007f\\u0080\\u009b2J\\u009f")]
    [InlineData("gnp.\u202eexe\u2066\u2069", "gnp.\\u202eexe\\u2066\\u2069")]
    [InlineData("a\u2028b\u2029", "a\\u2028b\\u2029")]
    public void What_a_terminal_would_obey_is_written_as_its_number(string text, string shown)
    {
        Assert.False(PrintableText.IsPrintable(text));
        Assert.Equal(shown, PrintableText.Of(text));
        Assert.True(PrintableText.IsPrintable(shown));
    }

    // Marks of direction stand in Arabic and Hebrew names; joiners in emoji.
    [Theory]
    [InlineData("")]
    [InlineData("vm 1 (Küche) \\ 'x' ~")]
    [InlineData("磁盘 ディスク диск \U0001F469\u200D\U0001F4BB")]
    [InlineData("\u05d3\u05d9\u05e1\u05e7\u200f 1")]
    public void Any_other_text_stays_the_same_object(string text) => Assert.Same(text, PrintableText.Of(text));

    [Fact]
    public void No_text_stays_none() => Assert.Null(PrintableText.Of(null));

    [Fact]
    public void The_message_of_an_exception_is_printable_and_its_path_exact()
    {
        BlockException failure = new(BlockErrors.NotFound, "There is no '\u001b]0;x\u0007'.", "/tmp/\u001b[2J");

        Assert.Equal("There is no '\\u001b]0;x\\u0007'. File: '/tmp/\\u001b[2J'.", failure.Message);
        Assert.Equal("/tmp/\u001b[2J", failure.Path);
    }
}
