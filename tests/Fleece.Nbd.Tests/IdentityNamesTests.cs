// SPDX-License-Identifier: MIT
using System.Text;

namespace Fleece.Nbd.Tests;

/// <summary>The form of names that tell an identity.</summary>
public sealed class IdentityNamesTests
{
    [Theory]
    [InlineData("vm", "fleece:identity:disk=vm")]
    [InlineData("a b%=/é", "fleece:identity:disk=a%20b%25%3D%2F%C3%A9")]
    [InlineData("😀", "fleece:identity:disk=%F0%9F%98%80")]
    public void A_value_is_escaped_as_in_a_URI_and_comes_back(string value, string name)
    {
        Assert.True(IdentityNames.CanTell(value));
        Assert.Equal(name, IdentityNames.Encode("disk", value));
        Assert.True(IdentityNames.TryDecode(name, out string key, out string decoded));
        Assert.Equal(("disk", value), (key, decoded));
    }

    [Fact]
    public void The_longest_value_fits_into_a_string_of_the_protocol()
    {
        string value = new('é', IdentityNames.MaximumValueBytes / 2);

        Assert.True(IdentityNames.CanTell(value));
        Assert.InRange(Encoding.UTF8.GetByteCount(IdentityNames.Encode(new string('k', 32), value)), 1, 4096);
        Assert.False(IdentityNames.CanTell(value + "x"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("a\nb")]
    [InlineData("a\u001b[2J")]
    [InlineData("a\u0085")]
    public void A_value_that_can_not_be_told(string value) => Assert.False(IdentityNames.CanTell(value));

    [Fact]
    public void Half_of_a_surrogate_pair_can_not_be_told() => Assert.False(IdentityNames.CanTell("vm\ud800"));

    [Theory]
    [InlineData("")]
    [InlineData("disk")]
    [InlineData("=vm")]
    [InlineData("disk=")]
    [InlineData("Disk=vm")]
    [InlineData("di sk=vm")]
    [InlineData("kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk=vm")]
    [InlineData("disk=a b")]
    [InlineData("disk=é")]
    [InlineData("disk=%")]
    [InlineData("disk=%4")]
    [InlineData("disk=%zz")]
    [InlineData("disk=%2f")]
    [InlineData("disk=%41")]
    [InlineData("disk=%0A")]
    [InlineData("disk=%00")]
    [InlineData("disk=%FF")]
    [InlineData("disk=%C3")]
    [InlineData("disk=%ED%A0%80")]
    public void A_name_that_is_none(string pair) =>
        Assert.False(IdentityNames.TryDecode(MetaContexts.FleeceIdentity + pair, out _, out _));

    [Fact]
    public void A_value_that_is_too_long_is_none() =>
        Assert.False(IdentityNames.TryDecode($"fleece:identity:disk={new string('x', IdentityNames.MaximumValueBytes + 1)}", out _, out _));
}
