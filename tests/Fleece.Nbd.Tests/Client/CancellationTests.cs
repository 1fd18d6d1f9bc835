// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>A cancelled request ends, and never while its buffer may still be written.</summary>
public sealed class CancellationTests : IDisposable
{
    private static readonly FakeExport Export = new();

    private readonly FakeServer _server = new();

    public void Dispose() => _server.Dispose();

    [Fact]
    public async Task A_cancelled_read_ends_with_its_reply_and_the_connection_goes_on()
    {
        NbdNodeOptions options = new() { CancelGrace = TimeSpan.FromHours(1) };
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export, options);
        using FakeConnection owned = connection;
        using CancellationTokenSource cancelling = new();
        Task read = node.ReadAsync(0, new byte[512], cancelling.Token).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.Read);

        await cancelling.CancelAsync();
        Assert.False(read.IsCompleted);
        await connection.AcknowledgeAsync(request);

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read);
        Task next = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        await connection.ServeAsync(NbdCommand.Read);
        await next;
        connection.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_cancelled_read_without_a_reply_gives_its_connection_up_and_the_others_are_sent_again()
    {
        ManualTime time = new();
        NbdNodeOptions options = new() { Time = time, MaximumConnections = 1 };
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export, options);
        using FakeConnection owned = connection;
        using CancellationTokenSource cancelling = new();
        Task read = node.ReadAsync(0, new byte[512], cancelling.Token).AsTask();
        Task other = node.ReadAsync(1024, new byte[512], CancellationToken.None).AsTask();
        await connection.ReadRequestAsync(NbdCommand.Read);
        await connection.ReadRequestAsync(NbdCommand.Read);

        await cancelling.CancelAsync();
        time.Advance(options.CancelGrace - TimeSpan.FromTicks(1));
        Assert.False(read.IsCompleted);
        time.Advance(TimeSpan.FromTicks(1));
        await connection.ReadEndAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read);

        using FakeConnection second = await _server.AcceptAsync(Export);
        FakeRequest again = await second.ServeAsync(NbdCommand.Read);
        await other;
        Assert.Equal(1024UL, again.Header.Offset);
        second.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_request_that_waits_for_a_connection_ends_at_once()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        using CancellationTokenSource cancelling = new();
        Task read = node.ReadAsync(0, new byte[512], cancelling.Token).AsTask();
        await connection.ReadRequestAsync(NbdCommand.Read);
        _server.StopListening();
        connection.Dispose();

        await cancelling.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => read);
        await node.DisposeAsync();
    }

    [Fact]
    public async Task A_request_that_is_cancelled_before_it_begins_is_never_sent()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        using FakeConnection owned = connection;

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            async () => await node.WriteAsync(0, new byte[512], WriteFlags.None, new CancellationToken(canceled: true)));

        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        await connection.ServeAsync(NbdCommand.Read);
        await read;
        connection.Dispose();
        await node.DisposeAsync();
    }

    [Fact]
    public async Task Cancelling_at_any_moment_completes_every_request_once()
    {
        // Goal: no cancellation that races with a reply is lost, or reaches the next life of a pooled request.
        Seeds seeds = Seeds.FromEnvironment();
        (NbdNode node, FakeConnection connection) =
            await _server.ConnectAsync(Export, new NbdNodeOptions { CancelGrace = TimeSpan.FromHours(1) });
        Task serving = ServeReadsAsync(connection);
        byte[] buffer = new byte[512];
        for (int round = 0; round < 2000; round++)
        {
            using CancellationTokenSource cancelling = new();
            Task read = node.ReadAsync(0, buffer, cancelling.Token).AsTask();
            Thread.SpinWait(seeds.Next(2000));
            await cancelling.CancelAsync();
            try
            {
                await read;
            }
            catch (OperationCanceledException)
            {
                // The cancellation was first.
            }

            await node.ReadAsync(512, buffer, CancellationToken.None);
        }

        await node.DisposeAsync();
        await serving;
    }

    [Fact]
    public async Task Disposing_ends_in_time_when_the_server_says_nothing()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        using FakeConnection owned = connection;

        await node.DisposeAsync();

        await connection.ReadRequestAsync(NbdCommand.Disconnect);
        await connection.ReadEndAsync();
        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await node.ReadAsync(0, new byte[512], CancellationToken.None));
        Assert.Equal(BlockErrors.Closed, exception.Kind);
    }

    [Fact]
    public async Task Disposing_says_goodbye_behind_what_is_still_being_sent()
    {
        const int LengthBytes = 16 * 1024 * 1024;
        NbdNodeOptions options = new() { Time = new ManualTime(), MaximumConnections = 1 };
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export with { LengthBytes = LengthBytes }, options);
        Task write = node.WriteAsync(0, new byte[LengthBytes], WriteFlags.None, CancellationToken.None).AsTask();

        Task closing = node.DisposeAsync().AsTask();

        await connection.ServeAsync(NbdCommand.Write);
        await connection.ReadRequestAsync(NbdCommand.Disconnect);
        connection.Dispose();
        await closing;
        await write;
    }

    private static async Task ServeReadsAsync(FakeConnection connection)
    {
        using FakeConnection owned = connection;
        while (await connection.ReadRequestAsync() is { Command: NbdCommand.Read } request)
        {
            await connection.AcknowledgeAsync(request);
        }
    }
}
