// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Client;

/// <summary>Replies that break the protocol end the node, with a message that says what came.</summary>
public sealed class MalformedReplyTests : IDisposable
{
    private const int OffsetBytes = 8192;
    private const int LengthBytes = 4096;

    // To a read of 4096 bytes at 8192, over structured replies.
    private static readonly Dictionary<string, Func<FakeConnection, ulong, byte[]>> ToRead = new()
    {
        ["an unknown magic"] = (_, _) => new byte[16],
        ["a simple reply"] = (_, cookie) => [.. FakeConnection.Simple(cookie), .. new byte[LengthBytes]],
        ["another cookie"] = (server, cookie) => server.Data(cookie + 1, OffsetBytes, new byte[LengthBytes], isDone: true),
        ["data before the range"] = (server, cookie) => server.Data(cookie, OffsetBytes - 1, new byte[LengthBytes], isDone: true),
        ["data behind the range"] = (server, cookie) => server.Data(cookie, OffsetBytes + 1, new byte[LengthBytes], isDone: true),
        ["data at an offset that overflows"] = (server, cookie) => server.Data(cookie, ulong.MaxValue, new byte[16], isDone: true),
        ["more data than was asked"] = (server, cookie) => server.Data(cookie, OffsetBytes, new byte[LengthBytes + 1], isDone: true),
        ["data of no bytes"] = (server, cookie) => server.Data(cookie, OffsetBytes, [], isDone: true),
        ["data twice"] = (server, cookie) =>
        [
            .. server.Data(cookie, OffsetBytes, new byte[2048], isDone: false),
            .. server.Data(cookie, OffsetBytes, new byte[2048], isDone: true),
        ],
        ["data that overlaps"] = (server, cookie) =>
        [
            .. server.Data(cookie, OffsetBytes + 1024, new byte[2048], isDone: false),
            .. server.Data(cookie, OffsetBytes, new byte[2048], isDone: true),
        ],
        ["an end with bytes missing"] = (server, cookie) => server.Data(cookie, OffsetBytes, new byte[LengthBytes - 1], isDone: true),
        ["an end without any data"] = (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.None, cookie, []),
        ["a none chunk that is not the end"] = (server, cookie) => server.Chunk(ChunkFlags.None, ChunkType.None, cookie, []),
        ["a none chunk with payload"] = (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.None, cookie, [1]),
        ["a hole of another length of payload"] =
            (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.OffsetHole, cookie, new byte[11]),
        ["a hole of no bytes"] = (server, cookie) => server.Chunk(
            ChunkFlags.Done, ChunkType.OffsetHole, cookie, [.. FakeConnection.UInt64(OffsetBytes), 0, 0, 0, 0]),
        ["a hole that is too long"] = (server, cookie) => server.Chunk(
            ChunkFlags.Done, ChunkType.OffsetHole, cookie, [.. FakeConnection.UInt64(OffsetBytes), 255, 255, 255, 255]),
        ["extents"] = (server, cookie) => server.Extents(cookie, isDone: true, 7, (LengthBytes, 0)),
        ["an unknown chunk"] = (server, cookie) => server.Chunk(ChunkFlags.Done, (ChunkType)99, cookie, []),
        ["an error chunk of no bytes"] = (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.Error, cookie, []),
        ["an error without a number"] = (server, cookie) => server.Error(cookie, NbdError.None, "fine"),
        ["an error whose text is longer than its chunk"] =
            (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.Error, cookie, [0, 0, 0, 5, 0, 9, 65]),
        ["an error whose text is shorter than its chunk"] =
            (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.Error, cookie, [0, 0, 0, 5, 0, 0, 65]),
        ["an error that is too long"] = (server, cookie) => server.Error(cookie, NbdError.Io, new string('x', 5000)),
        ["an error at an offset outside"] =
            (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.ErrorOffset, cookie, [0, 0, 0, 5, 0, 0, .. new byte[8]]),
        ["a second answer"] = (server, cookie) =>
        [
            .. server.Chunk(ChunkFlags.None, ChunkType.OffsetHole, cookie, [.. FakeConnection.UInt64(OffsetBytes), 0, 0, 16, 0]),
            .. server.Data(cookie, OffsetBytes, new byte[16], isDone: true),
        ],
    };

