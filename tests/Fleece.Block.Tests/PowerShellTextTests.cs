// SPDX-License-Identifier: MIT
using Xunit;

namespace Fleece.Block.Tests;

public sealed class PowerShellTextTests
{
    [Theory]
    [InlineData("vm/nightly")]
    [InlineData("a_b-c.d/E9")]
    public void A_plain_name_stays_as_it_is(string name) => Assert.Equal(name, PowerShellText.Argument(name));

    [Theory]
    [InlineData("a/night ly; \u00fc $x", "'a/night ly; \u00fc $x'")]
    [InlineData("it's", "'it''s'")]
    [InlineData("it\u2019s", "'it\u2019\u2019s'")]
    [InlineData("-Force", "'-Force'")]
    [InlineData("", "''")]
    public void Any_other_name_becomes_one_literal(string name, string argument) =>
        Assert.Equal(argument, PowerShellText.Argument(name));
}
