// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Requests that their storage finishes later, while the connection goes on.</summary>
public sealed class LaterTests
{
    private const int Read = (int)NbdCommand.Read;
    private const int Size = 1024 * 1024;

    private readonly Seeds _seeds = Seeds.FromEnvironment();

    public static TheoryData<HeaderMode> Modes { get; } = new(HeaderMode.Simple, HeaderMode.Structured, HeaderMode.Extended);

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task A_held_read_does_not_hold_up_the_requests_behind_it(HeaderMode mode)
    {
        HoldNode node = new(new MemoryNode(Size));
        await using ServedDisk disk = new(node);
        byte[] data = _seeds.Bytes(Size);
        await disk.Device.WriteAsync(0, data);
        using RawClient client = disk.Go(mode);
        Hold hold = node.HoldNext(BlockOperationKind.Read);

        ulong held = client.Begin(Read, 4096, 70_000);
        await hold.Reached;
        Assert.Equal(data[..512], client.ReadDisk(0, 512));
        Assert.Equal(NbdError.None, client.Write(200_000, [1]).Error);
        hold.Release();

        Answer answer = client.ReadAnswer();
        Assert.Equal(held, answer.Cookie);
        Assert.Equal(data[4096..74_096], answer.Data(4096, 70_000));
    }

    // The held write's data stays in the receive buffer, which later requests must not touch.
    [Theory]
    [InlineData(HeaderMode.Simple, 1000)]
    [InlineData(HeaderMode.Extended, 100_000)]
    [InlineData(HeaderMode.Structured, 300_000)]
    public async Task A_held_write_keeps_its_data_while_others_come_and_go(HeaderMode mode, int lengthBytes)
    {
        HoldNode node = new(new MemoryNode(Size));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(mode);
        byte[] data = _seeds.Bytes(lengthBytes);
        Hold hold = node.HoldNext(BlockOperationKind.Write);

        ulong held = client.BeginWrite(0, data);
        await hold.Reached;
        for (int i = 0; i < 40; i++)
        {
            Assert.Equal(NbdError.None, client.Write(500_000, _seeds.Bytes(50_000)).Error);
        }

        hold.Release();
        Assert.Equal((held, NbdError.None), client.ReadAnswer() is var answer ? (answer.Cookie, answer.Error) : default);
        Assert.Equal(data, client.ReadDisk(0, lengthBytes));
    }