    // To a status query of 4096 bytes, with contexts 7 and 8.
    private static readonly Dictionary<string, Func<FakeConnection, ulong, byte[]>> ToQuery = new()
    {
        ["a simple reply"] = (_, cookie) => FakeConnection.Simple(cookie),
        ["no extents"] = (server, cookie) => server.Chunk(ChunkFlags.Done, ChunkType.None, cookie, []),
        ["a context without extents"] = (server, cookie) => server.Extents(cookie, isDone: true, 7),
        ["one context of two"] = (server, cookie) => server.Extents(cookie, isDone: true, 7, (4096, 0)),
        ["an unknown context"] = (server, cookie) => server.Extents(cookie, isDone: false, 9, (4096, 0)),
        ["a context twice"] = (server, cookie) =>
            [.. server.Extents(cookie, isDone: false, 7, (4096, 0)), .. server.Extents(cookie, isDone: false, 7, (4096, 0))],
        ["an empty extent"] = (server, cookie) => server.Extents(cookie, isDone: false, 7, (0, 0)),
        ["extents behind the range"] = (server, cookie) => server.Extents(cookie, isDone: false, 7, (4096, 0), (512, 3)),
        ["half an extent"] = (server, cookie) => server.Chunk(ChunkFlags.None, ChunkType.BlockStatus, cookie, [0, 0, 0, 7, 0, 0, 16, 0]),
        ["data"] = (server, cookie) => server.Data(cookie, 0, new byte[512], isDone: true),
    };

    private readonly FakeServer _server = new();

    public static TheoryData<string> RepliesToRead => [.. ToRead.Keys];

    public static TheoryData<string> RepliesToQuery => [.. ToQuery.Keys];

    public void Dispose() => _server.Dispose();

    [Theory]
    [MemberData(nameof(RepliesToRead))]
    public async Task A_read_does_not_accept(string reply)
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(new FakeExport());
        await using NbdNode owned = node;
        using FakeConnection ownedConnection = connection;
        Task read = node.ReadAsync(OffsetBytes, new byte[LengthBytes], CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.Read);

        await connection.SendAsync(ToRead[reply](connection, request.Cookie));

        await CheckViolatedAsync(node, read);
    }

    [Theory]
    [MemberData(nameof(RepliesToQuery))]
    public async Task A_status_query_does_not_accept(string reply)
    {
        FakeExport export = new() { Contexts = [(7, "base:allocation"), (8, "fleece:access")] };
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(export);
        await using NbdNode owned = node;
        using FakeConnection ownedConnection = connection;
        Task query = node.GetStatusAsync(0, 4096, CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.BlockStatus);

        await connection.SendAsync(ToQuery[reply](connection, request.Cookie));

        await CheckViolatedAsync(node, query);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_chunk_of_another_form_is_not_accepted(bool isExtended)
    {
        FakeExport export = new() { Form = isExtended ? ReplyForm.Extended : ReplyForm.Simple, Contexts = [] };
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(export);
        await using NbdNode owned = node;
        using FakeConnection ownedConnection = connection;
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.Read);
        byte[] chunk = new byte[ChunkHeader.ExtendedBytes];
        new ChunkHeader(ChunkFlags.Done, ChunkType.None, request.Cookie, 0, 0).Write(chunk, !isExtended);

        await connection.SendAsync(chunk);

        await CheckViolatedAsync(node, read);
    }

    [Fact]
    public async Task An_extended_chunk_repeats_the_offset_of_its_request()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(new FakeExport { Form = ReplyForm.Extended });
        await using NbdNode owned = node;
        using FakeConnection ownedConnection = connection;
        Task write = node.WriteAsync(4096, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.Write);

        await connection.SendAsync(connection.Chunk(ChunkFlags.Done, ChunkType.None, request.Cookie, [], requestOffset: 512));

        await CheckViolatedAsync(node, write);
    }

    [Fact]
    public async Task A_reply_that_nobody_asked_for_ends_the_node()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(new FakeExport());
        await using NbdNode owned = node;
        using FakeConnection ownedConnection = connection;

        await connection.SendAsync(FakeConnection.Simple(1));
        await connection.ReadEndAsync();

        await CheckViolatedAsync(node, node.FlushAsync(CancellationToken.None).AsTask());
    }

    private static async Task CheckViolatedAsync(NbdNode node, Task request)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(() => request);
        Assert.Equal(NbdErrors.ProtocolViolated, exception.Kind);
        exception = await Assert.ThrowsAsync<BlockException>(async () => await node.ReadAsync(0, new byte[1], CancellationToken.None));
        Assert.Equal(NbdErrors.ProtocolViolated, exception.Kind);
    }
}
