// SPDX-License-Identifier: MIT
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>When a server tells what an export is of.</summary>
public sealed class IdentityTests
{
    private const uint Go = 7;
    private const uint ListContexts = 9;
    private const uint SetContexts = 10;
    private const string Query = "fleece:identity:";

    private static readonly KeyValuePair<string, string>[] Identity =
        [KeyValuePair.Create("disk", "a b"), KeyValuePair.Create(IdentityNames.Guests, "0")];

    [Fact]
    public async Task Identity_is_listed_for_its_query()
    {
        await using ServedDisk disk = Identified();
        using RawClient client = Structured(disk);

        List<OptionAnswer> answers = client.Ask(Packet.Option(ListContexts, Packet.Contexts("vm", Query)));

        Assert.Equal([OptionReply.MetaContext, OptionReply.MetaContext, OptionReply.Ack], answers.Select(answer => answer.Type));
        Assert.Equal("\0\0\0\0fleece:identity:disk=a%20b", answers[0].Text);
    }

    [Theory]
    [InlineData]
    [InlineData("base:")]
    [InlineData("fleece:")]
    [InlineData("fleece:identity")]
    [InlineData("fleece:identity:disk=a%20b")]
    public async Task No_other_query_lists_it(params string[] queries)
    {
        await using ServedDisk disk = Identified();
        using RawClient client = Structured(disk);

        List<OptionAnswer> answers = client.Ask(Packet.Option(ListContexts, Packet.Contexts("vm", queries)));

        Assert.DoesNotContain(answers, answer => answer.Text.Contains("identity", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(Query)]
    [InlineData("fleece:identity:disk=a%20b")]
    public async Task It_can_not_be_chosen(string query)
    {
        await using ServedDisk disk = Identified();
        using RawClient client = Structured(disk);

        Assert.Equal(OptionReply.Ack, client.AskOne(SetContexts, Packet.Contexts("vm", query)));
    }

    [Theory]
    [InlineData("disk", "other", OptionReply.ErrorUnknown)]
    [InlineData(IdentityNames.Guests, "7", OptionReply.Ack)]
    public async Task GO_is_refused_when_the_name_has_become_that_of_another_export(string key, string value, object expected)
    {
        await using ServedDisk disk = Identified();
        using RawClient client = Structured(disk);
        client.Ask(Packet.Option(ListContexts, Packet.Contexts("vm", Query)));

        disk.Export = disk.Export! with { Identity = [.. Identity.Where(pair => pair.Key != key), KeyValuePair.Create(key, value)] };

        Assert.Equal((OptionReply)expected, client.Ask(Packet.Option(Go, Packet.Wish("vm", 3)))[^1].Type);
    }

    [Fact]
    public async Task A_client_that_has_not_asked_gets_the_export_that_is_there()
    {
        await using ServedDisk disk = Identified();
        using RawClient client = Structured(disk);
        client.Ask(Packet.Option(ListContexts, Packet.Contexts("vm")));

        disk.Export = disk.Export! with { Identity = [] };

        Assert.Equal(OptionReply.Ack, client.Ask(Packet.Option(Go, Packet.Wish("vm", 3)))[^1].Type);
    }

    private static ServedDisk Identified()
    {
        ServedDisk disk = new();
        disk.Export = disk.Export! with { Identity = Identity };
        return disk;
    }

    private static RawClient Structured(ServedDisk disk)
    {
        RawClient client = disk.Connect().Greet();
        Assert.Equal(OptionReply.Ack, client.AskOne(8));
        return client;
    }
}
