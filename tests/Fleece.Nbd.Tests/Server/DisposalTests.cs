// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block.Memory;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>The end of servers, exports and their connections.</summary>
public sealed class DisposalTests
{
    private const int MiB = 1024 * 1024;

    // Requests get three seconds to finish and cut-off connections as many.
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(15);

    [Fact]
    public async Task A_server_without_clients_ends_at_once_and_twice()
    {
        await using ServedDisk disk = new();

        await disk.Server.DisposeAsync();
        await disk.Server.DisposeAsync();

        Assert.False(File.Exists(disk.Server.Uri.SocketPath));
    }

    [Fact]
    public async Task Clients_in_any_state_are_closed_in_bounded_time()
    {
        Seeds seeds = Seeds.FromEnvironment();
        HoldNode node = new(new MemoryNode(4 * MiB));
        await using ServedDisk disk = new(node);
        await disk.Device.WriteAsync(0, seeds.Bytes(4 * MiB));
        using RawClient connected = disk.Connect();
        using RawClient greeted = disk.Connect().Greet();
        using RawClient idle = disk.Go();
        using RawClient halfway = disk.Go();
        halfway.Send(Packet.Write(HeaderMode.Simple, 1, 0, seeds.Bytes(100_000)).AsSpan(0, 50_000));
        using RawClient notReading = disk.Go();
        for (int i = 0; i < 20; i++)
        {
            notReading.Begin((int)NbdCommand.Read, 0, 4 * MiB);
        }

        using RawClient busy = disk.Go();
        Hold hold = node.HoldNext(BlockOperationKind.Write);
        busy.BeginWrite(0, [1]);
        await hold.Reached;

        Stopwatch watch = Stopwatch.StartNew();
        await disk.Server.DisposeAsync();

        Assert.InRange(watch.Elapsed, TimeSpan.Zero, Bound);
        Assert.False(File.Exists(disk.Server.Uri.SocketPath));
        greeted.AssertClosed();
        idle.AssertClosed();
        halfway.AssertClosed();
        hold.Release();
    }

    [Fact]
    public async Task What_has_arrived_is_finished_and_answered_before_the_end()
    {
        HoldNode node = new(new MemoryNode(MiB));
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go();
        Hold hold = node.HoldNext(BlockOperationKind.Write);
        ulong held = client.BeginWrite(0, [7]);
        await hold.Reached;

        Task ending = disk.Server.DisposeAsync().AsTask();
        hold.Release();

        Assert.Equal((held, NbdError.None), client.ReadAnswer() is var answer ? (answer.Cookie, answer.Error) : default);
        client.AssertClosed();
        await ending;
        Assert.Equal([7], await disk.ReadAsync(0, 1));
    }

    [Fact]
    public async Task Nobody_connects_to_a_server_that_has_ended()
    {
        await using ServedDisk disk = new(uri: "nbd://localhost:0/");
        await disk.Server.DisposeAsync();

        Assert.Throws<System.Net.Sockets.SocketException>(() => disk.Connect());
    }

    [Fact]
    public async Task An_export_that_goes_away_takes_its_clients_along_and_no_others()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Go();
        NbdExport stays = disk.Export! with { Ended = CancellationToken.None };
        disk.Export = stays;
        using RawClient other = disk.Go();

        await disk.Ended.CancelAsync();

        client.AssertClosed();
        Assert.Equal(new byte[512], other.ReadDisk(0, 512));
    }

    [Fact]
    public async Task An_export_that_has_gone_before_its_client_came_closes_it()
    {
        await using ServedDisk disk = new();
        await disk.Ended.CancelAsync();
        using RawClient client = disk.Go();

        client.AssertClosed();
    }

    [Fact]
    public async Task A_device_that_was_closed_answers_with_shutdown()
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Go(HeaderMode.Structured, "base:allocation");
        await disk.Device.DisposeAsync();

        Assert.Equal(NbdError.Shutdown, client.Call((int)NbdCommand.Read, 0, 512).Error);
        Assert.Equal(NbdError.Shutdown, client.Write(0, [1]).Error);
        Assert.Equal(NbdError.Shutdown, client.Call((int)NbdCommand.Flush, 0, 0).Error);
        Assert.Equal(NbdError.Shutdown, client.Call((int)NbdCommand.BlockStatus, 0, 512).Error);
    }

    [Fact]
    public async Task Connections_are_counted_and_ended_by_the_name_of_their_export()
    {
        await using ServedDisk disk = new();
        using RawClient greeted = disk.Connect().Greet();
        using RawClient client = disk.Go();
        client.ReadDisk(0, 1);

        Assert.Equal(1, disk.Server.CountConnections(name => name == "vm"));
        Assert.Equal(0, disk.Server.CountConnections(name => name != "vm"));
        disk.Server.EndConnections(name => name == "vm");

        client.AssertClosed();
        Assert.Equal(OptionReply.Ack, greeted.AskOne(8));
    }

    // Zeros without a hole are written for as long as the disk is, unless somebody stops it.
    [Fact]
    public async Task A_request_as_long_as_the_disk_ends_with_a_connection_that_is_cut_off()
    {
        RecordingNode recording = new(new MemoryNode(1L << 60));
        HoldNode node = new(recording);
        await using ServedDisk disk = new(node);
        using RawClient client = disk.Go(HeaderMode.Extended);
        Hold writing = node.HoldNextAfter(BlockOperationKind.Write);
        client.Begin((int)NbdCommand.WriteZeroes, 0, 1UL << 60, (int)CommandFlags.NoHole);
        await writing.Reached;

        await disk.Server.DisposeAsync();
        writing.Release();

        await disk.Device.DisposeAsync();
        Assert.Equal(1, recording.Count(BlockOperationKind.Write));
    }
}
