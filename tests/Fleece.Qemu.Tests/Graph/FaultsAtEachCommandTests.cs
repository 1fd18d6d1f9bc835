// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>A session of two disks that meets a fault at one of its commands after the other, on one real QEMU: afterwards all
/// is as it was before, the guest runs, and it meets no I/O error.</summary>
/// <remarks>Of four commands one has its turn, at random; FLEECE_FAULTS=all takes all.</remarks>
public sealed class FaultsAtEachCommandTests
{
    private const int Stride = 4;

    public static TheoryData<string, Fault> Cases
    {
        get
        {
            TheoryData<string, Fault> cases = [];
            foreach (string program in RunningGuest.Programs.Select(row => row.Data))
            {
                foreach (Fault fault in Enum.GetValues<Fault>())
                {
                    cases.Add(program, fault);
                }
            }

            return cases;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task AFaultAtAnyCommandLeavesTheGuestAsItWas(string program, Fault fault)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor => await TwoDisks.AddBitmapAsync(monitor));

        // The image's clusters are there before, so that its file keeps its size.
        await guest.WithMonitorAsync(async monitor =>
        {
            await RunningGuest.WriteAsync(monitor, "virtio0", 0, 1);
            await RunningGuest.WriteAsync(monitor, "virtio0", 1, 1);
        });
        string before = await guest.StateAsync();
        List<string> commands = [];
        bool isWhole = Environment.GetEnvironmentVariable("FLEECE_FAULTS") == "all";
        var seeds = Seeds.FromEnvironment();
        for (int first = 1; ; first += isWhole ? 1 : Stride)
        {
            int faultAt = first + (isWhole ? 0 : seeds.Next(Stride));
            string? command = await SessionWithFaultAsync(guest, faultAt, fault);
            Assert.Equal(before, await guest.StateAsync());
            Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, ".fleece*"));
            Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, "*.fleece-qemu"));
            if (command is null)
            {
                break;
            }

            commands.Add(command);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{commands.Count}: {string.Join(' ', commands)}");
        if (isWhole)
        {
            Assert.Contains("qom-set", commands);
            Assert.Contains("stop", commands);
            Assert.Contains("nbd-server-stop", commands);
        }

        await guest.QuitAsync();
    }

    // A session: it begins, the guest writes, it ends without success. Returns the command with the fault.
    private static async Task<string?> SessionWithFaultAsync(RunningGuest guest, int faultAt, Fault fault)
    {
        Guid instantId = Guid.NewGuid();
        int value = 1 + (faultAt % 200);
        FleecingGraph? graph = null;
        await using QmpConnection connection = await guest.ConnectAsync();
        FaultyChannel channel = new(connection, faultAt, fault);
        QmpSchema schema = await QmpSchema.QueryAsync(connection, TestContext.Current.CancellationToken);
        IReadOnlyList<FleecingRequest> requests = await TwoDisks.RequestsAsync(new QemuMonitor(connection), instantId);
        try
        {
            QemuMonitor faulty = new(channel);
            graph = await FleecingGraph
                .BuildAsync(
                    faulty, schema, instantId, requests, new TestGuard(), new GraphOptions(), TestContext.Current.CancellationToken);
            QemuMonitor sound = new(connection);
            await RunningGuest.WriteAsync(sound, "virtio0", 0, value);
            await RunningGuest.WriteAsync(sound, "sd0", 5, value);
            await RunningGuest.ReadAsync(sound, "virtio0", 0, value);
            await RemoveAsync(graph, faulty, instantId);
        }
        catch (KilledException)
        {
            graph?.Dispose();
            await connection.DisposeAsync();
            await guest.WithMonitorAsync(async monitor =>
                await LeftOvers.RemoveAsync(monitor, isForced: false, onlySession: null, TestContext.Current.CancellationToken));
            ClearFiles(guest);
        }
        catch (BlockException e) when (e.Message.Contains("injected", StringComparison.Ordinal))
        {
            await connection.DisposeAsync();
            if (graph is not null)
            {
                // The end of a session is tried again over a new connection.
                await guest.WithMonitorAsync(monitor => RemoveAsync(graph, monitor, instantId));
            }
        }

        graph?.Dispose();
        await connection.DisposeAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            await RunningGuest.WriteAsync(monitor, "virtio0", 1, value);
            await RunningGuest.ReadAsync(monitor, "virtio0", 1, value);
        });
        return channel.FaultedCommand;
    }

    private static async Task RemoveAsync(FleecingGraph graph, QemuMonitor monitor, Guid instantId)
    {
        await graph.RemoveAsync(monitor, 0, TwoDisks.Failure(instantId), TestContext.Current.CancellationToken);
        await graph.RemoveAsync(monitor, 1, [], TestContext.Current.CancellationToken);
    }

    // A file that no node names yet, or any more, is found by the next session in its folder.
    private static void ClearFiles(RunningGuest guest)
    {
        FleecingTemp.Clear(guest.Folder, "a.qcow2");
        FleecingTemp.Clear(guest.Folder, "b.raw");
        PrivateServer.ClearFolders(guest.Folder);
    }
}
