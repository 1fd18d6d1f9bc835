// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>What becomes of requests when a connection is lost.</summary>
public sealed class ReconnectTests : IDisposable
{
    private static readonly FakeExport Export = new();

    private readonly FakeServer _server = new();

    public static TheoryData<string> Requests => ["read", "write", "zero", "discard", "query", "flush"];

    public void Dispose() => _server.Dispose();

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task An_unanswered_request_is_sent_again_over_the_next_connection(string name)
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        Task operation = Start(node, name);
        FakeRequest first = await connection.ReadRequestAsync();

        connection.Dispose();
        using FakeConnection second = await _server.AcceptAsync(Export);
        FakeRequest again = await second.ReadRequestAsync();
        await (again.Command == NbdCommand.BlockStatus
            ? second.SendAsync(second.Extents(again.Cookie, isDone: true, 7, (4096, 0)))
            : second.AcknowledgeAsync(again));
        await operation;

        Assert.Equal(first.Header with { Cookie = again.Cookie }, again.Header);
        Assert.Equal(first.Payload, again.Payload);
        second.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_read_that_was_half_answered_starts_over()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        byte[] buffer = new byte[1024];
        Task read = node.ReadAsync(0, buffer, CancellationToken.None).AsTask();
        FakeRequest first = await connection.ReadRequestAsync(NbdCommand.Read);
        await connection.SendAsync(connection.Data(first.Cookie, 0, [.. Enumerable.Repeat((byte)1, 512)], isDone: false));

        connection.Dispose();
        using FakeConnection second = await _server.AcceptAsync(Export);
        FakeRequest again = await second.ReadRequestAsync(NbdCommand.Read);
        await second.SendAsync(second.Data(again.Cookie, 0, [.. Enumerable.Repeat((byte)2, 1024)], isDone: true));
        await read;

        Assert.All(buffer, one => Assert.Equal(2, one));
        second.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task Requests_wait_while_nobody_answers_at_the_address()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        _server.StopListening();
        connection.Dispose();
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();

        Assert.False(read.IsCompleted);
        _server.Listen();
        using FakeConnection second = await _server.AcceptAsync(Export);
        await second.ServeAsync(NbdCommand.Read);
        await read;

        second.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_server_that_stays_away_is_a_lost_connection_and_a_later_request_tries_again()
    {
        ManualTime time = new();
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export, new NbdNodeOptions { Time = time });
        _server.StopListening();
        connection.Dispose();
        Task lost = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        await AdvanceUntilAsync(time, lost, TimeSpan.FromSeconds(1));

        Assert.Equal(NbdErrors.ConnectionLost, (await Assert.ThrowsAsync<BlockException>(() => lost)).Kind);
        _server.Listen();
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        using FakeConnection second = await _server.AcceptAsync(Export);
        await second.ServeAsync(NbdCommand.Read);
        await read;
        second.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_server_that_dies_of_a_request_each_time_does_not_keep_it_for_ever()
    {
        ManualTime time = new();
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export, new NbdNodeOptions { Time = time });
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        for (int deaths = 0; deaths < 5; deaths++)
        {
            await connection.ReadRequestAsync(NbdCommand.Read);
            connection.Dispose();
            Task<FakeConnection> accepting = _server.AcceptAsync();
            await AdvanceUntilAsync(time, accepting, TimeSpan.FromMilliseconds(1));
            connection = await accepting;
            await connection.ShakeHandsAsync(Export);
            Assert.False(read.IsCompleted);
        }

        await connection.ReadRequestAsync(NbdCommand.Read);
        time.Advance(TimeSpan.FromMinutes(2));
        connection.Dispose();

        Assert.Equal(NbdErrors.ConnectionLost, (await Assert.ThrowsAsync<BlockException>(() => read)).Kind);
        await node.DisposeAsync();
    }

    [Theory]
    [InlineData(2 * 1024 * 1024, (ushort)FakeExport.AllFlags)]
    [InlineData(1024 * 1024, (ushort)(FakeExport.AllFlags | TransmissionFlags.ReadOnly))]
    public async Task Another_export_at_the_address_ends_the_node_for_good(ulong lengthBytes, ushort flags)
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        connection.Dispose();
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();

        using FakeConnection second = await _server.AcceptAsync(
            Export with { LengthBytes = lengthBytes, Flags = (TransmissionFlags)flags });

        BlockException exception = await Assert.ThrowsAsync<BlockException>(() => read);
        Assert.Equal(NbdErrors.ConnectionLost, exception.Kind);
        Assert.Contains("another export", exception.Message, StringComparison.Ordinal);
        exception = await Assert.ThrowsAsync<BlockException>(async () => await node.FlushAsync(CancellationToken.None));
        Assert.Contains("another export", exception.Message, StringComparison.Ordinal);
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_node_without_requests_does_not_reconnect()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        Task<FakeConnection> accepting = _server.AcceptAsync();

        connection.Dispose();
        await node.DisposeAsync();

        Assert.False(accepting.IsCompleted);
    }

    [Fact]
    public async Task Disposing_fails_what_waits_for_a_connection()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        _server.StopListening();
        connection.Dispose();
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();

        await node.DisposeAsync();

        Assert.Equal(BlockErrors.Closed, (await Assert.ThrowsAsync<BlockException>(() => read)).Kind);
    }

    // The pauses between attempts are cut by chance, so nobody knows how many there are.
    private static async Task AdvanceUntilAsync(ManualTime time, Task task, TimeSpan step)
    {
        while (!task.IsCompleted)
        {
            time.Advance(step);
            await Task.Delay(1);
        }
    }

    private static Task Start(NbdNode node, string name) => name switch
    {
        "read" => node.ReadAsync(4096, new byte[4096], CancellationToken.None).AsTask(),
        "write" => node.WriteAsync(4096, Enumerable.Repeat((byte)5, 200_000).ToArray(), WriteFlags.None, CancellationToken.None).AsTask(),
        "zero" => node.WriteZeroesAsync(4096, 4096, WriteFlags.None, CancellationToken.None).AsTask(),
        "discard" => node.DiscardAsync(4096, 4096, CancellationToken.None).AsTask(),
        "query" => node.GetStatusAsync(4096, 4096, CancellationToken.None).AsTask(),
        _ => node.FlushAsync(CancellationToken.None).AsTask(),
    };
}
