// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

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
