// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Server;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>What connections hold of the memory they share, and that no connection waits for another's.</summary>
public sealed class MemoryBudgetTests
{
    private const int Read = (int)NbdCommand.Read;
    private const int MiB = 1024 * 1024;

    // So that what never comes fails a test instead of stopping it.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly Seeds _seeds = Seeds.FromEnvironment();

    [Theory]
    [InlineData(0)]
    [InlineData(4 * MiB)]
    public async Task Late_writes_are_finished_with_whatever_memory_there_is(long budgetBytes)
    {
        HoldNode node = new(new MemoryNode(8 * MiB));
        List<Hold> holds = [.. Enumerable.Range(0, 4).Select(i => node.HoldNext(operation => operation.OffsetBytes == (long)i * MiB))];
        await using BlockDevice device = new(node, "vm");
        using TransmissionRig rig = new(device, budgetBytes);
        RawClient[] clients = [.. Enumerable.Range(0, 4).Select(_ => rig.Add())];
        byte[] data = _seeds.Bytes(MiB);

        Task<ulong>[] sending =
            [.. clients.Select((client, i) => OwnThread.Run(() => client.BeginWrite((ulong)i * MiB, data)))];
        await Task.WhenAll(holds.Select(hold => hold.Reached));
        Assert.InRange(rig.Budget.UsedBytes, 0, budgetBytes);
        holds.ForEach(hold => hold.Release());

        Assert.Equal(await Task.WhenAll(sending), clients.Select(client => client.ReadAnswer().Cookie));
        byte[] stored = new byte[4 * MiB];
        await device.ReadAsync(0, stored);
        Assert.True(stored.AsSpan().SequenceEqual((byte[])[.. data, .. data, .. data, .. data]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4 * MiB + 16 * 1024)]
    public async Task Late_reads_are_finished_with_whatever_memory_there_is(long budgetBytes)
    {
        HoldNode node = new(new MemoryNode(8 * MiB));
        List<Hold> holds = [.. Enumerable.Range(0, 4).Select(_ => node.HoldNext(BlockOperationKind.Read))];
        await using BlockDevice device = new(node, "vm");
        using TransmissionRig rig = new(device, budgetBytes);
        RawClient[] clients = [.. Enumerable.Range(0, 4).Select(_ => rig.Add())];

        ulong[] cookies = [.. clients.Select(client => client.Begin(Read, 0, MiB))];
        await Task.WhenAll(holds.Select(hold => hold.Reached));
        Assert.Equal(budgetBytes, rig.Budget.UsedBytes);
        holds.ForEach(hold => hold.Release());

        Assert.Equal(cookies, clients.Select(client => client.ReadAnswer().Cookie));
    }

    [Fact]
    public async Task Idle_connections_hold_nothing_of_what_a_large_request_took()
    {
        await using BlockDevice device = new(new MemoryNode(8 * MiB), "vm");
        using TransmissionRig rig = new(device, 4 * MiB);
        RawClient[] clients = [.. Enumerable.Range(0, 12).Select(_ => rig.Add())];
        byte[] data = _seeds.Bytes(MiB);

        foreach (RawClient client in clients)
        {
            Assert.Equal(NbdError.None, client.Write(0, data).Error);
            Assert.Equal(data, client.ReadDisk(0, MiB));
        }

        // What is left is convenience, of which there may be half the budget.
        clients[0].Call((int)NbdCommand.Flush, 0, 0);
        SpinWait.SpinUntil(() => rig.Budget.UsedBytes <= 2 * MiB, Patience);
        Assert.InRange(rig.Budget.UsedBytes, 0, 2 * MiB);
    }

    // The read comes in the same piece as the end of the write before it.
    [Fact]
    public async Task A_large_read_behind_a_large_write_does_not_wait_for_its_own_connection()
    {
        await using BlockDevice device = new(new MemoryNode(8 * MiB), "vm");
        using TransmissionRig rig = new(device, 4 * MiB);
        RawClient[] clients = [.. Enumerable.Range(0, 6).Select(_ => rig.Add())];
        byte[] data = _seeds.Bytes(700_000);

        Task[] working = [.. clients.Select((client, slot) => OwnThread.Run(() =>
        {
            for (int round = 0; round < 20; round++)
            {
                byte[] write = Packet.Write(HeaderMode.Simple, 1, (ulong)slot * MiB, data);
                client.Send([.. write, .. Packet.Request(HeaderMode.Simple, (int)NbdCommand.Flush, 2, 0, 0)]);
                ulong read = client.Begin(Read, (ulong)slot * MiB, 700_000);
                Assert.Equal((1u, 2u), (client.ReadAnswer().Cookie, client.ReadAnswer().Cookie));
                Answer answer = client.ReadAnswer();
                Assert.Equal(read, answer.Cookie);
                Assert.True(answer.SimpleData.AsSpan().SequenceEqual(data));
            }
        }))];

        await Task.WhenAll(working);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(8 * MiB)]
    public async Task Connections_with_large_requests_stay_within_the_budget_and_all_finish(long budgetBytes)
    {
        await using BlockDevice device = new(new DelayNode(new MemoryNode(64 * MiB), _seeds), "vm");
        using TransmissionRig rig = new(device, budgetBytes);
        using CancellationTokenSource stop = new();
        Task<long> watching = OwnThread.Run(() =>
        {
            long most = 0;
            while (!stop.IsCancellationRequested)
            {
                most = Math.Max(most, rig.Budget.UsedBytes);
                Thread.Yield();
            }

            return most;
        });
        Task[] working = [.. Enumerable.Range(0, 24).Select(slot => (rig.Add((HeaderMode)(slot % 3)), _seeds.Fork(), slot)).Select(worker => OwnThread.Run(() =>
        {
            (RawClient client, Seeds seeds, int slot) = worker;
            for (int round = 0; round < 10; round++)
            {
                byte[] data = seeds.Bytes(1 + seeds.Next(2 * MiB));
                Assert.Equal(NbdError.None, client.Write((ulong)slot * 2 * MiB, data).Error);
                Assert.True(client.ReadDisk((ulong)slot * 2 * MiB, data.Length).AsSpan().SequenceEqual(data));
            }
        }))];

        await Task.WhenAll(working);
        await stop.CancelAsync();

        Assert.InRange(await watching, 0, budgetBytes);
    }

    [Fact]
    public async Task Clients_that_stop_in_the_middle_of_a_write_keep_nobody_waiting()
    {
        await using BlockDevice device = new(new MemoryNode(64 * MiB), "vm");
        using TransmissionRig rig = new(device, 4 * MiB);
        for (int i = 0; i < 12; i++)
        {
            rig.Add().Send([.. Packet.Request(HeaderMode.Simple, (int)NbdCommand.Write, 1, 0, 32 * MiB), .. new byte[1000]]);
        }

        RawClient honest = rig.Add();
        byte[] data = _seeds.Bytes(32 * MiB);
        Assert.Equal(NbdError.None, honest.Write(32 * MiB, data).Error);
        Assert.True(honest.ReadDisk(32 * MiB, 32 * MiB).AsSpan().SequenceEqual(data));
        Assert.InRange(rig.Budget.UsedBytes, 0, 4 * MiB);
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task Clients_that_take_no_replies_keep_nobody_waiting(HeaderMode mode)
    {
        await using BlockDevice device = new(new MemoryNode(8 * MiB), "vm");
        byte[] data = _seeds.Bytes(8 * MiB);
        await device.WriteAsync(0, data);
        using TransmissionRig rig = new(device, 8 * MiB);
        for (int i = 0; i < 12; i++)
        {
            rig.Add(mode).Begin(Read, 0, 3 * MiB);
        }

        Assert.True(SpinWait.SpinUntil(() => rig.Budget.UsedBytes >= 4 * MiB, Patience));
        Assert.True(rig.Add(mode).ReadDisk(0, 8 * MiB).AsSpan().SequenceEqual(data));
    }

    // A client that sends and does not read would otherwise gather answered requests without end.
    [Fact]
    public async Task Late_requests_whose_replies_are_not_taken_are_bounded()
    {
        RecordingNode recording = new(new MemoryNode(8 * MiB));
        await using BlockDevice device = new(new DelayNode(recording, _seeds), "vm");
        using TransmissionRig rig = new(device, 64 * MiB) { StallTimeout = TimeSpan.FromSeconds(2) };
        RawClient client = rig.Add();
        byte[] requests = [.. Enumerable.Range(0, 2000).SelectMany(
            i => Packet.Request(HeaderMode.Simple, Read, (ulong)i, 0, MiB - 16))];
        client.Send(requests);

        // The connection is dropped when it has taken nothing for too long; until then it was held back.
        SpinWait.SpinUntil(() => rig.Budget.UsedBytes == 0 && recording.ReadBytes != 0, Patience);
        Assert.InRange(recording.Count(BlockOperationKind.Read), 1, 100);
    }

    // A first or last piece that is shorter than any header, of zeros or of data, on its own and as part of one chunk.
    [Theory]
    [InlineData(HeaderMode.Simple, 0, false)]
    [InlineData(HeaderMode.Structured, 0, false)]
    [InlineData(HeaderMode.Structured, 0, true)]
    [InlineData(HeaderMode.Structured, 1, false)]
    [InlineData(HeaderMode.Extended, 0, false)]
    [InlineData(HeaderMode.Extended, 0, true)]
    [InlineData(HeaderMode.Extended, 1, false)]
    public async Task Reads_without_memory_that_end_in_short_pieces_are_answered(HeaderMode mode, byte content, bool isOneChunk)
    {
        byte[] data = new byte[3 * MiB];
        Array.Fill(data, content);
        await using BlockDevice device = new(new MemoryNode(data.Length), "vm");
        await device.WriteAsync(0, data);
        using TransmissionRig rig = new(device, budgetBytes: 0);
        RawClient client = rig.Add(mode);
        int flags = isOneChunk ? (int)CommandFlags.DontFragment : 0;

        foreach (int offset in (int[])[0, 1, 65536 - 32, 65536 - 31, 65535])
        {
            foreach (int more in (int[])[0, 1, 31, 32, 44])
            {
                Answer answer = client.Call(Read, (ulong)offset, MiB + (ulong)more, flags);
                Assert.True(answer.Data((ulong)offset, MiB + more).AsSpan().SequenceEqual(data.AsSpan(offset, MiB + more)));
            }
        }
    }

    [Fact]
    public async Task A_server_without_memory_serves_its_largest_request()
    {
        await using ServedDisk disk = new(64 * MiB, new NbdServerOptions { MemoryBytes = 1 });
        using RawClient client = disk.Go();

        Assert.Equal(32 * MiB, client.ReadDisk(0, 32 * MiB).Length);
    }
}
