// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Client;

/// <summary>What the client takes of a server that tells what an export is of.</summary>
public sealed class IdentityTests : IDisposable
{
    private static readonly string[] Told =
        ["fleece:identity:kind=snapshot", "fleece:identity:id=5d5e6f60-0000-4000-8000-000000000001", "fleece:identity:guests=3"];

    private readonly FakeServer _server = new();

    public static TheoryData<string, string[]> Malformed => new()
    {
        { "a key twice", ["fleece:identity:disk=vm", "fleece:identity:disk=vm"] },
        { "no value", ["fleece:identity:disk"] },
        { "a control character", ["fleece:identity:disk=%1B%5B2J"] },
        { "bytes that are not escaped", ["fleece:identity:disk=\u001b[2J"] },
        { "a value that is too long", [$"fleece:identity:disk={new string('x', 1025)}"] },
        { "a name that is too long", [$"fleece:identity:disk={new string('x', 4096)}"] },
        { "a name with a NUL", ["fleece:identity:disk=v\0m"] },
        { "too many", [.. Enumerable.Range(0, 33).Select(i => $"fleece:identity:k{(char)('a' + (i / 26))}{(char)('a' + (i % 26))}=1")] },
        { "replies without end", [.. Enumerable.Repeat("other:context", NbdLimits.MaximumOptionReplies + 1)] },
    };

    public static TheoryData<string, byte[]> BadAnswers => new()
    {
        { "a context without a number", FakeConnection.OptionAnswer(NbdOption.ListMetaContext, OptionReply.MetaContext, 1, 2) },
        { "an answer of another kind", FakeConnection.OptionAnswer(NbdOption.ListMetaContext, OptionReply.Server, new byte[4]) },
        { "an acknowledgement with data", FakeConnection.OptionAnswer(NbdOption.ListMetaContext, OptionReply.Ack, 1) },
        { "an answer to another option", FakeConnection.OptionAnswer(NbdOption.SetMetaContext, OptionReply.Ack) },
    };

    public void Dispose() => _server.Dispose();

    [Fact]
    public async Task Identity_is_told_by_key()
    {
        (NbdNode node, FakeConnection connection) =
            await _server.ConnectAsync(new FakeExport { Identity = [.. Told, "fleece:identity:disk=a%20b", "other:context"] });

        Assert.Equal("a b", node.Identity["disk"]);
        Assert.Equal(["disk", "guests", "id", "kind"], node.Identity.Keys.Order());
        connection.Dispose();
        await node.DisposeAsync();
    }

    [Theory]
    [InlineData(null)]
    [InlineData("base:allocation")]
    public async Task A_server_of_another_program_tells_nothing(string? listed)
    {
        (NbdNode node, FakeConnection connection) =
            await _server.ConnectAsync(new FakeExport { Identity = listed is null ? null : [listed] });

        Assert.Empty(node.Identity);
        connection.Dispose();
        await node.DisposeAsync();
    }

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task A_malformed_identity_breaks_the_protocol(string what, string[] names)
    {
        Assert.NotEmpty(what);
        BlockException failure = await FailAsync(new FakeExport { Identity = names });

        Assert.Equal(NbdErrors.ProtocolViolated, failure.Kind);
        Assert.DoesNotContain(failure.Message, char.IsControl);
    }

    [Theory]
    [MemberData(nameof(BadAnswers))]
    public async Task An_answer_that_is_no_list_breaks_the_protocol(string what, byte[] answer)
    {
        Assert.NotEmpty(what);
        BlockException failure = await FailAsync(new FakeExport { Answer = (NbdOption.ListMetaContext, answer) });

        Assert.Equal(NbdErrors.ProtocolViolated, failure.Kind);
    }

    [Theory]
    [InlineData("another instant", "fleece:identity:kind=snapshot", "fleece:identity:id=5d5e6f60-0000-4000-8000-000000000002")]
    [InlineData("nothing any more")]
    public async Task A_connection_that_is_told_something_else_is_not_used(string what, params string[] then)
    {
        Assert.NotEmpty(what);
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(new FakeExport { Identity = Told });

        connection.Dispose();
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        using FakeConnection second = await _server.AcceptAsync(new FakeExport { Identity = then });

        BlockException failure = await Assert.ThrowsAsync<BlockException>(() => read);
        Assert.Equal(NbdErrors.ConnectionLost, failure.Kind);
        Assert.Contains("another identity (id", failure.Message, StringComparison.Ordinal);
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_connection_at_which_more_guests_are_counted_is_used()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(new FakeExport { Identity = Told });

        connection.Dispose();
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        using FakeConnection second =
            await _server.AcceptAsync(new FakeExport { Identity = [.. Told[..2], "fleece:identity:guests=4"] });
        await second.ServeAsync(NbdCommand.Read);
        await read;

        second.Dispose();
        await node.DisposeAsync();
    }

    private async Task<BlockException> FailAsync(FakeExport export)
    {
        Task<BlockException> connecting = Assert.ThrowsAsync<BlockException>(
            async () => await NbdNode.ConnectAsync(_server.Uri, new NbdNodeOptions(), CancellationToken.None));
        Task serving = ServeAsync(export);
        BlockException failure = await connecting;
        await serving;
        return failure;
    }

    // The client leaves in the middle of what is malformed.
    private async Task ServeAsync(FakeExport export)
    {
        try
        {
            using FakeConnection connection = await _server.AcceptAsync(export);
        }
        catch (IOException)
        {
        }
    }
}