    [Theory]
    [InlineData((int)NbdCommand.Flush, BlockOperationKind.Flush, 0)]
    [InlineData((int)NbdCommand.WriteZeroes, BlockOperationKind.WriteZeroes, 4096)]
    [InlineData((int)NbdCommand.Trim, BlockOperationKind.Discard, 4096)]
    [InlineData((int)NbdCommand.Cache, BlockOperationKind.Read, 4096)]
    [InlineData((int)NbdCommand.BlockStatus, BlockOperationKind.Status, 4096)]
    public async Task Every_other_command_can_be_late_too(int command, BlockOperationKind operation, uint length)
    {
        HoldNode node = new(new MemoryNode(Size));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(HeaderMode.Extended, "base:allocation");
        Hold hold = node.HoldNext(operation);

        ulong held = client.Begin(command, 0, length);
        await hold.Reached;
        Assert.Equal(NbdError.None, client.Write(0, [1]).Error);
        hold.Release();

        Answer answer = client.ReadAnswer();
        Assert.Equal((held, NbdError.None), (answer.Cookie, answer.Error));
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task Many_late_requests_are_all_answered_rightly(HeaderMode mode)
    {
        await using ServedDisk disk = new(new DelayNode(new MemoryNode(Size), _seeds));
        using RawClient client = disk.Go(mode);
        byte[] model = new byte[Size];
        for (int round = 0; round < 20; round++)
        {
            Dictionary<ulong, int> slots = [];
            for (int slot = 0; slot < 50; slot++)
            {
                byte[] data = _seeds.Bytes(1 + _seeds.Next(20_000));
                data.CopyTo(model, slot * 20_000);
                slots.Add(client.BeginWrite((ulong)slot * 20_000, data), slot);
            }

            Assert.All(client.ReadAnswers(50), answer => Assert.Equal(NbdError.None, answer.Value.Error));
            slots.Clear();
            for (int slot = 0; slot < 50; slot++)
            {
                slots.Add(client.Begin(Read, (ulong)slot * 20_000, 20_000), slot);
            }

            Assert.All(client.ReadAnswers(50), answer => Assert.Equal(
                model[(slots[answer.Key] * 20_000)..][..20_000], answer.Value.Data((ulong)slots[answer.Key] * 20_000, 20_000)));
        }
    }

    // 64 in flight and one that was begun before it was counted.
    [Fact]
    public async Task A_connection_has_a_bounded_number_of_requests_in_flight()
    {
        RecordingNode recording = new(new MemoryNode(Size));
        HoldNode node = new(recording);
        List<Hold> holds = [.. Enumerable.Range(0, 100).Select(_ => node.HoldNextAfter(BlockOperationKind.Read))];
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        for (int i = 0; i < 100; i++)
        {
            client.Begin(Read, (ulong)i * 512, 512);
        }

        await holds[64].Reached;
        using RawClient other = disk.Go();
        other.Write(0, [1]);
        Assert.False(holds[65].IsReached);
        Assert.Equal(65, recording.Count(BlockOperationKind.Read));

        holds.ForEach(hold => hold.Release());
        Assert.Equal(100, client.ReadAnswers(100).Count);
    }

    [Fact]
    public async Task Leaving_waits_for_the_requests_in_flight()
    {
        HoldNode node = new(new MemoryNode(Size));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        Hold hold = node.HoldNext(BlockOperationKind.Write);
        ulong held = client.BeginWrite(0, [1, 2, 3]);
        await hold.Reached;

        client.Begin((int)NbdCommand.Disconnect, 0, 0);
        client.Socket.Shutdown(System.Net.Sockets.SocketShutdown.Send);
        hold.Release();

        Assert.Equal(held, client.ReadAnswer().Cookie);
        client.AssertClosed();
        Assert.Equal([1, 2, 3], await disk.ReadAsync(0, 3));
    }

    [Fact]
    public async Task A_client_that_is_gone_does_not_stop_its_write_in_flight()
    {
        HoldNode node = new(new MemoryNode(Size));
        await using ServedDisk disk = new(node);
        RawClient client = disk.Go();
        Hold hold = node.HoldNext(BlockOperationKind.Write);
        client.BeginWrite(0, [1, 2, 3]);
        await hold.Reached;

        client.Dispose();
        Assert.Equal(1, disk.Server.ConnectionCount);
        hold.Release();

        await disk.Server.DisposeAsync();
        Assert.Equal([1, 2, 3], await disk.ReadAsync(0, 3));
    }

    /// <summary>Kinds of errors with the numbers of the NBD protocol, "Error values"; an unsupported zeroing need not be a fast one.</summary>
    public static TheoryData<string, int> Kinds { get; } = new()
    {
        { BlockErrors.IoFailed, 5 },
        { BlockErrors.CopyFailed, 5 },
        { NbdErrors.ConnectionLost, 5 },
        { BlockErrors.OutOfRange, 22 },
        { BlockErrors.InvalidRange, 22 },
        { BlockErrors.Misaligned, 22 },
        { BlockErrors.InvalidArgument, 22 },
        { BlockErrors.Unsupported, 22 },
        { BlockErrors.ReadOnly, 1 },
        { BlockErrors.Denied, 1 },
        { BlockErrors.Consumed, 1 },
        { BlockErrors.Broken, 1 },
        { BlockErrors.NoSpace, 28 },
        { BlockErrors.TempFull, 28 },
        { BlockErrors.TempLimitReached, 28 },
        { BlockErrors.SessionLogFull, 28 },
        { BlockErrors.Stopped, 108 },
        { BlockErrors.Closed, 108 },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Errors_have_the_numbers_of_the_table_whether_they_come_at_once_or_late(string kind, int errno)
    {
        NbdError expected = (NbdError)errno;
        HoldNode node = new(new FaultNode(new MemoryNode(Size)).FailWhen(operation => operation.OffsetBytes >= 4096, kind));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(HeaderMode.Structured);
        Hold hold = node.HoldNext(BlockOperationKind.Read);
        client.Begin(Read, 0, 512);
        await hold.Reached;
        hold.Fail(kind);

        Assert.Equal(expected, client.ReadAnswer().Error);
        Answer atOnce = client.Call(Read, 4096, 512);
        Assert.Equal(expected, atOnce.Error);
        Assert.StartsWith("A test made", atOnce.Text, StringComparison.Ordinal);
        Assert.Equal(expected, client.Write(4096, [1]).Error);
    }

    [Fact]
    public async Task A_read_that_failed_leaves_the_replies_before_and_behind_it_whole()
    {
        FaultNode node = new(new MemoryNode(Size));
        await using ServedDisk disk = new(node);
        byte[] data = _seeds.Bytes(Size);
        await disk.Device.WriteAsync(0, data);
        node.FailWhen(operation => operation.Kind == BlockOperationKind.Read && operation.OffsetBytes % 8192 == 0);
        using RawClient client = disk.Go(HeaderMode.Structured);
        Dictionary<ulong, int> asked = Enumerable.Range(0, 60).ToDictionary(i => client.Begin(Read, (ulong)i * 4096, 4096));

        foreach ((ulong cookie, Answer answer) in client.ReadAnswers(60))
        {
            int at = asked[cookie] * 4096;
            Assert.Equal(at % 8192 == 0 ? NbdError.Io : NbdError.None, answer.Error);
            Assert.True(answer.Error != NbdError.None || answer.Data((ulong)at, 4096).AsSpan().SequenceEqual(data.AsSpan(at, 4096)));
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task Requests_sent_at_once_are_all_answered(HeaderMode mode)
    {
        await using ServedDisk disk = new();
        byte[] data = _seeds.Bytes(64 * 4096);
        await disk.Device.WriteAsync(0, data);
        using RawClient client = disk.Go(mode);
        Dictionary<ulong, int> asked = [];
        for (int i = 0; i < 64; i++)
        {
            asked.Add(client.Begin(Read, (ulong)i * 4096, 4096), i);
        }

        foreach ((ulong cookie, Answer answer) in client.ReadAnswers(64))
        {
            Assert.Equal(data[(asked[cookie] * 4096)..][..4096], answer.Data((ulong)asked[cookie] * 4096, 4096));
        }
    }
}
