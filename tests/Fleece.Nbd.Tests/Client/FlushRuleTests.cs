// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Client;

/// <summary>No flush succeeds while acknowledged writes may have died with a server.</summary>
public sealed class FlushRuleTests : IDisposable
{
    private static readonly FakeExport Export = new();

    private readonly FakeServer _server = new();

    public void Dispose() => _server.Dispose();

    [Fact]
    public async Task A_flush_after_a_loss_with_unflushed_writes_fails_once_and_says_why()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        await WriteAsync(node, connection);

        Task flush = FlushThroughLossAsync(node, connection);
        using FakeConnection second = await _server.AcceptAsync(Export);
        await second.ServeAsync(NbdCommand.Flush);

        BlockException exception = await Assert.ThrowsAsync<BlockException>(() => flush);
        Assert.Equal(BlockErrors.IoFailed, exception.Kind);
        Assert.Contains("may have lost", exception.Message, StringComparison.Ordinal);
        Task again = node.FlushAsync(CancellationToken.None).AsTask();
        await second.ServeAsync(NbdCommand.Flush);
        await again;
        await CloseAsync(node, second);
    }

    [Fact]
    public async Task A_flush_after_a_loss_with_flushed_writes_succeeds()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        await WriteAsync(node, connection);
        await FlushAsync(node, connection);

        Task flush = FlushThroughLossAsync(node, connection);
        using FakeConnection second = await _server.AcceptAsync(Export);
        await second.ServeAsync(NbdCommand.Flush);

        await flush;
        await CloseAsync(node, second);
    }

    [Fact]
    public async Task A_write_that_is_acknowledged_after_a_flush_began_is_not_covered_by_it()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        Task flush = node.FlushAsync(CancellationToken.None).AsTask();
        FakeRequest early = await connection.ReadRequestAsync(NbdCommand.Flush);
        await WriteAsync(node, connection);
        await connection.AcknowledgeAsync(early);
        await flush;

        Task second = FlushThroughLossAsync(node, connection);
        using FakeConnection later = await _server.AcceptAsync(Export);
        await later.ServeAsync(NbdCommand.Flush);

        Assert.Equal(BlockErrors.IoFailed, (await Assert.ThrowsAsync<BlockException>(() => second)).Kind);
        await CloseAsync(node, later);
    }

    [Fact]
    public async Task A_write_that_was_not_acknowledged_is_sent_again_and_counts_from_then_on()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        byte[] data = [1, 2, 3, 4];
        Task write = node.WriteAsync(512, data, WriteFlags.None, CancellationToken.None).AsTask();
        await connection.ReadRequestAsync(NbdCommand.Write);

        connection.Dispose();
        using FakeConnection second = await _server.AcceptAsync(Export);
        FakeRequest again = await second.ServeAsync(NbdCommand.Write);
        await write;

        Assert.Equal(data, again.Payload);
        Assert.Equal(512UL, again.Header.Offset);
        await FlushAsync(node, second);
        await CloseAsync(node, second);
    }

    [Fact]
    public async Task Every_flush_that_is_on_its_way_at_the_loss_fails()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        await WriteAsync(node, connection);
        Task[] flushes = [node.FlushAsync(CancellationToken.None).AsTask(), node.FlushAsync(CancellationToken.None).AsTask()];
        await connection.ReadRequestAsync(NbdCommand.Flush);
        await connection.ReadRequestAsync(NbdCommand.Flush);

        connection.Dispose();
        using FakeConnection second = await _server.AcceptAsync(Export);
        await second.ServeAsync(NbdCommand.Flush);
        await second.ServeAsync(NbdCommand.Flush);

        foreach (Task flush in flushes)
        {
            Assert.Equal(BlockErrors.IoFailed, (await Assert.ThrowsAsync<BlockException>(() => flush)).Kind);
        }

        await FlushAsync(node, second);
        await CloseAsync(node, second);
    }

    [Fact]
    public async Task A_durable_write_after_the_loss_reports_it_once()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        await WriteAsync(node, connection);

        connection.Dispose();
        Task write = node.WriteAsync(0, new byte[512], WriteFlags.ForceUnitAccess, CancellationToken.None).AsTask();
        using FakeConnection second = await _server.AcceptAsync(Export);
        FakeRequest request = await second.ServeAsync(NbdCommand.Write);

        Assert.Equal(CommandFlags.Fua, request.Header.Flags);
        Assert.Equal(BlockErrors.IoFailed, (await Assert.ThrowsAsync<BlockException>(() => write)).Kind);
        await FlushAsync(node, second);
        await CloseAsync(node, second);
    }

    [Fact]
    public async Task Durable_writes_are_not_lost_with_a_connection()
    {
        (NbdNode node, FakeConnection connection) = await _server.ConnectAsync(Export);
        Task write = node.WriteAsync(0, new byte[512], WriteFlags.ForceUnitAccess, CancellationToken.None).AsTask();
        await connection.ServeAsync(NbdCommand.Write);
        await write;

        Task flush = FlushThroughLossAsync(node, connection);
        using FakeConnection second = await _server.AcceptAsync(Export);
        await second.ServeAsync(NbdCommand.Flush);

        await flush;
        await CloseAsync(node, second);
    }

    [Fact]
    public async Task Without_reconnecting_the_first_loss_ends_the_node()
    {
        (NbdNode node, FakeConnection connection) =
            await _server.ConnectAsync(Export, new NbdNodeOptions { ReconnectTimeout = TimeSpan.Zero });
        await using NbdNode owned = node;
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        await connection.ReadRequestAsync(NbdCommand.Read);

        connection.Dispose();

        Assert.Equal(NbdErrors.ConnectionLost, (await Assert.ThrowsAsync<BlockException>(() => read)).Kind);
        BlockException later = await Assert.ThrowsAsync<BlockException>(async () => await node.FlushAsync(CancellationToken.None));
        Assert.Equal(NbdErrors.ConnectionLost, later.Kind);
    }

    [Fact]
    public async Task A_flush_goes_over_every_connection_that_has_unflushed_writes()
    {
        // Method: a read that is never answered keeps the first connection busy, so that the second, once it is there, takes the
        // writes; both connections are served from here on, and their flushes counted.
        FakeExport export = Export with { Flags = FakeExport.AllFlags | TransmissionFlags.CanMultiConn };
        (NbdNode node, FakeConnection first) = await _server.ConnectAsync(export);
        await using NbdNode owned = node;
        ValueTask held = node.ReadAsync(0, new byte[512], CancellationToken.None);
        await first.ReadRequestAsync(NbdCommand.Read);
        await WriteAsync(node, first);
        FakeConnection second = await _server.AcceptAsync(export);
        int[] writes = new int[2];
        int[] flushes = new int[2];
        Task[] serving = [ServeAllAsync(first, 0), ServeAllAsync(second, 1)];

        while (Volatile.Read(ref writes[1]) == 0)
        {
            await node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None);
        }

        await node.FlushAsync(CancellationToken.None);

        Assert.Equal([1, 1], flushes);
        await node.DisposeAsync();
        await Task.WhenAll(serving);
        await Assert.ThrowsAsync<BlockException>(async () => await held);

        async Task ServeAllAsync(FakeConnection connection, int index)
        {
            using FakeConnection ends = connection;
            while (await connection.ReadRequestAsync() is { Command: not NbdCommand.Disconnect } request)
            {
                writes[index] += request.Command == NbdCommand.Write ? 1 : 0;
                flushes[index] += request.Command == NbdCommand.Flush ? 1 : 0;
                await connection.AcknowledgeAsync(request);
            }
        }
    }

    private static async Task WriteAsync(NbdNode node, FakeConnection connection)
    {
        Task write = node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        await connection.ServeAsync(NbdCommand.Write);
        await write;
    }

    private static async Task FlushAsync(NbdNode node, FakeConnection connection)
    {
        Task flush = node.FlushAsync(CancellationToken.None).AsTask();
        await connection.ServeAsync(NbdCommand.Flush);
        await flush;
    }

    private static Task FlushThroughLossAsync(NbdNode node, FakeConnection connection)
    {
        connection.Dispose();
        return node.FlushAsync(CancellationToken.None).AsTask();
    }

    private static async Task CloseAsync(NbdNode node, FakeConnection connection)
    {
        Task closing = node.DisposeAsync().AsTask();
        await connection.ReadRequestAsync(NbdCommand.Disconnect);
        connection.Dispose();
        await closing;
    }
}
