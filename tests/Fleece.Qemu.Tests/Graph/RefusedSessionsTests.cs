// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Graph;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>What keeps a session of a real QEMU from starting, and leaves all as it was; and QEMUs of another user.</summary>
public sealed class RefusedSessionsTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AServerOfOthersIsRefusedAndUnharmed(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        string uri = $"nbd+unix:///b?socket={guest.File("theirs")}";
        await guest.WithMonitorAsync(async monitor =>
        {
            await monitor.StartNbdServerAsync(guest.File("theirs"), Token);
            await monitor.AddExportAsync(
                new JsonObject { ["type"] = "nbd", ["id"] = "theirs", ["node-name"] = "b", ["name"] = "b" }, Token);
        });

        await ExpectRefusalAsync(guest, "virtio0", null, BlockErrors.InUse);

        await RunningGuest.ExpectAsync(uri, 0, 0);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ATempPathThatIsAFileIsRefusedAndKept(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await File.WriteAllTextAsync(guest.File("mine"), "mine", Token);

        await ExpectRefusalAsync(guest, "virtio0", guest.File("mine"), BlockErrors.AlreadyExists);
        await ExpectRefusalAsync(guest, "virtio0", guest.File("none/there"), BlockErrors.NotFound);

        Assert.Equal("mine", await File.ReadAllTextAsync(guest.File("mine"), Token));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ATempPathIsANewFileOrAFolder(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        string folder = Directory.CreateDirectory(guest.File("scratch")).FullName;
        await guest.WithMonitorAsync(async monitor =>
        {
            foreach (string path in new[] { guest.File("new"), folder })
            {
                using FleecingGraph graph = await FleecingGraphTests.BuildAsync(monitor, new TestGuard(), new FleecingRequest
                {
                    Disk = await RunningGuest.FindAsync(monitor, "virtio0"),
                    TempPath = path,
                });
                Assert.StartsWith(path, graph.Disks[0].TempPath, StringComparison.Ordinal);
                await graph.RemoveAsync(monitor, 0, [], Token);
                Assert.False(File.Exists(graph.Disks[0].TempPath));
            }
        });
    }

    [Fact]
    public async Task AThreadOfAnOldQemuIsRefused()
    {
        await using RunningGuest guest = await RunningGuest.StartAsync("qemu-system-x86_64", WithThread);
        string thread = await guest.WithMonitorAsync(async monitor =>
        {
            Assert.SkipUnless(monitor.Version.IsBefore(10, 0), $"QEMU {monitor.Version} has no such fault");
            return (await RunningGuest.FindAsync(monitor, "virtio0")).IoThread!;
        });

        Assert.Equal("io", thread);
        await ExpectRefusalAsync(guest, "virtio0", null, QemuErrors.DeviceUnsuitable);
        await ExpectRefusalAsync(guest, "sd0", null, QemuErrors.DeviceUnsuitable);
    }

    [Fact]
    public async Task AThreadOfANewQemuIsFleeced()
    {
        await using RunningGuest guest = await RunningGuest.StartAsync("$QEMU10_SYSTEM", WithThread);
        Guid instantId = Guid.NewGuid();
        await guest.WithMonitorAsync(async monitor =>
        {
            await TwoDisks.AddBitmapAsync(monitor);
            await RunningGuest.WriteAsync(monitor, "virtio0", 0, 1);
            using FleecingGraph graph = await TwoDisks.BuildAsync(monitor, instantId);
            await RunningGuest.WriteAsync(monitor, "virtio0", 0, 2);
            await RunningGuest.WriteAsync(monitor, "sd0", 0, 2);
            await RunningGuest.ExpectAsync(graph.Disks[0].SnapshotUri.ToString(), 0, 1);
            await RunningGuest.ExpectAsync(graph.Disks[1].SnapshotUri.ToString(), 0, 0);
            await graph.RemoveAsync(monitor, 0, TwoDisks.Failure(instantId), Token);
            await graph.RemoveAsync(monitor, 1, [], Token);
        });
        await guest.QuitAsync();
    }

    [Fact]
    public async Task AQemuOfAnotherUserOpensTheTempAndTheSocket()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root may make files for others");
        await using RunningGuest guest = await RunningGuest.StartAsync(
            "qemu-system-x86_64",
            setPriv: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
            prepare: self => Own(self.Folder, self.File("a.qcow2"), self.File("b.raw")));
        Guid instantId = Guid.NewGuid();
        await guest.WithMonitorAsync(async monitor =>
        {
            await TwoDisks.AddBitmapAsync(monitor);
            using FleecingGraph graph = await TwoDisks.BuildAsync(monitor, instantId);
            await RunningGuest.WriteAsync(monitor, "sd0", 0, 2);
            await RunningGuest.ExpectAsync(graph.Disks[1].SnapshotUri.ToString(), 0, 0);
            await graph.RemoveAsync(monitor, 0, TwoDisks.Failure(instantId), Token);
            await graph.RemoveAsync(monitor, 1, [], Token);
        });
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, ".fleece*"));
        await guest.QuitAsync();
    }

    private static string[] WithThread(RunningGuest guest) =>
    [
        "-object", "iothread,id=io", "-device", "virtio-blk-pci,drive=a,id=virtio0,iothread=io",
        "-device", "virtio-scsi-pci,iothread=io", "-device", "scsi-hd,drive=b,id=sd0",
    ];

    internal static void Own(params string[] paths)
    {
        foreach (string path in paths)
        {
            new QemuUser(65534).Own(path);
        }
    }

    private static async Task ExpectRefusalAsync(RunningGuest guest, string device, string? tempPath, string kind)
    {
        string before = await guest.StateAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            BlockException refused = await Assert.ThrowsAsync<BlockException>(async () =>
                await FleecingGraphTests.BuildAsync(monitor, new TestGuard(), new FleecingRequest
                {
                    Disk = await RunningGuest.FindAsync(monitor, device),
                    TempPath = tempPath,
                }));
            Assert.Equal(kind, refused.Kind);
        });
        Assert.Equal(before, await guest.StateAsync());
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, ".fleece*"));
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, "*" + FleecingTemp.Extension));
    }
}
