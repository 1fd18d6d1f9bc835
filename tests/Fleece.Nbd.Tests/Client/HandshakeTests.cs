// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>What the client accepts of a server before the first request.</summary>
public sealed class HandshakeTests : IDisposable
{
    private static readonly byte[] Greeting = [.. Magic(NbdMagic.Greeting), .. Magic(NbdMagic.Option), 0, 3];

    private readonly FakeServer _server = new();

    public static TheoryData<string, byte[]> BadGreetings => new()
    {
        { "another protocol", [.. Encoding.ASCII.GetBytes("HTTP/1.1 400 Bad Request\r\n")] },
        { "the oldstyle protocol", [.. Magic(NbdMagic.Greeting), .. Magic(0x00420281861253), .. new byte[2]] },
        { "a wrong second magic", [.. Magic(NbdMagic.Greeting), .. Magic(NbdMagic.Greeting), 0, 3] },
    };

    public static TheoryData<string, byte[]> BadAnswersToGo => new()
    {
        { "a wrong magic", new byte[20] },
        { "an answer to another option", FakeConnection.OptionAnswer(NbdOption.List, OptionReply.Ack) },
        { "an acknowledgement without the size", FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Ack) },
        { "an answer that is too long", FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Info, new byte[70_000]) },
        { "an answer of another kind", FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Server, new byte[4]) },
        { "answers without end", [.. Enumerable.Range(0, NbdLimits.MaximumOptionReplies + 1).SelectMany(_ => Unknown())] },
        { "information of one byte", FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Info, 0) },
        { "a size that is cut off", FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Info, new byte[9]) },
        { "a size beyond 63 bits", Size(1UL << 63, 1) },
        { "the size twice", [.. Size(4096, 1), .. Size(4096, 1)] },
        { "a minimum block that is no power of two", BlockSize(3, 4096, 1 << 25) },
        { "a minimum block of 0", BlockSize(0, 4096, 1 << 25) },
        { "a minimum block beyond 64 KiB", BlockSize(1 << 17, 1 << 17, 1 << 25) },
        { "a preferred block below the minimum", BlockSize(4096, 512, 1 << 25) },
        { "a preferred block that is no power of two", BlockSize(1, 5000, 1 << 25) },
        { "a maximum that is no multiple", BlockSize(4096, 4096, (1 << 20) + 1) },
        { "a maximum of 0", BlockSize(1, 4096, 0) },
    };

    public static TheoryData<string, byte[]> BadAnswersToSetMetaContext => new()
    {
        { "a context that was not asked", Context(1, "qemu:dirty-bitmap:x") },
        { "a context twice", [.. Context(1, "base:allocation"), .. Context(2, "base:allocation")] },
        { "two contexts with one number", [.. Context(1, "base:allocation"), .. Context(1, "fleece:access")] },
        { "a context without a number", FakeConnection.OptionAnswer(NbdOption.SetMetaContext, OptionReply.MetaContext, 1, 2) },
    };

    public void Dispose() => _server.Dispose();

    [Theory]
    [MemberData(nameof(BadGreetings))]
    public async Task A_greeting_is_not_accepted_of(string what, byte[] greeting)
    {
        Assert.NotEmpty(what);
        Task<BlockException> connecting = ConnectAndFailAsync();
        using FakeConnection connection = await _server.AcceptAsync();

        await connection.SendAsync(greeting);

        Assert.Equal(NbdErrors.ProtocolViolated, (await connecting).Kind);
    }

    [Theory]
    [MemberData(nameof(BadAnswersToGo))]
    public async Task GO_does_not_accept(string what, byte[] answer)
    {
        Assert.NotEmpty(what);
        Assert.Equal(NbdErrors.ProtocolViolated, (await FailAsync(NbdOption.Go, answer)).Kind);
    }

    [Theory]
    [MemberData(nameof(BadAnswersToSetMetaContext))]
    public async Task SET_META_CONTEXT_does_not_accept(string what, byte[] answer)
    {
        Assert.NotEmpty(what);
        Assert.Equal(NbdErrors.ProtocolViolated, (await FailAsync(NbdOption.SetMetaContext, answer)).Kind);
    }

    [Theory]
    [InlineData(0x80000002, BlockErrors.PermissionDenied)]
    [InlineData(0x80000004, BlockErrors.PermissionDenied)]
    [InlineData(0x80000005, NbdErrors.TlsFailed)]
    [InlineData(0x80000006, NbdErrors.ExportUnknown)]
    [InlineData(0x80000007, NbdErrors.ConnectFailed)]
    [InlineData(0x80000008, BlockErrors.Unsupported)]
    [InlineData(0x8000ffff, BlockErrors.PermissionDenied)]
    public async Task A_refusal_of_GO_is_told_with_the_text_of_the_server(uint reply, string kind)
    {
        byte[] answer = FakeConnection.OptionAnswer(NbdOption.Go, (OptionReply)reply, Encoding.UTF8.GetBytes("only on\x1b[2J Sundays"));

        BlockException exception = await FailAsync(NbdOption.Go, answer);

        Assert.Equal(kind, exception.Kind);
        Assert.Contains("only on\\u001b[2J Sundays", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_size_that_is_no_multiple_of_the_blocks_is_not_supported()
    {
        byte[] ack = FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Ack);

        BlockException exception = await FailAsync(NbdOption.Go, [.. Size(4097, 1), .. BlockSize(512, 4096, 1 << 25), .. ack]);

        Assert.Equal(BlockErrors.Unsupported, exception.Kind);
    }

    [Fact]
    public async Task An_unknown_piece_of_information_is_passed_over()
    {
        BlockException exception = await FailAsync(NbdOption.Go, [.. Unknown(), .. Size(1UL << 63, 1)]);

        Assert.Contains("9223372036854775808 bytes", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_smallest_block_and_the_longest_payload_shape_requests()
    {
        FakeExport export = new() { BlockSize = (4096, 4096, 8192) };
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(export);
        Task read = node.ReadAsync(4096, new byte[3 * 4096], CancellationToken.None).AsTask();

        FakeRequest first = await connection.ServeAsync(NbdCommand.Read);
        FakeRequest second = await connection.ServeAsync(NbdCommand.Read);
        await read;

        Assert.Equal(4096, node.Geometry.RequestAlignmentBytes);
        Assert.Equal((4096UL, 8192UL), (first.Header.Offset, first.Header.Length));
        Assert.Equal((12288UL, 4096UL), (second.Header.Offset, second.Header.Length));
        connection.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_server_that_says_nothing_is_given_up_in_time()
    {
        ManualTime time = new();
        NbdNodeOptions options = new() { Time = time };
        Task connecting = NbdNode.ConnectAsync(_server.Uri, options, CancellationToken.None).AsTask();
        using FakeConnection connection = await _server.AcceptAsync();
        time.Advance(options.ConnectTimeout - TimeSpan.FromTicks(1));
        Assert.False(connecting.IsCompleted);

        time.Advance(TimeSpan.FromTicks(1));

        Assert.Equal(NbdErrors.ConnectFailed, (await Assert.ThrowsAsync<BlockException>(() => connecting)).Kind);
    }

    [Fact]
    public async Task Connecting_can_be_cancelled()
    {
        using CancellationTokenSource cancelling = new();
        Task connecting = NbdNode.ConnectAsync(_server.Uri, new NbdNodeOptions(), cancelling.Token).AsTask();
        using FakeConnection connection = await _server.AcceptAsync();

        await cancelling.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => connecting);
    }

    [Theory]
    [InlineData("nbd+unix:///disk?socket=/nowhere/nbd.sock")]
    [InlineData("nbd://localhost:1/disk")]
    [InlineData("nbd://no-such-host.invalid/disk")]
    public async Task An_address_where_nobody_answers_is_named(string address)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await NbdNode.ConnectAsync(NbdUri.Parse(address), new NbdNodeOptions(), CancellationToken.None));

        Assert.Equal(NbdErrors.ConnectFailed, exception.Kind);
        Assert.Contains(address, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_server_that_hangs_up_is_no_server()
    {
        Task<BlockException> connecting = ConnectAndFailAsync();
        using (FakeConnection connection = await _server.AcceptAsync())
        {
            await connection.SendAsync(Greeting);
            await connection.ReadAsync(sizeof(uint));
        }

        Assert.Equal(NbdErrors.ConnectFailed, (await connecting).Kind);
    }

    private static byte[] Unknown() => FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Info, 0, 99, 1, 2, 3);

    private static byte[] Magic(ulong magic) => FakeConnection.UInt64(magic);

    private static byte[] Size(ulong lengthBytes, byte flags) =>
        FakeConnection.OptionAnswer(NbdOption.Go, OptionReply.Info, [0, 0, .. FakeConnection.UInt64(lengthBytes), 0, flags]);

    private static byte[] BlockSize(uint minimum, uint preferred, uint maximum) =>
        FakeConnection.OptionAnswer(
            NbdOption.Go,
            OptionReply.Info,
            [0, 3, .. FakeConnection.UInt32(minimum), .. FakeConnection.UInt32(preferred), .. FakeConnection.UInt32(maximum)]);

    private static byte[] Context(uint number, string name) =>
        FakeConnection.OptionAnswer(
            NbdOption.SetMetaContext, OptionReply.MetaContext, [.. FakeConnection.UInt32(number), .. Encoding.UTF8.GetBytes(name)]);

    private async Task<BlockException> FailAsync(NbdOption option, byte[] answer)
    {
        Task<BlockException> connecting = ConnectAndFailAsync();
        using FakeConnection connection = await _server.AcceptAsync(new FakeExport { Answer = (option, answer) });
        return await connecting;
    }

    private Task<BlockException> ConnectAndFailAsync() => Assert.ThrowsAsync<BlockException>(
        async () => await NbdNode.ConnectAsync(_server.Uri, new NbdNodeOptions(), CancellationToken.None));
}
