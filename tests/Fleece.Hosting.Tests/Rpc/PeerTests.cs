// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Fleece.Block;

namespace Fleece.Hosting.Tests.Rpc;

/// <summary>Peers that break the rules: the other end of the socket is the test's own.</summary>
public sealed class PeerTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_message_is_its_length_in_four_bytes_and_json()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();

        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":{"left":2,"right":3}}""");

        using JsonDocument answer = await ReceiveAsync(pair);
        Assert.Equal(5, answer.RootElement.GetProperty("result").GetInt32());
    }

    [Fact]
    public async Task A_message_in_pieces_is_one_message()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();
        byte[] message = Message("""{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":{"left":2,"right":3}}""");

        for (int i = 0; i < message.Length; i++)
        {
            await pair.Raw.SendAsync(message.AsMemory(i, 1), Stop);
        }

        using JsonDocument answer = await ReceiveAsync(pair);
        Assert.Equal(5, answer.RootElement.GetProperty("result").GetInt32());
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(1024u * 1024 + 1)]
    [InlineData(0x7fffffffu)]
    [InlineData(uint.MaxValue)]
    public async Task A_length_that_is_not_allowed_ends_the_connection_before_there_is_room_for_it(uint lengthBytes)
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();
        byte[] prefix = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(prefix, lengthBytes);
        long before = GC.GetTotalAllocatedBytes(precise: true);

        await pair.Raw.SendAsync(prefix, Stop);

        await pair.Host.Ended.WaitAsync(Stop);
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, 512L * 1024 * 1024);
    }

    [Fact]
    public async Task A_message_of_just_the_longest_length_is_read()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();
        string call = """{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":{"left":2,"right":3}}""";

        await SendAsync(pair, call + new string(' ', RpcPair.Limits.MaximumMessageBytes - call.Length));

        using JsonDocument answer = await ReceiveAsync(pair);
        Assert.Equal(5, answer.RootElement.GetProperty("result").GetInt32());
    }

    [Fact]
    public async Task A_large_message_before_the_first_good_answer_ends_the_connection()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync(RpcPair.Limits with { SmallMessageBytes = 4096 });
        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"FailAsync","params":{"how":"engine"}}""");
        (await ReceiveAsync(pair)).Dispose();

        await SendAsync(pair, Long("AddAsync"));

        await pair.Host.Ended.WaitAsync(Stop);
    }

    [Fact]
    public async Task A_large_message_after_the_first_good_answer_is_read()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync(RpcPair.Limits with { SmallMessageBytes = 4096 });
        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":{"left":2,"right":3}}""");
        (await ReceiveAsync(pair)).Dispose();

        await SendAsync(pair, Long("AddAsync"));

        using JsonDocument answer = await ReceiveAsync(pair);
        Assert.Equal(5, answer.RootElement.GetProperty("result").GetInt32());
    }

    [Fact]
    public async Task Two_unanswered_requests_with_one_id_end_the_connection()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();

        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"WaitAsync"}""");
        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":{"left":2,"right":3}}""");

        await pair.Host.Ended.WaitAsync(Stop);
        Assert.InRange(pair.Control.CallCount, 0, 1);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Large_requests_of_all_connections_wait_for_room_which_an_answer_or_the_end_makes(bool ends)
    {
        using SemaphoreSlim room = new(1);
        Fleece.Hosting.Rpc.RpcLimits limits = RpcPair.Limits with { SmallMessageBytes = 4096, LargeRequests = room };
        await using RpcPair first = await RpcPair.OpenRawAsync(limits);
        await using RpcPair second = await RpcPair.OpenRawAsync(limits);
        foreach (RpcPair pair in new[] { first, second })
        {
            await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":{"left":2,"right":3}}""");
            (await ReceiveAsync(pair)).Dispose();
        }

        await SendAsync(first, Long("WaitAsync"));
        await first.Control.StartedAsync();
        Assert.Equal(0, room.CurrentCount);
        await SendAsync(second, Long("AddAsync"));
        Task<JsonDocument> answer = ReceiveAsync(second);
        if (ends)
        {
            first.Raw.Dispose();
        }
        else
        {
            first.Control.Release();
        }

        (await answer).Dispose();
        Assert.Equal(2, second.Control.CallCount);
    }

    [Theory]
    [InlineData("""{"disks":[null]}""")]
    [InlineData("""{"disks":null}""")]
    [InlineData("""{"disks":7}""")]
    [InlineData("""{}""")]
    [InlineData("""{"disks":[{}]}""")]
    [InlineData("""{"disks":[{"name":null}]}""")]
    [InlineData("""{"disks":[],"consumers":[null]}""")]
    [InlineData("""{"disks":[],"consumers":null}""")]
    [InlineData("""{"disks":[],"ranges":[null]}""")]
    [InlineData("""{"disks":[],"ranges":[[1]]}""")]
    [InlineData("""{"disks":[],"bitmap":{}}""")]
    [InlineData("""{"disks":[],"tls":{"authorityPaths":[null]}}""")]
    [InlineData("null")]
    public async Task A_value_that_is_missing_or_null_is_an_error_of_the_caller(string request)
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();

        await SendAsync(pair, $$$"""{"jsonrpc":"2.0","id":1,"method":"EchoAsync","params":{"request":{{{request}}}}}""");

        using JsonDocument answer = await ReceiveAsync(pair);
        Assert.Equal(
            BlockErrors.InvalidArgument, answer.RootElement.GetProperty("error").GetProperty("data").GetProperty("kind").GetString());
        Assert.Equal(0, pair.Control.CallCount);
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[]")]
    [InlineData("7")]
    [InlineData("{}")]
    [InlineData("""{"jsonrpc":"2.0","id":{},"method":"AddAsync"}""")]
    [InlineData("""{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":7}""")]
    [InlineData("""{"jsonrpc":"2.0","id":99,"result":1}""")]
    [InlineData("""{"jsonrpc":"2.0","id":99,"error":7}""")]
    public async Task Text_that_is_no_message_ends_the_connection(string text)
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();

        await SendAsync(pair, text);

        await pair.Host.Ended.WaitAsync(Stop);
        Assert.Equal(0, pair.Control.CallCount);
    }

    [Fact]
    public async Task Bytes_of_chance_end_the_connection_and_do_nothing()
    {
        TestKit.Seeds seeds = TestKit.Seeds.FromEnvironment();
        for (int round = 0; round < 50; round++)
        {
            await using RpcPair pair = await RpcPair.OpenRawAsync();
            byte[] bytes = seeds.Bytes(1000);
            BinaryPrimitives.WriteInt32BigEndian(bytes, round % 2 == 0 ? 900 : BinaryPrimitives.ReadInt32BigEndian(bytes));

            await pair.Raw.SendAsync(bytes, Stop);
            pair.Raw.Shutdown(SocketShutdown.Send);

            await pair.Host.Ended.WaitAsync(Stop);
            Assert.Equal(0, pair.Control.CallCount);
        }
    }

    [Fact]
    public async Task Arguments_without_names_are_refused()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();

        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"AddAsync","params":[2,3]}""");

        using JsonDocument answer = await ReceiveAsync(pair);
        Assert.True(answer.RootElement.TryGetProperty("error", out _));
        Assert.Equal(0, pair.Control.CallCount);
    }

    [Fact]
    public async Task A_request_without_an_id_is_not_done()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();

        await SendAsync(pair, """{"jsonrpc":"2.0","method":"AddAsync","params":{"left":2,"right":3}}""");
        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"EchoAsync","params":{"request":{"disks":[]}}}""");

        (await ReceiveAsync(pair)).Dispose();
        Assert.Equal(1, pair.Control.CallCount);
    }

    [Fact]
    public async Task A_connection_that_ends_within_a_call_says_that_it_may_have_been_done()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();
        Task<int> call = pair.Host.CallAsync<int>("AddAsync", new { left = 1, right = 2 }, Stop).AsTask();
        (await ReceiveAsync(pair)).Dispose();

        pair.Raw.Dispose();

        BlockException error = await Assert.ThrowsAsync<BlockException>(() => call);
        Assert.Equal(HostErrors.CallInterrupted, error.Kind);
        Assert.Contains("may or may not have been done", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_call_after_the_end_says_that_nothing_was_done()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();
        pair.Raw.Dispose();
        await pair.Host.Ended.WaitAsync(Stop);

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await pair.Host.CallAsync<int>("AddAsync", new { left = 1, right = 2 }, Stop));

        Assert.Equal(HostErrors.CallInterrupted, error.Kind);
        Assert.Contains("nothing was done", error.Message, StringComparison.Ordinal);
        await pair.Host.NotifyAsync("Tell", new { number = 1 });
    }

    [Fact]
    public async Task Calls_of_a_peer_that_is_gone_are_cancelled()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();
        await SendAsync(pair, """{"jsonrpc":"2.0","id":1,"method":"WaitAsync"}""");
        await pair.Control.StartedAsync();

        pair.Raw.Dispose();

        await pair.Control.Cancelled.Reader.ReadAsync(Stop);
        await pair.Host.Ended.WaitAsync(Stop);
    }

    [Fact]
    public async Task More_calls_than_may_run_are_refused_and_the_others_are_answered()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        Task<string>[] running =
        [
            .. Enumerable.Range(0, RpcPair.Limits.MaximumCalls)
                .Select(_ => pair.Client.CallAsync<string>("WaitAsync", new { }, Stop).AsTask()),
        ];
        foreach (Task<string> _ in running)
        {
            await pair.Control.StartedAsync();
        }

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await pair.Client.CallAsync<string>("WaitAsync", new { }, Stop));

        Assert.Equal(HostErrors.Overloaded, error.Kind);
        pair.Control.Release();
        Assert.All(await Task.WhenAll(running), answer => Assert.Equal("released", answer));
        Assert.Equal(2, await pair.Client.CallAsync<int>("AddAsync", new { left = 1, right = 1 }, Stop));
    }

    [Fact]
    public async Task A_peer_that_sends_and_never_reads_is_held_back_and_then_dropped()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync(RpcPair.Limits with { WriteTimeout = TimeSpan.FromSeconds(1) });
        int sentCount = 0;
        try
        {
            while (sentCount < 1_000_000)
            {
                string call = $$$"""{"jsonrpc":"2.0","id":{{{sentCount}}},"method":"LongTextAsync","params":{"length":500000}}""";
                await pair.Raw.SendAsync(Message(call), Stop);
                sentCount++;
            }
        }
        catch (SocketException)
        {
            // The host has closed the socket.
        }

        await pair.Host.Ended.WaitAsync(Stop);
        Assert.InRange(pair.Control.CallCount, 1, 4 * RpcPair.Limits.MaximumCalls);
        Assert.InRange(sentCount, 1, 999_999);
    }

    [Fact]
    public async Task A_peer_that_never_reads_what_it_is_told_is_dropped()
    {
        await using RpcPair pair = await RpcPair.OpenRawAsync();
        string text = new('x', 100_000);

        while (!pair.Host.Ended.IsCompleted)
        {
            _ = pair.Host.NotifyAsync("Tell", new { text }).AsTask();
            await Task.Yield();
        }
    }

    [Fact]
    public async Task An_answer_that_is_too_long_is_an_error_and_the_connection_goes_on()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () =>
            await pair.Client.CallAsync<string>("LongTextAsync", new { length = RpcPair.Limits.MaximumMessageBytes }, Stop));

        Assert.Equal(BlockErrors.OutOfRange, error.Kind);
        Assert.Equal(2, await pair.Client.CallAsync<int>("AddAsync", new { left = 1, right = 1 }, Stop));
    }

    [Fact]
    public async Task A_request_that_is_too_long_is_an_error_and_the_connection_goes_on()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () =>
            await pair.Client.CallAsync<object?>("FailAsync", new { how = new string('x', RpcPair.Limits.MaximumMessageBytes) }, Stop));

        Assert.Equal(BlockErrors.OutOfRange, error.Kind);
        Assert.Equal(2, await pair.Client.CallAsync<int>("AddAsync", new { left = 1, right = 1 }, Stop));
    }

    private static string Long(string method) =>
        $$$"""{"jsonrpc":"2.0","id":2,"method":"{{{method}}}","params":{"left":2,"right":3}}""" + new string(' ', 5000);

    private static byte[] Message(string text)
    {
        byte[] message = new byte[4 + Encoding.UTF8.GetByteCount(text)];
        BinaryPrimitives.WriteInt32BigEndian(message, message.Length - 4);
        Encoding.UTF8.GetBytes(text, message.AsSpan(4));
        return message;
    }

    private static async Task SendAsync(RpcPair pair, string text)
    {
        NetworkStream stream = new(pair.Raw, ownsSocket: false);
        await stream.WriteAsync(Message(text), Stop);
    }

    private static async Task<JsonDocument> ReceiveAsync(RpcPair pair)
    {
        NetworkStream stream = new(pair.Raw, ownsSocket: false);
        byte[] prefix = new byte[4];
        await stream.ReadExactlyAsync(prefix, Stop);
        byte[] text = new byte[BinaryPrimitives.ReadInt32BigEndian(prefix)];
        await stream.ReadExactlyAsync(text, Stop);
        return JsonDocument.Parse(text);
    }
}
