// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block.Memory;
using Fleece.Nbd.Server;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Wire;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Clients that harm the server, by ill will or by dying, and the others that must not notice.</summary>
public sealed class BadClientTests
{
    private const int Read = (int)NbdCommand.Read;
    private const int MiB = 1024 * 1024;

    // So that what never comes fails a test instead of stopping it.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly Seeds _seeds = Seeds.FromEnvironment();

    [Fact]
    public async Task A_client_that_takes_no_replies_is_dropped_and_others_go_on()
    {
        await using ServedDisk disk = new(MiB, new NbdServerOptions { StallTimeout = TimeSpan.FromSeconds(1) });
        await disk.Device.WriteAsync(0, _seeds.Bytes(MiB));
        using RawClient stuck = disk.Go();
        stuck.Send([.. Enumerable.Range(0, 100).SelectMany(i => Packet.Request(HeaderMode.Simple, Read, (ulong)i, 0, MiB))]);

        using RawClient other = disk.Go();
        for (int i = 0; i < 100; i++)
        {
            Assert.Equal(NbdError.None, other.Write(0, [1, 2, 3]).Error);
        }

        Assert.True(SpinWait.SpinUntil(() => disk.Server.ConnectionCount == 1, Patience));
        Assert.Equal(512, other.ReadDisk(0, 512).Length);
    }

    // Nothing was acknowledged, so the protocol lets the front be there.
    [Fact]
    public async Task A_client_that_dies_within_a_large_write_has_written_at_most_the_front_of_it()
    {
        await using ServedDisk disk = new(8 * MiB);
        using RawClient other = disk.Go();
        byte[] data = _seeds.Bytes(3 * MiB);
        using (RawClient client = disk.Go())
        {
            client.Send(Packet.Write(HeaderMode.Simple, 1, 0, data).AsSpan()[..^1]);
        }

        Assert.True(SpinWait.SpinUntil(() => disk.Server.ConnectionCount == 1, Patience));
        byte[] stored = other.ReadDisk(0, 3 * MiB);
        int frontBytes = stored.AsSpan().CommonPrefixLength(data);
        Assert.InRange(frontBytes, 0, 3 * MiB - 1);
        Assert.False(stored.AsSpan(frontBytes).ContainsAnyExcept((byte)0));
    }

