// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>Replies as the protocol allows them, the unusual ones among them.</summary>
public sealed class ReplyTests : IDisposable
{
    private readonly FakeServer _server = new();

    public void Dispose() => _server.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Data_and_holes_in_any_order_fill_a_read(bool isExtended)
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport { Form = FormOf(isExtended) });
        byte[] buffer = [.. Enumerable.Repeat((byte)0xEE, 4096)];
        Task read = node.ReadAsync(512, buffer, CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.Read);

        byte[] threes = [.. Enumerable.Repeat((byte)3, 2048)];
        await connection.SendAsync(connection.Data(request.Cookie, 2560, threes, isDone: false, requestOffset: 512));
        await connection.SendAsync(connection.Chunk(
            ChunkFlags.None, ChunkType.OffsetHole, request.Cookie, [.. FakeConnection.UInt64(1536), 0, 0, 4, 0], 512));
        await connection.SendAsync(connection.Data(request.Cookie, 512, [.. Enumerable.Repeat((byte)1, 1024)], isDone: false));
        await connection.SendAsync(connection.Chunk(ChunkFlags.Done, ChunkType.None, request.Cookie, [], 512));
        await read;

        byte[] expected = [.. Enumerable.Repeat((byte)1, 1024), .. new byte[1024], .. threes];
        Assert.Equal(expected, buffer);
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Replies_in_another_order_reach_their_requests()
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport());
        byte[][] buffers = [new byte[512], new byte[512], new byte[512]];
        Task[] reads = [.. buffers.Select((buffer, i) => node.ReadAsync(512 * i, buffer, CancellationToken.None).AsTask())];
        List<FakeRequest> requests = [];
        while (requests.Count < 3)
        {
            requests.Add(await connection.ReadRequestAsync(NbdCommand.Read));
        }

        foreach (int i in (int[])[2, 0, 1])
        {
            byte[] data = [.. Enumerable.Repeat((byte)(10 + i), 512)];
            await connection.SendAsync(connection.Data(requests[i].Cookie, requests[i].Header.Offset, data, isDone: true));
            await reads[i];
            Assert.Equal(data, buffers[i]);
        }

        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task A_read_that_meets_an_error_after_its_data_fails()
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport());
        Task read = node.ReadAsync(512, new byte[512], CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.Read);

        await connection.SendAsync(connection.Data(request.Cookie, 512, new byte[512], isDone: false));
        await connection.SendAsync(connection.Error(request.Cookie, NbdError.Io, "the platter came off"));

        BlockException exception = await Assert.ThrowsAsync<BlockException>(() => read);
        Assert.Equal(BlockErrors.IoFailed, exception.Kind);
        Assert.Equal(512, exception.OffsetBytes);
        Assert.Contains("the platter came off", exception.Message, StringComparison.Ordinal);
        Assert.Contains(_server.Uri.ToString(), exception.Message, StringComparison.Ordinal);
        await CloseAsync(node, connection);
    }

    [Theory]
    [InlineData(1, BlockErrors.Denied, BlockErrors.ReadOnly)]
    [InlineData(5, BlockErrors.IoFailed, BlockErrors.IoFailed)]
    [InlineData(12, BlockErrors.IoFailed, BlockErrors.IoFailed)]
    [InlineData(22, BlockErrors.IoFailed, BlockErrors.IoFailed)]
    [InlineData(28, BlockErrors.NoSpace, BlockErrors.NoSpace)]
    [InlineData(95, BlockErrors.Unsupported, BlockErrors.Unsupported)]
    [InlineData(108, BlockErrors.Closed, BlockErrors.Closed)]
    [InlineData(4711, BlockErrors.IoFailed, BlockErrors.IoFailed)]
    public async Task An_error_number_has_its_kind(uint error, string kindOfRead, string kindOfWrite)
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport());
        Task read = node.ReadAsync(0, new byte[512], CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.Read);
        await connection.SendAsync(connection.Error(request.Cookie, (NbdError)error, "why"));
        Task write = node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        request = await connection.ReadRequestAsync(NbdCommand.Write);
        await connection.SendAsync(FakeConnection.Simple(request.Cookie, (NbdError)error));

        Assert.Equal(kindOfRead, (await Assert.ThrowsAsync<BlockException>(() => read)).Kind);
        Assert.Equal(kindOfWrite, (await Assert.ThrowsAsync<BlockException>(() => write)).Kind);
        await CloseAsync(node, connection);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_walk_over_the_extents_of_one_reply_asks_once(bool isExtended)
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport { Form = FormOf(isExtended) });
        ValueTask<BlockStatusRun> first = node.GetStatusAsync(0, 16384, CancellationToken.None);
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.BlockStatus);
        await connection.SendAsync(connection.Extents(request.Cookie, isDone: true, 7, (4096, 0), (4096, 3), (4096, 2), (100_000, 1)));

        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 4096), await first);
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, 4096), await node.GetStatusAsync(4096, 12288, CancellationToken.None));
        Assert.Equal(new BlockStatusRun(BlockStatus.Zero, 2048), await node.GetStatusAsync(10240, 6144, CancellationToken.None));
        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 4096), await node.GetStatusAsync(12288, 4096, CancellationToken.None));
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Remembered_extents_are_forgotten_when_something_is_written()
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport());
        await QueryAsync(node, connection, flags: 3, BlockStatus.Unallocated);
        Task write = node.WriteAsync(4096, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        await connection.ServeAsync(NbdCommand.Write);
        await write;

        await QueryAsync(node, connection, flags: 0, BlockStatus.Data);
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task A_reply_to_a_query_that_began_before_a_write_ended_is_not_remembered()
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport());
        Task write = node.WriteAsync(4096, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        FakeRequest written = await connection.ReadRequestAsync(NbdCommand.Write);
        Task<BlockStatusRun> early = node.GetStatusAsync(0, 8192, CancellationToken.None).AsTask();
        FakeRequest query = await connection.ReadRequestAsync(NbdCommand.BlockStatus);
        await connection.AcknowledgeAsync(written);
        await write;
        await connection.SendAsync(connection.Extents(query.Cookie, isDone: true, 7, (8192, 3)));
        await early;

        await QueryAsync(node, connection, flags: 0, BlockStatus.Data);
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Remembered_extents_serve_for_a_second()
    {
        ManualTime time = new();
        (NbdNode node, FakeConnection connection) =
            await _server.ConnectAsync(new FakeExport(), new NbdNodeOptions { Time = time, MaximumConnections = 1 });
        await QueryAsync(node, connection, flags: 3, BlockStatus.Unallocated);
        time.Advance(TimeSpan.FromMilliseconds(999));
        Assert.Equal(BlockStatus.Unallocated, (await node.GetStatusAsync(0, 8192, CancellationToken.None)).Status);

        time.Advance(TimeSpan.FromMilliseconds(1));

        await QueryAsync(node, connection, flags: 0, BlockStatus.Data);
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Extents_that_end_within_a_block_never_call_data_zero()
    {
        FakeExport export = new() { BlockSize = (512, 4096, 1 << 20) };
        (NbdNode node, FakeConnection connection) = await ConnectAsync(export);
        ValueTask<BlockStatusRun> first = node.GetStatusAsync(0, 4096, CancellationToken.None);
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.BlockStatus);
        await connection.SendAsync(connection.Extents(request.Cookie, isDone: true, 7, (700, 3), (900, 0), (4096, 3)));

        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, 512), await first);
        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 512), await node.GetStatusAsync(512, 3584, CancellationToken.None));
        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 1024), await node.GetStatusAsync(1024, 3072, CancellationToken.None));
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, 2048), await node.GetStatusAsync(2048, 2048, CancellationToken.None));
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Access_is_told_apart_from_allocation()
    {
        FakeExport export = new() { Contexts = [(7, "base:allocation"), (8, "fleece:access")] };
        (NbdNode node, FakeConnection connection) = await ConnectAsync(export);
        ValueTask<(AccessFlags, long)> first = node.GetAccessAsync(0, 8192, CancellationToken.None);
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.BlockStatus);
        await connection.SendAsync(connection.Extents(request.Cookie, isDone: false, 8, (1024, 0), (1024, 1), (1024, 2), (5120, 3)));
        await connection.SendAsync(connection.Extents(request.Cookie, isDone: true, 7, (8192, 3)));

        Assert.True(node.HasAccessContext);
        Assert.Equal((AccessFlags.None, 1024), await first);
        Assert.Equal((AccessFlags.Denied, 1024), await node.GetAccessAsync(1024, 7168, CancellationToken.None));
        Assert.Equal((AccessFlags.Consumed, 1024), await node.GetAccessAsync(2048, 6144, CancellationToken.None));
        Assert.Equal((AccessFlags.Denied | AccessFlags.Consumed, 5120), await node.GetAccessAsync(3072, 5120, CancellationToken.None));
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, 8192), await node.GetStatusAsync(0, 8192, CancellationToken.None));
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Without_the_context_everything_may_be_read()
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport());

        Assert.False(node.HasAccessContext);
        Assert.Equal((AccessFlags.None, 8192), await node.GetAccessAsync(0, 8192, CancellationToken.None));
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Long_ranges_are_split_without_extended_headers()
    {
        const long LengthBytes = 6L << 30;
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport { LengthBytes = LengthBytes });
        Task discard = node.DiscardAsync(0, LengthBytes, CancellationToken.None).AsTask();

        FakeRequest first = await connection.ServeAsync(NbdCommand.Trim);
        FakeRequest second = await connection.ServeAsync(NbdCommand.Trim);
        await discard;

        Assert.Equal((0UL, 0xFFFF0000UL), (first.Header.Offset, first.Header.Length));
        Assert.Equal((0xFFFF0000UL, (ulong)LengthBytes - 0xFFFF0000UL), (second.Header.Offset, second.Header.Length));
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Long_ranges_go_whole_with_extended_headers()
    {
        const long LengthBytes = 6L << 30;
        (NbdNode node, FakeConnection connection) =
            await ConnectAsync(new FakeExport { LengthBytes = LengthBytes, Form = ReplyForm.Extended });
        Task zero = node.WriteZeroesAsync(0, LengthBytes, WriteFlags.None, CancellationToken.None).AsTask();

        FakeRequest request = await connection.ServeAsync(NbdCommand.WriteZeroes);
        await zero;

        Assert.Equal((ulong)LengthBytes, request.Header.Length);
        await CloseAsync(node, connection);
    }

    // QEMU sends none of them either to a server whose flags are 0, with or without HAS_FLAGS.
    [Theory]
    [InlineData(1)]
    [InlineData(0)]
    public async Task A_server_with_nothing_to_offer_gets_only_reads_and_writes(int flags)
    {
        (NbdNode node, FakeConnection connection) =
            await ConnectAsync(new FakeExport { Flags = (TransmissionFlags)flags, Form = ReplyForm.Simple });
        await node.DiscardAsync(0, 4096, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);
        Task zero = node.WriteZeroesAsync(4096, 4096, WriteFlags.ForceUnitAccess, CancellationToken.None).AsTask();

        FakeRequest request = await connection.ServeAsync(NbdCommand.Write);
        await zero;

        Assert.Equal((4096UL, CommandFlags.None), (request.Header.Offset, request.Header.Flags));
        Assert.Equal(new byte[4096], request.Payload);
        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 4096), await node.GetStatusAsync(0, 4096, CancellationToken.None));
        await CloseAsync(node, connection);
    }

    // As QEMU does: each flag counts by itself.
    [Fact]
    public async Task Without_HAS_FLAGS_the_other_flags_count_as_they_were_sent()
    {
        FakeExport export = new() { Flags = TransmissionFlags.SendFlush | TransmissionFlags.SendFua };
        (NbdNode node, FakeConnection connection) = await ConnectAsync(export);
        Task write = node.WriteAsync(0, new byte[512], WriteFlags.ForceUnitAccess, CancellationToken.None).AsTask();
        FakeRequest request = await connection.ServeAsync(NbdCommand.Write);
        await write;
        Task flush = node.FlushAsync(CancellationToken.None).AsTask();
        await connection.ServeAsync(NbdCommand.Flush);
        await flush;

        Assert.Equal(CommandFlags.Fua, request.Header.Flags);
        Assert.False(node.Geometry.IsReadOnly);
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task Without_HAS_FLAGS_a_read_only_export_is_read_only()
    {
        (NbdNode node, FakeConnection connection) = await ConnectAsync(new FakeExport { Flags = TransmissionFlags.ReadOnly });

        Assert.True(node.Geometry.IsReadOnly);
        await CloseAsync(node, connection);
    }

    [Fact]
    public async Task A_durable_write_without_FUA_is_followed_by_a_flush()
    {
        FakeExport export = new() { Flags = TransmissionFlags.HasFlags | TransmissionFlags.SendFlush };
        (NbdNode node, FakeConnection connection) = await ConnectAsync(export);
        Task write = node.WriteAsync(0, new byte[512], WriteFlags.ForceUnitAccess, CancellationToken.None).AsTask();

        FakeRequest request = await connection.ServeAsync(NbdCommand.Write);
        await connection.ServeAsync(NbdCommand.Flush);
        await write;

        Assert.Equal(CommandFlags.None, request.Header.Flags);
        await CloseAsync(node, connection);
    }

    private static async Task QueryAsync(NbdNode node, FakeConnection connection, uint flags, BlockStatus expected)
    {
        Task<BlockStatusRun> query = node.GetStatusAsync(0, 8192, CancellationToken.None).AsTask();
        FakeRequest request = await connection.ReadRequestAsync(NbdCommand.BlockStatus);
        await connection.SendAsync(connection.Extents(request.Cookie, isDone: true, 7, (8192, flags)));
        Assert.Equal(new BlockStatusRun(expected, 8192), await query);
    }

    private static async Task CloseAsync(NbdNode node, FakeConnection connection)
    {
        Task closing = node.DisposeAsync().AsTask();
        await connection.ReadRequestAsync(NbdCommand.Disconnect);
        connection.Dispose();
        await closing;
    }

    private static ReplyForm FormOf(bool isExtended) => isExtended ? ReplyForm.Extended : ReplyForm.Structured;

    // Time stands still, so that what is remembered for a second is.
    private Task<(NbdNode Node, FakeConnection Connection)> ConnectAsync(FakeExport export) =>
        _server.ConnectAsync(export, new NbdNodeOptions { Time = new ManualTime() });
}
