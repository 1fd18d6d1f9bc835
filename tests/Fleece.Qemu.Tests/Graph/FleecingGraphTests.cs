// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Qemu.Graph;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Graph;

/// <summary>Sessions in real QEMUs.</summary>
public sealed class FleecingGraphTests
{
    public static TheoryData<string> Programs => RunningGuest.Programs;

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task TwoDisksShowOneInstantWhileTheGuestWrites(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        Guid instantId = Guid.NewGuid();
        await using QmpConnection connection = await guest.ConnectAsync();
        QemuMonitor monitor = new(connection);
        await TwoDisks.AddBitmapAsync(monitor);
        await RunningGuest.WriteAsync(monitor, "virtio0", 0, 1);
        await RunningGuest.WriteAsync(monitor, "sd0", 5, 2);

        using FleecingGraph graph = await TwoDisks.BuildAsync(monitor, instantId);
        await RunningGuest.WriteAsync(monitor, "virtio0", 0, 3);
        await RunningGuest.WriteAsync(monitor, "sd0", 5, 4);

        Assert.NotNull(graph.Instant.Pause);
        Assert.Null(graph.Instant.Freeze);
        await RunningGuest.ExpectAsync(graph.Disks[0].SnapshotUri.ToString(), 0, 1);
        await RunningGuest.ExpectAsync(graph.Disks[1].SnapshotUri.ToString(), 5, 2);
        await graph.RemoveAsync(monitor, 0, TwoDisks.Failure(instantId), Token);
        await RunningGuest.ExpectAsync(graph.Disks[1].SnapshotUri.ToString(), 5, 2);
        await graph.RemoveAsync(monitor, 1, [], Token);
        await graph.RemoveAsync(monitor, 0, TwoDisks.Failure(instantId), Token);
        await RunningGuest.ReadAsync(monitor, "virtio0", 0, 3);
        await RunningGuest.ReadAsync(monitor, "sd0", 5, 4);
        QemuBitmapReply bitmap = Assert.Single((await RunningGuest.FindAsync(monitor, "virtio0")).Node!.Bitmaps);
        Assert.True(bitmap.IsRecording);
        Assert.Equal(65536, bitmap.DirtyBytes);
        await connection.DisposeAsync();
        await guest.QuitAsync();
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task OneDiskWithoutABitmapIsFleecedWithoutAPause(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        string before = await guest.StateAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            TestGuard guard = new(freezes: true);
            using FleecingGraph graph = await BuildAsync(monitor, guard, new FleecingRequest
            {
                Disk = await RunningGuest.FindAsync(monitor, "sd0"),
            });
            await RunningGuest.WriteAsync(monitor, "sd0", 1, 9);
            await RunningGuest.ExpectAsync(graph.Disks[0].SnapshotUri.ToString(), 1, 0);

            Assert.Null(graph.Instant.Pause);
            Assert.NotNull(graph.Instant.Freeze);
            Assert.Equal((1, false), (guard.FreezeCount, guard.IsFrozen));
            await graph.RemoveAsync(monitor, 0, [], Token);
        });

        Assert.Equal(before, await guest.StateAsync());
        await guest.QuitAsync();
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AGuestThatWasPausedStaysPaused(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor =>
        {
            await monitor.StopAsync(Token);
            await TwoDisks.AddBitmapAsync(monitor);
        });
        string before = await guest.StateAsync();
        Guid instantId = Guid.NewGuid();
        await guest.WithMonitorAsync(async monitor =>
        {
            using FleecingGraph graph = await TwoDisks.BuildAsync(monitor, instantId);
            Assert.Null(graph.Instant.Pause);
            Assert.False((await monitor.QueryStatusAsync(Token)).IsRunning);
            await graph.RemoveAsync(monitor, 0, TwoDisks.Failure(instantId), Token);
            await graph.RemoveAsync(monitor, 1, [], Token);
        });