    [Theory]
    [InlineData(HeaderMode.Simple, 512 * 1024)]
    [InlineData(HeaderMode.Structured, 10_000)]
    [InlineData(HeaderMode.Extended, 100_000)]
    public async Task A_client_that_dies_within_a_write_of_one_piece_has_written_none_of_it(HeaderMode mode, int lengthBytes)
    {
        RecordingNode node = new(new MemoryNode(8 * MiB));
        await using ServedDisk disk = new(node);
        using RawClient other = disk.Go();
        RawClient client = disk.Go(mode);
        byte[] acknowledged = _seeds.Bytes(4096);
        Assert.Equal(NbdError.None, client.Write(0, acknowledged).Error);

        client.Send(Packet.Write(mode, 1, 0, _seeds.Bytes(lengthBytes)).AsSpan()[..^1]);
        client.Dispose();

        Assert.True(SpinWait.SpinUntil(() => disk.Server.ConnectionCount == 1, Patience));
        Assert.Equal(acknowledged, other.ReadDisk(0, 4096));
        Assert.Equal(1, node.Count(BlockOperationKind.Write));
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    [InlineData(HeaderMode.Extended)]
    public async Task A_client_that_sends_byte_by_byte_is_served(HeaderMode mode)
    {
        await using ServedDisk disk = new();
        using RawClient client = disk.Go(mode);
        byte[] data = _seeds.Bytes(300);
        foreach (byte piece in Packet.Write(mode, 5, 100, data))
        {
            client.Send([piece]);
        }

        Assert.Equal(5u, client.ReadAnswer().Cookie);
        Assert.Equal(data, client.ReadDisk(100, 300));
    }

    [Fact]
    public async Task A_thousand_clients_at_a_time_are_served()
    {
        const int Count = 1000;
        await using ServedDisk disk = new();
        byte[] data = _seeds.Bytes(MiB);
        await disk.Device.WriteAsync(0, data);
        List<RawClient> clients = [];
        try
        {
            for (int i = 0; i < Count; i++)
            {
                clients.Add(disk.Go());
            }

            ulong[] cookies = [.. clients.Select((client, i) => client.Begin(Read, (ulong)i * 1024, 1024))];
            for (int i = 0; i < Count; i++)
            {
                Answer answer = clients[i].ReadAnswer();
                Assert.Equal(cookies[i], answer.Cookie);
                Assert.Equal(data[(i * 1024)..][..1024], answer.SimpleData);
            }

            Assert.Equal(Count, disk.Server.ConnectionCount);
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.TooManyOpenSockets)
        {
            Assert.Skip("The limit on open files is too low for a thousand connections; raise ulimit -n.");
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }
    }

    [Fact]
    public async Task One_client_more_than_there_may_be_is_closed_and_may_come_when_another_has_gone()
    {
        await using ServedDisk disk = new(options: new NbdServerOptions { MaximumConnections = 2 });
        using RawClient first = disk.Go();
        RawClient second = disk.Go();
        using (RawClient third = disk.Connect())
        {
            third.AssertClosed();
        }

        second.Dispose();
        Assert.True(SpinWait.SpinUntil(() => disk.Server.ConnectionCount == 1, Patience));
        using RawClient later = disk.Go();

        Assert.Equal(new byte[512], later.ReadDisk(0, 512));
    }

    // The other requests of the connection are served beside the slow ones, by other threads.
    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Extended)]
    public async Task Requests_of_slow_storage_are_served_side_by_side_and_rightly(HeaderMode mode)
    {
        SlowNode node = new(new MemoryNode(4 * MiB));
        await using ServedDisk disk = new(node);
        byte[] data = _seeds.Bytes(4 * MiB);
        await disk.Device.WriteAsync(0, data);
        using RawClient client = disk.Go(mode);
        Dictionary<ulong, int> asked = [];
        for (int round = 0; round < 3; round++)
        {
            asked.Clear();
            for (int i = 0; i < 64; i++)
            {
                int at = i * 65536;
                data[at] = (byte)(1 + round);
                asked.Add(i % 2 == 0 ? client.BeginWrite((ulong)at, data[at..][..4096]) : client.Begin(Read, (ulong)at + 1, 4096), at);
            }

            foreach ((ulong cookie, Answer answer) in client.ReadAnswers(64))
            {
                Assert.Equal(NbdError.None, answer.Error);
                bool isRead = asked[cookie] / 65536 % 2 == 1;
                Assert.True(
                    !isRead || answer.Data((ulong)asked[cookie] + 1, 4096).AsSpan().SequenceEqual(data.AsSpan(asked[cookie] + 1, 4096)));
            }
        }

        Assert.InRange(node.MostAtOnce, 2, 17);
        Assert.Equal(3, (await disk.ReadAsync(0, 1))[0]);
    }

    [Fact]
    public async Task Ending_does_not_wait_for_a_client_that_never_stops_sending()
    {
        await using ServedDisk disk = new(MiB, uri: "nbd://localhost:0/");
        using RawClient client = disk.Go();
        byte[] requests = [.. Enumerable.Range(0, 10_000).SelectMany(
            i => Packet.Request(HeaderMode.Simple, (int)NbdCommand.Flush, (ulong)i, 0, 0))];

        // Connections have the name of their export when they are in transmission, which is a little after they hear of it.
        client.ReadDisk(0, 1);
        Task sending = OwnThread.Run(() =>
        {
            try
            {
                while (true)
                {
                    client.Send(requests);
                }
            }
            catch (IOException)
            {
                // The server has closed.
            }
        });
        Task<long> reading = OwnThread.Run(client.ReadToEnd);

        disk.Server.EndConnections(name => name == "vm");

        await reading;
        await sending;
        Assert.True(SpinWait.SpinUntil(() => disk.Server.ConnectionCount == 0, Patience));
    }

    [Fact]
    public async Task A_client_that_chooses_an_export_while_it_is_taken_away_is_not_kept()
    {
        await using ServedDisk disk = new();
        VanishingDirectory directory = new(disk.Export!);
        await using NbdServer server = NbdServer.Listen(
            NbdUri.Parse($"nbd+unix:///?socket={disk.Folder.File("other")}"), directory, new NbdServerOptions());
        using RawClient client = RawClient.Connect(server.Uri).Greet();

        client.Ask(Packet.Option(7, Packet.Wish("vm", 3)));

        client.AssertClosed();
    }

    /// <summary>Has its export once.</summary>
    private sealed class VanishingDirectory(NbdExport export) : IExportDirectory
    {
        private int _asked;

        public IReadOnlyList<NbdExport> List() => [];

        public NbdExport? Find(string name) => Interlocked.Increment(ref _asked) == 1 ? export : null;
    }
}
