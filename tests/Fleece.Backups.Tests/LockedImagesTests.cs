// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>qemu-io opens no disk, temp or backup that a session uses, and none is replaced that qemu-io has open.</summary>
public sealed class LockedImagesTests
{
    private const int SizeBytes = 4 * SnapshotReadOptions.MinimumChunkSizeBytes;

    public LockedImagesTests()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "QEMU locks images on Linux.");
        Peer.Need("qemu-io", "qemu-img");
    }

    [Theory]
    [InlineData("temp.raw", "raw")]
    [InlineData("temp.qcow2", "qcow2")]
    public async Task Qemu_opens_neither_the_disk_nor_the_temp_of_a_session(string tempName, string format)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        string tempPath = rig.Folder.File(tempName);
        await Rig.StartAsync(disk, new SessionOptions { TempPath = tempPath });

        await CheckRefusedAsync("raw", disk.Path);
        await CheckRefusedAsync(format, tempPath);
    }

    [Theory]
    [InlineData("b.raw", "raw")]
    [InlineData("b.qcow2", "qcow2")]
    public async Task Qemu_opens_a_backup_only_when_it_is_complete(string fileName, string format)
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        string path = rig.Folder.File(fileName);
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);
        await using BackupWriter writer = await FileBackup.BeginAsync(new FileTargetOptions { Path = path }, session);

        await CheckRefusedAsync(format, path + ".partial");

        foreach (SnapshotChunk chunk in chunks)
        {
            await writer.WriteAsync(chunk);
        }

        await writer.CompleteAsync();
        await Peer.RunAsync("qemu-io", "-f", format, "-c", "write 0 512", path);
    }

    [Fact]
    public async Task A_backup_does_not_replace_an_image_that_qemu_holds()
    {
        await using Rig rig = new();
        Session session = await Rig.StartAsync(await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes)));
        string path = rig.Folder.File("b.raw");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "raw", path, "1M");
        using System.Diagnostics.Process holder = Peer.Start("qemu-io", "-r", "-f", "raw", path);
        await holder.StandardInput.WriteLineAsync("length");
        await holder.StandardInput.FlushAsync();
        await holder.StandardOutput.ReadLineAsync();
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await FileBackup.BeginAsync(new FileTargetOptions { Path = path, Overwrite = true }, session));

        holder.StandardInput.Close();
        await holder.WaitForExitAsync();
        Assert.Equal(BlockErrors.InUse, error.Kind);
        Assert.Contains("qemu-io", error.Message, StringComparison.Ordinal);
    }

    private static async Task CheckRefusedAsync(string format, string path)
    {
        PeerResult result = await Peer.TryRunAsync("qemu-io", "-r", "-f", format, "-c", "quit", path);
        Assert.Contains("Failed to get \"consistent read\" lock", result.Output, StringComparison.Ordinal);
    }
}
