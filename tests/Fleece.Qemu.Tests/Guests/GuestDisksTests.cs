// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Tests.Graph;
using Fleece.TestKit;

namespace Fleece.Qemu.Tests.Guests;

/// <summary>What Fleece learns of a guest's disks from real QEMUs.</summary>
public sealed class GuestDisksTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task DisksAreFoundByTheirNames(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program, self =>
        [
            "-device", "virtio-blk-pci,drive=a,id=virtio0", "-device", "virtio-blk-pci,drive=b", "-device", "ide-cd,id=cd0",
            "-chardev", $"socket,path={self.File("agent")},server=on,wait=off,id=agent", "-device", "virtio-serial",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        ]);
        GuestDisks disks = await guest.WithMonitorAsync(async monitor =>
            await GuestDisks.QueryAsync(monitor, TestContext.Current.CancellationToken));

        Assert.Equal(guest.File("agent"), disks.AgentSocketPath);
        Assert.Equal("web.virtio0", disks.Find("virtio0").Name);
        Assert.Equal("a", disks.Find("/machine/peripheral/virtio0/virtio-backend").Node!.Name);
        Assert.Equal("virtio0", disks.Find("a").Device);
        Assert.Equal("b", disks.Find("b").Device);
        Assert.Null(disks.Find("cd0").Node);
        Assert.All(disks.Disks, disk => Assert.Null(disk.IoThread));
        BlockException unknown = Assert.Throws<BlockException>(() => disks.Find("nope"));
        Assert.Equal(QemuErrors.DeviceUnknown, unknown.Kind);
        Assert.Contains("'virtio0'", unknown.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AnOverlayHasTheFileOfItsImageAndNoDescription(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        CancellationToken token = TestContext.Current.CancellationToken;
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", guest.File("o.qcow2"), "8M");
        JsonObject overlay = new()
        {
            ["driver"] = "qcow2",
            ["node-name"] = "o",
            ["backing"] = null,
            ["file"] = new JsonObject { ["driver"] = "file", ["filename"] = guest.File("o.qcow2") },
        };

        GuestDisks disks = await guest.WithMonitorAsync(async monitor =>
        {
            _ = await monitor.AskAsync("blockdev-add", overlay, token);
            _ = await monitor.AskAsync("blockdev-snapshot", new JsonObject { ["node"] = "a", ["overlay"] = "o" }, token);
            JsonElement nodes = await monitor.AskAsync("query-named-block-nodes", new JsonObject { ["flat"] = true }, token);
            Assert.StartsWith(
                "json:",
                nodes.EnumerateArray().Single(node => node.GetProperty("node-name").ValueEquals("o")).GetProperty("file").GetString(),
                StringComparison.Ordinal);
            return await GuestDisks.QueryAsync(monitor, token);
        });

        Assert.Equal(guest.File("o.qcow2"), disks.Find("virtio0").Node!.FilePath);
    }

    [Theory]
    [InlineData("unix:/run/vm/qga.sock,server=on", "/run/vm/qga.sock")]
    [InlineData("disconnected:unix:/run/a,b,server=on", "/run/a,b")]
    [InlineData("unix:relative,server=on", null)]
    [InlineData("pty:/dev/pts/3", null)]
    public void ASocketsPathIsReadFromItsDescription(string filename, string? path) =>
        Assert.Equal(path, AgentSockets.PathOf(filename));
}
