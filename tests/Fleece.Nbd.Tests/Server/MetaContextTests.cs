// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>The choice and the listing of metadata contexts.</summary>
public sealed class MetaContextTests
{
    private const uint ListContexts = 9;
    private const uint SetContexts = 10;
    private const string Allocation = "base:allocation";

    [Theory]
    [InlineData(SetContexts)]
    [InlineData(ListContexts)]
    public async Task Contexts_need_structured_replies(uint option)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Connect().Greet();

        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(option, Packet.Contexts("vm", Allocation)));
    }

    public static TheoryData<byte[]> Broken { get; } = new(
        [],
        new Packet().Text("vm").ToArray(),
        new Packet().Text("vm").U32(1).ToArray(),
        new Packet().Text("vm").U32(uint.MaxValue).Text(Allocation).ToArray(),
        new Packet().Text("vm").U32(1).U32(100).Raw("base:"u8).ToArray(),
        new Packet().Text("vm").U32(1).Text(Allocation).Raw([0]).ToArray(),
        new Packet().Text("vm").U32(0).Text(Allocation).ToArray(),
        new Packet().U32(uint.MaxValue).Raw("vm"u8).U32(0).ToArray(),
        new Packet().Text(new string('x', 4097)).U32(0).ToArray());

    [Theory]
    [MemberData(nameof(Broken))]
    public async Task Lengths_that_do_not_fit_are_invalid_and_the_next_option_is_answered(byte[] data)
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);

        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(SetContexts, data));
        Assert.Equal(OptionReply.ErrorInvalid, client.AskOne(ListContexts, data));

        client.Ask(Packet.Option(7, Packet.Wish("vm", 3)));
    }

    [Theory]
    [InlineData(SetContexts)]
    [InlineData(ListContexts)]
    public async Task An_unknown_export_is_unknown(uint option)
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);

        Assert.Equal(OptionReply.ErrorUnknown, client.AskOne(option, Packet.Contexts("other", Allocation)));
    }

    [Fact]
    public async Task A_choice_of_nothing_chooses_nothing()
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);

        Assert.Equal(OptionReply.Ack, client.AskOne(SetContexts, Packet.Contexts("vm")));
    }

    [Theory]
    [InlineData]
    [InlineData("base:")]
    [InlineData(Allocation)]
    [InlineData("other:thing", Allocation, Allocation)]
    public async Task A_list_names_what_any_query_fits_once(params string[] queries)
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);

        List<OptionAnswer> answers = client.Ask(Packet.Option(ListContexts, Packet.Contexts("vm", queries)));

        Assert.Equal([OptionReply.MetaContext, OptionReply.Ack], answers.Select(answer => answer.Type));
        Assert.Equal("\0\0\0\0" + Allocation, answers[0].Text);
    }

    [Theory]
    [InlineData("base:")]
    [InlineData("base:allocatio")]
    [InlineData("base:allocation ")]
    [InlineData("other:allocation")]
    [InlineData("")]
    [InlineData("base:allocation\0")]
    public async Task A_choice_ignores_what_is_no_context(string query)
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);

        Assert.Equal(OptionReply.Ack, client.AskOne(SetContexts, Packet.Contexts("vm", query)));
    }

    [Fact]
    public async Task A_query_that_is_too_long_does_not_spoil_the_others()
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);

        List<OptionAnswer> answers = client.Ask(
            Packet.Option(SetContexts, Packet.Contexts("vm", "base:" + new string('x', 5000), Allocation)));

        Assert.Equal([OptionReply.MetaContext, OptionReply.Ack], answers.Select(answer => answer.Type));
    }

    [Fact]
    public async Task Ids_of_chosen_contexts_are_those_of_the_replies()
    {
        await using ServedDisk disk = new();
        disk.Export = disk.Export! with
        {
            Contexts = [new AllocationContext(disk.Device), new Pattern("x:a"), new Pattern("x:b")],
        };
        using RawClient client = disk.Connect().Greet().Go(HeaderMode.Structured, "vm", "x:b", Allocation);

        Answer answer = client.Call((int)NbdCommand.BlockStatus, 0, 4096);

        Assert.Equal(2, client.ContextIds.Values.Distinct().Count());
        Assert.Equal([(4096u, 3u)], answer.Extents(client.ContextIds[Allocation]));
        Assert.Equal([(4096u, 0u)], answer.Extents(client.ContextIds["x:b"]));
    }

    public static TheoryData<byte[]> Replacements { get; } = new(
        Packet.Contexts("vm"),
        Packet.Contexts("other", Allocation),
        []);

    [Theory]
    [MemberData(nameof(Replacements))]
    public async Task A_later_choice_replaces_the_earlier_one_even_when_it_fails(byte[] later)
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);
        client.Ask(Packet.Option(SetContexts, Packet.Contexts("vm", Allocation)));

        client.Ask(Packet.Option(SetContexts, later));

        Assert.Equal(NbdError.Invalid, StatusAfterGo(client).Error);
    }

    [Fact]
    public async Task A_list_leaves_the_choice_alone()
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);
        client.Ask(Packet.Option(SetContexts, Packet.Contexts("vm", Allocation)));

        client.Ask(Packet.Option(ListContexts, Packet.Contexts("vm")));

        Assert.Equal(NbdError.None, StatusAfterGo(client).Error);
    }

    [Fact]
    public async Task Contexts_of_another_export_than_that_of_GO_are_forgotten()
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);
        NbdExport vm = disk.Export!;
        disk.Export = vm with { Name = "other" };
        client.Ask(Packet.Option(SetContexts, Packet.Contexts(string.Empty, Allocation)));
        disk.Export = vm;

        Assert.Equal(NbdError.Invalid, StatusAfterGo(client).Error);
    }

    [Fact]
    public async Task The_default_export_is_the_same_with_or_without_its_name()
    {
        await using ServedDisk disk = new();
        using RawClient client = Structured(disk);
        client.Ask(Packet.Option(SetContexts, Packet.Contexts(string.Empty, Allocation)));

        Assert.Equal(NbdError.None, StatusAfterGo(client).Error);
    }

    private static RawClient Structured(ServedDisk disk)
    {
        RawClient client = disk.Connect().Greet();
        Assert.Equal(OptionReply.Ack, client.AskOne(8));
        return client;
    }

    private static Answer StatusAfterGo(RawClient client)
    {
        Assert.Equal(OptionReply.Ack, client.Ask(Packet.Option(7, Packet.Wish("vm", 3)))[^1].Type);
        client.Mode = HeaderMode.Structured;
        return client.Call((int)NbdCommand.BlockStatus, 0, 4096);
    }

    /// <summary>Flags 0, 1, 2 and so on, page by page.</summary>
    private sealed class Pattern(string name) : IStatusContext
    {
        public string Name => name;

        public ValueTask<StatusExtent> GetExtentAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
            new(new StatusExtent(Math.Min(lengthBytes, 4096 - offsetBytes % 4096), (uint)(offsetBytes / 4096)));
    }
}
