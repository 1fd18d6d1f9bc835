// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>Sessions in real QEMUs whose devices, bitmaps and storage change or resist meanwhile.</summary>
public sealed class ChangingGuestTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ADeviceThatIsUnpluggedIsReadToTheEnd(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor =>
        {
            using FleecingGraph graph = await BuildAsync(monitor, "sd0");
            await RunningGuest.WriteAsync(monitor, "sd0", 0, 2);
            await monitor.RunAsync("device_del", new JsonObject { ["id"] = "sd0" }, Token);

            await RunningGuest.ExpectAsync(graph.Disks[0].SnapshotUri.ToString(), 0, 0);
            await graph.RemoveAsync(monitor, 0, [], Token);

            await ExpectOutAsync(guest, monitor);
        });
        await guest.QuitAsync();
        await RunningGuest.ExpectAsync(guest.File("b.raw"), 0, 2);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AResizedDiskHasASnapshotOfItsOldSize(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor =>
        {
            using FleecingGraph graph = await BuildAsync(monitor, "sd0");
            string filter = (await RunningGuest.FindAsync(monitor, "sd0")).Reply.NodeName!;
            _ = await Assert.ThrowsAsync<BlockException>(() => ResizeAsync(monitor, "b"));
            await ResizeAsync(monitor, filter);

            string info = await Peer.RunAsync("qemu-img", "info", "--output=json", graph.Disks[0].SnapshotUri.ToString());
            Assert.Equal(8 << 20, (int)JsonNode.Parse(info)!["virtual-size"]!);
            await graph.RemoveAsync(monitor, 0, [], Token);

            await ExpectOutAsync(guest, monitor);
            Assert.Equal(16 << 20, (await RunningGuest.FindAsync(monitor, "sd0")).Node!.SizeBytes);
        });
        await guest.QuitAsync();
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ASuccessfulSessionLeavesTheBitmapThatCountsFromIt(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        Guid instantId = Guid.NewGuid();
        await guest.WithMonitorAsync(async monitor =>
        {
            await TwoDisks.AddBitmapAsync(monitor);
            await RunningGuest.WriteAsync(monitor, "virtio0", 0, 1);
            using FleecingGraph graph = await TwoDisks.BuildAsync(monitor, instantId);
            await RunningGuest.WriteAsync(monitor, "virtio0", 5, 2);
            await RunningGuest.WriteAsync(monitor, "virtio0", 9, 2);
            await graph.RemoveAsync(monitor, 0, TwoDisks.Success(instantId), Token);
            await graph.RemoveAsync(monitor, 1, [], Token);
            await graph.RemoveAsync(monitor, 0, TwoDisks.Success(instantId), Token);

            QemuBitmapReply bitmap = Assert.Single((await RunningGuest.FindAsync(monitor, "virtio0")).Node!.Bitmaps);
            Assert.Equal((TwoDisks.Next(instantId), true, 2 * 65536), (bitmap.Name, bitmap.IsRecording, bitmap.DirtyBytes));
            await ExpectOutAsync(guest, monitor);
        });
        await guest.QuitAsync();
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task QemuTakesATimeoutAndAUnitOfCopying(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor =>
        {
            bool hasUnit = (await QmpSchema.QueryAsync(monitor.Channel, Token)).HasDriverOption("copy-before-write", "min-cluster-size");
            using FleecingGraph graph = await FleecingGraphTests.BuildAsync(monitor, new TestGuard(), new FleecingRequest
            {
                Disk = await RunningGuest.FindAsync(monitor, "sd0"),
                CopyTimeout = TimeSpan.FromSeconds(4),
                GranuleSizeBytes = hasUnit ? 1 << 20 : null,
            });
            await RunningGuest.WriteAsync(monitor, "sd0", 17, 2);

            await RunningGuest.ExpectAsync(graph.Disks[0].SnapshotUri.ToString(), 17, 0);
            string map = await Peer.RunAsync("qemu-img", "map", "--output=json", "-f", "raw", graph.Disks[0].TempPath);
            TestContext.Current.TestOutputHelper?.WriteLine(map);
            Assert.Equal(hasUnit ? 1 << 20 : 65536, graph.Disks[0].ClusterSizeBytes);
            await graph.RemoveAsync(monitor, 0, [], Token);
            await ExpectOutAsync(guest, monitor);
        });
        await guest.QuitAsync();
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AGuestThatStopsTooSlowlyRunsOnWithoutASession(string program)
    {
        // QEMU flushes all disks when it stops, and this one takes 2 s for it.
        await using RunningGuest guest = await RunningGuest.StartAsync(program, self =>
        [
            "-device", "virtio-blk-pci,drive=a,id=virtio0", "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=b,id=sd0",
            "-blockdev", "driver=null-co,node-name=slow,latency-ns=2000000000,size=1048576", "-device", "scsi-hd,drive=slow,id=sd1",
        ]);
        await guest.WithMonitorAsync(async monitor =>
        {
            await TwoDisks.AddBitmapAsync(monitor);
            await RunningGuest.WriteAsync(monitor, "sd1", 0, 1);
        });
        string before = await guest.StateAsync();
        Guid instantId = Guid.NewGuid();
        BlockException failed = await guest.WithMonitorAsync(monitor => Assert.ThrowsAsync<BlockException>(async () =>
            await FleecingGraph.BuildAsync(
                monitor,
                await QmpSchema.QueryAsync(monitor.Channel, Token),
                instantId,
                await TwoDisks.RequestsAsync(monitor, instantId),
                new TestGuard(),
                new GraphOptions { LongestPause = TimeSpan.FromMilliseconds(200) },
                Token)));

        Assert.Equal(QemuErrors.PauseTooLong, failed.Kind);
        Assert.Equal(before, await guest.StateAsync());
        await guest.WithMonitorAsync(async monitor =>
        {
            Assert.True((await monitor.QueryStatusAsync(Token)).IsRunning);
            await ExpectOutAsync(guest, monitor);
        });
    }

    [Fact]
    public async Task ATempFolderThatQemuCantEnterIsRefused()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may make files for others");
        await using RunningGuest guest = await RunningGuest.StartAsync(
            "qemu-system-x86_64",
            setPriv: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
            prepare: self => RefusedSessionsTests.Own(self.Folder, self.File("a.qcow2"), self.File("b.raw")));
        string closed = Directory.CreateDirectory(guest.File("closed")).FullName;
        await Peer.RunAsync("chmod", "700", closed);

        await ExpectRefusalAsync(guest, closed, QemuErrors.CommandRefused, "Permission denied");

        Assert.Empty(Directory.GetFileSystemEntries(closed));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AFullTempFolderIsRefused(string program)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may mount");
        Peer.Need("mount", "umount");
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        string full = Directory.CreateDirectory(guest.File("full")).FullName;
        PeerResult mounted = await Peer.TryRunAsync("mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", full);
        Assert.SkipUnless(mounted.ExitCode == 0, "this system lets nothing be mounted");
        try
        {
            await ExpectRefusalAsync(guest, full, BlockErrors.NoSpace, "too few");
            Assert.Empty(Directory.GetFileSystemEntries(full));
        }
        finally
        {
            await Peer.RunAsync("umount", full);
        }
    }

    private static async Task<FleecingGraph> BuildAsync(QemuMonitor monitor, string device) => await FleecingGraphTests.BuildAsync(
        monitor, new TestGuard(), new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, device) });

    private static Task ResizeAsync(QemuMonitor monitor, string node) => monitor.RunAsync(
        "block_resize", new JsonObject { ["node-name"] = node, ["size"] = 16 << 20 }, Token).AsTask();

    private static async Task ExpectOutAsync(RunningGuest guest, QemuMonitor monitor)
    {
        Assert.DoesNotContain(
            await monitor.QueryNodesAsync(Token), node => node.Name.StartsWith("fleece-", StringComparison.Ordinal));
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, ".fleece*"));
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, "*" + FleecingTemp.Extension));
    }

    private static async Task ExpectRefusalAsync(RunningGuest guest, string tempPath, string kind, string clause)
    {
        string before = await guest.StateAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            BlockException refused = await Assert.ThrowsAsync<BlockException>(async () =>
                await FleecingGraphTests.BuildAsync(monitor, new TestGuard(), new FleecingRequest
                {
                    Disk = await RunningGuest.FindAsync(monitor, "virtio0"),
                    TempPath = tempPath,
                }));
            Assert.Equal(kind, refused.Kind);
            Assert.Contains(clause, refused.Message, StringComparison.Ordinal);
            await ExpectOutAsync(guest, monitor);
        });
        Assert.Equal(before, await guest.StateAsync());
    }
}
