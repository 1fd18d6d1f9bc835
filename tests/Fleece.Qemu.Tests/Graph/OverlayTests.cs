// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>External snapshots that another tool takes during a session.</summary>
public sealed class OverlayTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task BitmapsUnderAnOverlayAreInNoOtherDisksWay(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor =>
        {
            await TwoDisks.AddBitmapAsync(monitor);
            Guid instantId = Guid.NewGuid();
            using (await TwoDisks.BuildAsync(monitor, instantId))
            {
                await SnapshotAsync(monitor, guest, "node-name", "a");
            }

            IReadOnlyList<string> sentences = await LeftOvers.RemoveAsync(monitor, isForced: false, null, Token);

            Assert.Contains(sentences, sentence => sentence.Contains("the node 'a'", StringComparison.Ordinal) &&
                sentence.Contains("read-only", StringComparison.Ordinal));
            QemuNodeReply node = (await monitor.QueryNodesAsync(Token)).Single(node => node.Name == "a");
            Assert.Equivalent(
                new[] { TwoDisks.Pending(instantId), TwoDisks.Pinned }, node.Bitmaps.Select(bitmap => bitmap.Name), strict: true);
            using FleecingGraph next = await FleecingGraphTests.BuildAsync(
                monitor, new TestGuard(), new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, "sd0") });
            await next.RemoveAsync(monitor, 0, [], Token);
        });
    }

    [Theory]
    [InlineData("qemu-system-x86_64", true)]
    [InlineData("qemu-system-x86_64", false)]
    [InlineData("$QEMU10_SYSTEM", true)]
    [InlineData("$QEMU10_SYSTEM", false)]
    public async Task AFilterIsTakenOutFromUnderAnOverlay(string program, bool isDrive)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program, self => isDrive
            ? ["-drive", $"if=none,id=d0,format=raw,file={self.File("b.raw")},file.locking=off",
                "-device", "virtio-blk-pci,drive=d0,id=virtio0"]
            : ["-device", "virtio-blk-pci,drive=a,id=virtio0"]);
        await guest.WithMonitorAsync(async monitor =>
        {
            QemuDisk disk = await RunningGuest.FindAsync(monitor, "virtio0");
            using FleecingGraph graph =
                await FleecingGraphTests.BuildAsync(monitor, new TestGuard(), new FleecingRequest { Disk = disk });
            string filter = (await monitor.QueryDevicesAsync(Token)).Single(device => device.NodeName is not null).NodeName!;
            await SnapshotAsync(monitor, guest, isDrive ? "device" : "node-name", isDrive ? "d0" : filter);
            await RunningGuest.WriteAsync(monitor, "virtio0", 1, 7);

            await graph.RemoveAsync(monitor, 0, [], Token);

            Assert.DoesNotContain(await monitor.QueryNodesAsync(Token), node => node.Name.StartsWith("fleece-", StringComparison.Ordinal));
            Assert.DoesNotContain(await monitor.QueryNodesAsync(Token), node => node.Driver == "copy-before-write");
            await RunningGuest.ReadAsync(monitor, "virtio0", 1, 7);
        });

        string header = await Peer.RunAsync("qemu-img", "info", "-U", guest.File("over.qcow2"));
        Assert.Contains($"backing file format: {(isDrive ? "raw" : "qcow2")}", header, StringComparison.Ordinal);
        await guest.QuitAsync();
    }

    private static async Task SnapshotAsync(QemuMonitor monitor, RunningGuest guest, string by, string name)
    {
        JsonObject options = new() { [by] = name, ["snapshot-file"] = guest.File("over.qcow2"), ["format"] = "qcow2" };
        if (by == "node-name")
        {
            options["snapshot-node-name"] = "over";
        }

        await monitor.RunAsync("blockdev-snapshot-sync", options, Token);
    }
}
