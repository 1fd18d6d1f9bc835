// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Qemu.Bitmaps;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>Nodes of users whose names look like Fleece's.</summary>
public sealed class OthersNodesTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ARootNodeThatIsCalledLikeFleecesStaysUnderItsDevice(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program, self =>
        [
            "-blockdev", $"driver=raw,node-name=fleece-data,offset=65536,file.driver=file,file.filename={self.File("b.raw")}," +
                "file.locking=off",
            "-device", "virtio-blk-pci,drive=fleece-data,id=virtio0",
        ]);
        string before = await guest.StateAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            QemuDisk disk = await RunningGuest.FindAsync(monitor, "virtio0");
            Assert.Equal("fleece-data", disk.Node!.Name);
            using FleecingGraph graph = await FleecingGraphTests.BuildAsync(
                monitor, new TestGuard(), new FleecingRequest { Disk = disk, TempPath = guest.Folder });
            Assert.Equal("fleece-data", (await RunningGuest.FindAsync(monitor, "virtio0")).Node!.Name);
            await graph.RemoveAsync(monitor, 0, [], Token);
        });

        Assert.Equal(before, await guest.StateAsync());
    }

    [Theory]
    [InlineData("null-co", "cbw")]
    [InlineData("null-co", "temp")]
    [InlineData("raw", "temp")]
    [InlineData("file", "server")]
    public async Task ANodeThatIsCalledLikeAPartIsLeftAlone(string driver, string part)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync("qemu-system-x86_64");
        string path = guest.File("users.img");
        await File.WriteAllBytesAsync(path, new byte[65536], Token);
        JsonObject options = new() { ["driver"] = driver, ["node-name"] = $"fleece-deadbeef-0-{part}" };
        switch (driver)
        {
            case "raw":
                options["file"] = new JsonObject { ["driver"] = "file", ["filename"] = path };
                break;
            case "file":
                options["filename"] = path;
                break;
        }

        await guest.WithMonitorAsync(async monitor => await monitor.AddNodeAsync(options, Token));
        string before = await guest.StateAsync();

        Assert.Empty(await guest.WithMonitorAsync(async monitor => await LeftOvers.RemoveAsync(monitor, isForced: true, null, Token)));
        Assert.Equal(before, await guest.StateAsync());
        Assert.True(File.Exists(path));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ABackupJobsSnapshotThatABitmapLimitsIsTakenWhileTheGuestStandsStill(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(
            program, self => ["-drive", $"if=none,id=lone,format=raw,file={self.File("b.raw")},file.locking=off"]);
        await guest.WithMonitorAsync(async monitor =>
        {
            QemuDisk disk = await RunningGuest.FindAsync(monitor, "lone");
            await monitor.RunTransactionAsync(
                [BitmapActions.Add(disk.Node!.Name, "daily", isPersistent: false, 65536)], Token);
            using FleecingGraph graph = await FleecingGraphTests.BuildAsync(monitor, new TestGuard(), new FleecingRequest
            {
                Disk = disk,
                OnCopyError = CopyErrorPolicy.BreakGuestWrite,
                LimitedBy = "daily",
                AtInstant = [BitmapActions.Disable(disk.Node!.Name, "daily")],
            });
            Assert.NotNull(graph.Instant.Pause);
            await graph.RemoveAsync(monitor, 0, [], Token);
        });
    }
}
