// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>The typed commands against recorded dialogues of two versions of QEMU, from the greeting to the end.</summary>
public sealed class DialogueTests
{
    private const string Device = "/machine/peripheral/virtio0/virtio-backend";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    public static TheoryData<string> Files => Dialogue.Files;

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Files))]
    public async Task ADiskIsDescribedFleecedAndPutBack(string file)
    {
        (Dialogue dialogue, QmpConnection connection) = await Dialogue.ConnectAsync(file);
        await using Dialogue ending = dialogue;
        await using QmpConnection closing = connection;
        QemuMonitor monitor = new(connection);
        Assert.Equal($"qemu-{connection.Version}.jsonl", file);

        CheckSchema(await QmpSchema.QueryAsync(connection, Cancelled), connection.Version);
        await CheckQueriesAsync(monitor);
        await FleeceAsync(monitor);
        await CheckFleecedAsync(monitor);
        await PutBackAsync(monitor);
        await BackUpAsync(monitor);
        await CheckRefusalsAsync(monitor);
        await monitor.RunAsync("quit", null, Cancelled);
        await dialogue.WhenOverAsync();

        BlockException gone = await Assert.ThrowsAsync<BlockException>(() => monitor.StopAsync(Cancelled).AsTask());
        Assert.Equal(QemuErrors.QemuGone, gone.Kind);
        Assert.Contains("host-qmp-quit", gone.Message, StringComparison.Ordinal);
    }

    private static void CheckSchema(QmpSchema schema, QemuVersion version)
    {
        Assert.True(schema.HasCommand("blockdev-backup"));
        Assert.False(schema.HasCommand("blockdev-replace"));
        Assert.False(schema.HasCommand("BlockdevOptions"));
        Assert.True(schema.HasMember("query-named-block-nodes", "flat"));
        Assert.False(schema.HasMember("query-named-block-nodes", "round"));
        Assert.False(schema.HasMember("stop", "now"));
        Assert.False(schema.HasMember("nope", "flat"));
        Assert.True(schema.HasDriver("snapshot-access"));
        Assert.False(schema.HasDriver("nope"));
        Assert.True(schema.HasDriverOption("copy-before-write", "on-cbw-error"));
        Assert.True(schema.HasDriverOption("copy-before-write", "node-name"));
        Assert.False(schema.HasDriverOption("raw", "on-cbw-error"));
        Assert.False(schema.HasDriverOption("nope", "node-name"));
        Assert.Equal(!version.IsBefore(9, 2), schema.HasDriverOption("copy-before-write", "min-cluster-size"));
        Assert.True(schema.HasBranchMember("block-export-add", "nbd", "bitmaps"));
        Assert.True(schema.HasBranchMember("block-export-add", "nbd", "writable"));
        Assert.False(schema.HasBranchMember("block-export-add", "vhost-user-blk", "bitmaps"));
        Assert.True(schema.HasAction("block-dirty-bitmap-merge"));
        Assert.False(schema.HasAction("blockdev-add"));
    }

    private static async Task CheckQueriesAsync(QemuMonitor monitor)
    {
        Assert.Equal("web", await monitor.QueryNameAsync(Cancelled));
        Assert.Equal(new QemuStatusReply(false, "prelaunch"), await monitor.QueryStatusAsync(Cancelled));
        IReadOnlyList<QemuDeviceReply> devices = await monitor.QueryDevicesAsync(Cancelled);
        Assert.Contains(new QemuDeviceReply(string.Empty, Device, false, "disk"), devices);
        Assert.StartsWith("#block", Assert.Single(devices, device => device.BackendName == "drive1").NodeName, StringComparison.Ordinal);
        Assert.Contains(devices, device => device is { QomPath: "cd" or "/machine/peripheral/cd", IsRemovable: true, NodeName: null });
        IReadOnlyList<QemuNodeReply> nodes = await monitor.QueryNodesAsync(Cancelled);
        QemuNodeReply disk = Assert.Single(nodes, node => node.Name == "disk");
        Assert.Equal(
            ("qcow2", false, 16 << 20, "disk.qcow2", 65536, "1.1"),
            (disk.Driver, disk.IsReadOnly, disk.SizeBytes, disk.FilePath, disk.ClusterSizeBytes, disk.Compat));
        Assert.Equal([new QemuBitmapReply("daily", 65536, 0, true, false, true, false)], disk.Bitmaps);
        Assert.Empty(await monitor.QueryExportsAsync(Cancelled));
        Assert.Empty(await monitor.QueryJobsAsync(Cancelled));
        Assert.Contains(
            new QemuChardevReply("agent", "disconnected:unix:qga.sock,server=on"), await monitor.QueryChardevsAsync(Cancelled));
    }

    private static async Task FleeceAsync(QemuMonitor monitor)
    {
        await monitor.AddNodeAsync(
            Parse("""
                {"driver":"raw","node-name":"temp","discard":"unmap","file":{"driver":"file","filename":"temp.raw","discard":"unmap"}}
                """),
            Cancelled);
        await monitor.ContinueAsync(Cancelled);
        await monitor.StopAsync(Cancelled);
        await monitor.RunTransactionAsync(
            [
                Parse("""{"type":"block-dirty-bitmap-disable","data":{"node":"disk","name":"daily"}}"""),
                Parse("""
                    {"type":"block-dirty-bitmap-add","data":{"node":"disk","name":"daily2","persistent":true,"granularity":65536}}
                    """),
            ],
            Cancelled);
        await monitor.RunTransactionAsync([], Cancelled);
        await monitor.AddNodeAsync(
            Parse("""
                {"driver":"copy-before-write","node-name":"cbw","file":"disk","target":"temp","bitmap":{"node":"disk","name":"daily"}}
                """),
            Cancelled);
        await monitor.SetDriveAsync(Device, "cbw", Cancelled);
        await monitor.AddNodeAsync(
            Parse("""{"driver":"snapshot-access","node-name":"snap","file":"cbw","discard":"unmap"}"""), Cancelled);
        await monitor.StartNbdServerAsync("nbd", Cancelled);
        await monitor.AddExportAsync(
            Parse("""
                {"type":"nbd","id":"e","node-name":"snap","writable":true,"name":"x","bitmaps":[{"node":"disk","name":"daily"}]}
                """),
            Cancelled);
    }

    private static async Task CheckFleecedAsync(QemuMonitor monitor)
    {
        Assert.Equal([new QemuExportReply("e", "nbd", "snap", false)], await monitor.QueryExportsAsync(Cancelled));
        IReadOnlyList<QemuNodeReply> nodes = await monitor.QueryNodesAsync(Cancelled);
        Assert.Equal(
            [
                new QemuBitmapReply("daily2", 65536, 0, true, false, true, false),
                new QemuBitmapReply("daily", 65536, 0, false, true, true, false),
            ],
            nodes.Single(node => node.Name == "disk").Bitmaps);
        Assert.Equal("copy-before-write", nodes.Single(node => node.Name == "cbw").Driver);
    }

    private static async Task PutBackAsync(QemuMonitor monitor)
    {
        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => monitor.DeleteNodeAsync("temp", Cancelled).AsTask());
        Assert.Equal("Block device temp is in use", QmpRefusal.Of(refused)?.Description);
        await monitor.DeleteExportAsync("e", Cancelled);
        Assert.True(await monitor.Channel.WaitForEventAsync(
            "BLOCK_EXPORT_DELETED", data => data.GetProperty("id").GetString() == "e", Patience, Cancelled));
        await monitor.StopNbdServerAsync(Cancelled);
        await monitor.DeleteNodeAsync("snap", Cancelled);
        await monitor.SetDriveAsync(Device, "disk", Cancelled);
        await monitor.DeleteNodeAsync("cbw", Cancelled);
    }

    private static async Task BackUpAsync(QemuMonitor monitor)
    {
        await monitor.StartBackupAsync(
            Parse("""{"device":"disk","target":"temp","sync":"none","job-id":"j","filter-node-name":"cbw"}"""), Cancelled);
        Assert.Equal([new QemuJobReply("j", "backup", "running")], await monitor.QueryJobsAsync(Cancelled));
        await monitor.CancelJobAsync("j", Cancelled);
        Assert.True(await monitor.Channel.WaitForEventAsync(
            "BLOCK_JOB_CANCELLED", data => data.GetProperty("device").GetString() == "j", Patience, Cancelled));
        await monitor.DeleteNodeAsync("temp", Cancelled);
    }

    private static async Task CheckRefusalsAsync(QemuMonitor monitor)
    {
        BlockException missing = await Assert.ThrowsAsync<BlockException>(() => monitor.DeleteNodeAsync("nope", Cancelled).AsTask());
        Assert.Equal(QmpRefusal.Generic, QmpRefusal.Of(missing)?.Class);
        BlockException unknown = await Assert.ThrowsAsync<BlockException>(() => monitor.RunAsync("nope", null, Cancelled).AsTask());
        Assert.Equal(QmpRefusal.CommandNotFound, QmpRefusal.Of(unknown)?.Class);
    }

    private static JsonObject Parse(string text) => JsonNode.Parse(text)!.AsObject();
}