        Assert.Equal(before, await guest.StateAsync());
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task AFreezeThatEndedTooEarlyIsUndone(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor => await TwoDisks.AddBitmapAsync(monitor));
        string before = await guest.StateAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            BlockException failed = await Assert.ThrowsAsync<BlockException>(
                () => TwoDisks.BuildAsync(monitor, Guid.NewGuid(), new TestGuard(freezes: true, thawsInTime: false)));
            Assert.Equal(QemuErrors.AgentFailed, failed.Kind);
        });

        Assert.Equal(before, await guest.StateAsync());
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ADriveWithoutADeviceIsFleecedByABackupJob(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(
            program, self => ["-drive", $"if=none,id=lone,format=raw,file={self.File("b.raw")},file.locking=off"]);
        string before = await guest.StateAsync();
        await guest.WithMonitorAsync(async monitor =>
        {
            QemuDisk disk = await RunningGuest.FindAsync(monitor, "lone");
            BlockException refused = await Assert.ThrowsAsync<BlockException>(
                () => BuildAsync(monitor, new TestGuard(), new FleecingRequest { Disk = disk }));
            Assert.Equal(QemuErrors.FeatureMissing, refused.Kind);
            FleecingRequest request = new()
            {
                Disk = disk,
                OnCopyError = CopyErrorPolicy.BreakGuestWrite,
                GranuleSizeBytes = FilterRoutes.LeastClusterBytes,
            };
            await ExpectMissingAsync(monitor, request with { CopyTimeout = TimeSpan.FromSeconds(1) }, "-CopyTimeout");
            await ExpectMissingAsync(monitor, request with { GranuleSizeBytes = 128 * 1024 }, "-GranuleSizeBytes");
            using FleecingGraph graph = await BuildAsync(monitor, new TestGuard(), request);
            Assert.Equal(FilterRoutes.LeastClusterBytes, graph.Disks[0].ClusterSizeBytes);
            await monitor.RunAsync(
                "human-monitor-command", new JsonObject { ["command-line"] = "qemu-io lone \"write -P 7 0 64k\"" }, Token);
            await RunningGuest.ExpectAsync(graph.Disks[0].SnapshotUri.ToString(), 0, 0);
            await graph.RemoveAsync(monitor, 0, [], Token);
        });

        Assert.Equal(before, await guest.StateAsync());
        await guest.QuitAsync();
        await RunningGuest.ExpectAsync(guest.File("b.raw"), 0, 7);
    }

    private static async Task ExpectMissingAsync(QemuMonitor monitor, FleecingRequest request, string parameter)
    {
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => BuildAsync(monitor, new TestGuard(), request));
        Assert.Equal(QemuErrors.FeatureMissing, refused.Kind);
        Assert.Contains(parameter, refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ASessionOverADeadQemuRemovesItsFiles(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        using FleecingGraph graph = await guest.WithMonitorAsync(async monitor => await BuildAsync(
            monitor, new TestGuard(), new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, "virtio0") }));
        Assert.NotEmpty(Directory.GetFileSystemEntries(guest.Folder, ".fleece*"));
        guest.Process.Kill();
        await guest.Process.WaitForExitAsync(Token);

        await graph.RemoveAsync(null, 0, [], Token);

        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, ".fleece*"));
        Assert.Empty(Directory.GetFileSystemEntries(guest.Folder, "*" + FleecingTemp.Extension));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task FilesOfAProcessThatDiedWithItsQemuAreRemovedByTheNextSession(string program)
    {
        await using RunningGuest dead = await RunningGuest.StartAsync(program);
        FleecingGraph graph = await dead.WithMonitorAsync(async monitor => await BuildAsync(
            monitor, new TestGuard(), new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, "virtio0") }));
        graph.Dispose();
        dead.Process.Kill();
        await dead.Process.WaitForExitAsync(Token);

        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        await guest.WithMonitorAsync(async monitor =>
        {
            using FleecingGraph next = await BuildAsync(monitor, new TestGuard(), new FleecingRequest
            {
                Disk = await RunningGuest.FindAsync(monitor, "virtio0"),
                TempPath = dead.Folder,
            });
            await next.RemoveAsync(monitor, 0, [], Token);
        });

        Assert.Empty(Directory.GetFileSystemEntries(dead.Folder, ".fleece*"));
        Assert.Empty(Directory.GetFileSystemEntries(dead.Folder, "*" + FleecingTemp.Extension));
    }

    [Theory]
    [MemberData(nameof(Programs))]
    public async Task ALiveSessionIsLeftAloneUnlessForced(string program)
    {
        await using RunningGuest guest = await RunningGuest.StartAsync(program);
        string before = await guest.StateAsync();
        using FleecingGraph graph = await guest.WithMonitorAsync(async monitor => await BuildAsync(
            monitor, new TestGuard(), new FleecingRequest { Disk = await RunningGuest.FindAsync(monitor, "virtio0") }));
        string during = await guest.StateAsync();

        Assert.Empty(await guest.WithMonitorAsync(async monitor => await LeftOvers.RemoveAsync(monitor, false, null, Token)));
        Assert.Equal(during, await guest.StateAsync());
        _ = Assert.Single(await guest.WithMonitorAsync(async monitor => await LeftOvers.RemoveAsync(monitor, true, null, Token)));
        Assert.Equal(before, await guest.StateAsync());
        await guest.WithMonitorAsync(async monitor => await graph.RemoveAsync(monitor, 0, [], Token));
        Assert.Equal(before, await guest.StateAsync());
    }

    internal static Task<FleecingGraph> BuildAsync(QemuMonitor monitor, IInstantGuard guard, params FleecingRequest[] requests) =>
        BuildAsync(monitor, guard, new GraphOptions(), requests);

    internal static async Task<FleecingGraph> BuildAsync(
        QemuMonitor monitor, IInstantGuard guard, GraphOptions options, params FleecingRequest[] requests) =>
        await FleecingGraph.BuildAsync(
            monitor, await QmpSchema.QueryAsync(monitor.Channel, Token), Guid.NewGuid(), requests, guard, options, Token);
}
