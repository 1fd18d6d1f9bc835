// SPDX-License-Identifier: MIT
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Nbd;
using Fleece.Qemu.Graph;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>The one NBD server of a real QEMU, which several sessions use, or a session and others.</summary>
public sealed class SharedServerTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task TheServerServesUntilTheLastSessionEnds(string program)
    {
        await using RunningGuest guest = await StartAsync(program);
        string before = await guest.StateAsync();
        using FleecingGraph first = await BeginAsync(guest, "virtio0");
        using FleecingGraph second = await BeginAsync(guest, "sd0");
        string during = await guest.StateAsync();
        Assert.Equal(first.Disks[0].SnapshotUri.SocketPath, second.Disks[0].SnapshotUri.SocketPath);

        await EndAsync(guest, first);
        await ExpectOldAsync(second);
        using FleecingGraph third = await BeginAsync(guest, "virtio0");
        await ExpectOldAsync(third);
        Assert.Equal(during.Length, (await guest.StateAsync()).Length);
        await EndAsync(guest, second);
        await ExpectOldAsync(third);
        await EndAsync(guest, third);

        Assert.Equal(before, await guest.StateAsync());
        ExpectNoFiles(guest);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task TheSessionOfADeadProcessLeavesTheServerToTheOther(string program)
    {
        await using RunningGuest guest = await StartAsync(program);
        string before = await guest.StateAsync();
        foreach (bool isFirst in new[] { true, false })
        {
            using FleecingGraph first = await BeginAsync(guest, "virtio0");
            using FleecingGraph second = await BeginAsync(guest, "sd0");
            (FleecingGraph dead, FleecingGraph alive) = isFirst ? (first, second) : (second, first);
            dead.Dispose();

            string sentence = Assert.Single(await guest.WithMonitorAsync(
                async monitor => await LeftOvers.RemoveAsync(monitor, isForced: false, onlySession: null, Token)));

            Assert.Contains("is gone", sentence, StringComparison.Ordinal);
            await ExpectOldAsync(alive);
            await EndAsync(guest, alive);
            Assert.Equal(before, await guest.StateAsync());
            ExpectNoFiles(guest);
        }
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task SessionsThatBeginAndEndTogetherShareTheServer(string program)
    {
        await using RunningGuest guest = await StartAsync(program);
        string before = await guest.StateAsync();
        for (int round = 0; round < 5; round++)
        {
            FleecingGraph[] graphs = await Task.WhenAll(BeginAsync(guest, "virtio0"), BeginAsync(guest, "sd0"));
            await Task.WhenAll(graphs.Select(ExpectOldAsync));
            await Task.WhenAll(graphs.Select(graph => EndAsync(guest, graph)));
            Assert.Equal(before, await guest.StateAsync());
            ExpectNoFiles(guest);
        }
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AFolderThatCantBeEnteredKeepsTheServer(string program)
    {
        await using RunningGuest guest = await StartAsync(program);
        string before = await guest.StateAsync();
        using FleecingGraph first = await BeginAsync(guest, "virtio0");
        string folder = Path.GetDirectoryName(first.Disks[0].SnapshotUri.SocketPath)!;
        Directory.Move(folder, guest.File("aside"));

        // A link to itself: root enters all other folders.
        _ = Directory.CreateSymbolicLink(folder, folder);
        Assert.Equal(BlockErrors.PermissionDenied, (await Assert.ThrowsAsync<BlockException>(() => BeginAsync(guest, "sd0"))).Kind);
        Assert.Equal(BlockErrors.PermissionDenied, (await Assert.ThrowsAsync<BlockException>(() => EndAsync(guest, first))).Kind);

        File.Delete(folder);
        Directory.Move(guest.File("aside"), folder);
        await EndAsync(guest, first);
        Assert.Equal(before, await guest.StateAsync());
        ExpectNoFiles(guest);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ASessionLeavesAServerOfOthersAsItWas(string program)
    {
        await using RunningGuest guest = await StartAsync(program);
        foreach (NbdUri uri in new[] { NbdUri.Parse($"nbd+unix:///?socket={guest.File("theirs")}"), FreeAddress() })
        {
            await ServeAsync(guest, uri);
            string before = await guest.StateAsync();
            using FleecingGraph graph = await BeginAsync(guest, "virtio0", uri);
            Assert.Equal(uri, graph.Disks[0].SnapshotUri.WithExport(string.Empty));
            await ExpectOldAsync(graph);
            await RunningGuest.ExpectAsync(uri.WithExport("b").ToString(), 0, 0);
            await EndAsync(guest, graph);

            await RunningGuest.ExpectAsync(uri.WithExport("b").ToString(), 0, 0);
            Assert.Equal(before, await guest.StateAsync());
            ExpectNoFiles(guest);
            await guest.WithMonitorAsync(async monitor => await monitor.StopNbdServerAsync(Token));
        }
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AnAddressThatIsNotTheServersIsRefused(string program)
    {
        await using RunningGuest guest = await StartAsync(program);
        var theirs = NbdUri.Parse($"nbd+unix:///?socket={guest.File("theirs")}");
        await ExpectRefusalAsync(guest, theirs, BlockErrors.InvalidArgument, "Leave -NbdServerUri out");
        await ServeAsync(guest, theirs);
        await ExpectRefusalAsync(guest, FreeAddress(), BlockErrors.InvalidArgument, "does not answer at");
        await ExpectRefusalAsync(guest, NbdUri.Parse("nbds://localhost/"), BlockErrors.Unsupported, "TLS");
        await ExpectRefusalAsync(guest, null, BlockErrors.InUse, "-NbdServerUri");

        await RunningGuest.ExpectAsync(theirs.WithExport("b").ToString(), 0, 0);
    }

    // The image's clusters are there before, so that its file keeps its size.
    private static async Task<RunningGuest> StartAsync(string program)
    {
        RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(monitor => RunningGuest.WriteAsync(monitor, "virtio0", 3, 1));
        return guest;
    }

    private static async Task ExpectRefusalAsync(RunningGuest guest, NbdUri? uri, string kind, string clause)
    {
        string before = await guest.StateAsync();
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => BeginAsync(guest, "virtio0", uri));
        Assert.Equal(kind, refused.Kind);
        Assert.Contains(clause, refused.Message, StringComparison.Ordinal);
        Assert.Equal(before, await guest.StateAsync());
        ExpectNoFiles(guest);
    }

    private static NbdUri FreeAddress()
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        return NbdUri.Parse($"nbd://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/");
    }

    private static Task ServeAsync(RunningGuest guest, NbdUri uri) => guest.WithMonitorAsync(async monitor =>
    {
        JsonObject data = uri.IsUnix
            ? new JsonObject { ["path"] = uri.SocketPath }
            : new JsonObject { ["host"] = uri.Host, ["port"] = $"{uri.Port}" };
        await monitor.RunAsync(
            "nbd-server-start",
            new JsonObject { ["addr"] = new JsonObject { ["type"] = uri.IsUnix ? "unix" : "inet", ["data"] = data } },
            Token);
        await monitor.AddExportAsync(
            new JsonObject { ["type"] = "nbd", ["id"] = "theirs", ["node-name"] = "b", ["name"] = "b" }, Token);
    });

    // Each session begins and ends over a connection of its own, as those of different processes do.
    private static Task<FleecingGraph> BeginAsync(RunningGuest guest, string device, NbdUri? uri = null) =>
        guest.WithMonitorAsync(async monitor =>
        {
            await RunningGuest.WriteAsync(monitor, device, 3, 1);
            FleecingGraph graph = await FleecingGraphTests.BuildAsync(
                monitor,
                new TestGuard(),
                new GraphOptions { ServerUri = uri },
                new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, device) });
            await RunningGuest.WriteAsync(monitor, device, 3, 2);
            return graph;
        });

    private static Task ExpectOldAsync(FleecingGraph graph) => RunningGuest.ExpectAsync(graph.Disks[0].SnapshotUri.ToString(), 3, 1);

    private static async Task EndAsync(RunningGuest guest, FleecingGraph graph)
    {
        await guest.WithMonitorAsync(async monitor => await graph.RemoveAsync(monitor, 0, [], Token));
        graph.Dispose();
    }

    private static void ExpectNoFiles(RunningGuest guest)
    {
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, ".fleece*"));
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, "*" + FleecingTemp.Extension));
    }
}
