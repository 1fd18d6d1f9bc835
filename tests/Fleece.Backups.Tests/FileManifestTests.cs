// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;

namespace Fleece.Backups.Tests;

/// <summary>When the manifest beside a backup that is one file comes and goes.</summary>
public sealed class FileManifestTests
{
    // Wherever the process is killed: a manifest that is there is that of the image that is there.
    [Fact]
    public async Task A_backup_that_replaces_another_is_never_beside_its_manifest()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(1024 * 1024));
        string path = rig.Folder.File("b.raw");
        Session first = await Rig.StartAsync(disk);
        await BackUpAsync(first, path);
        await first.StopAsync();
        await disk.Device.WriteAsync(4096, rig.Seeds.Bytes(4096));
        Session second = await Rig.StartAsync(disk);
        FileTarget target = await FileTarget.CreateAsync(
            new FileTargetOptions { Path = path, Overwrite = true }, second, CancellationToken.None);
        List<string> seen = [];
        target.Reached = stage => seen.Add($"{stage}: {Examine(path, first)}");
        await using BackupWriter writer = new(second, target);
        foreach (SnapshotChunk chunk in await Rig.ChunksAsync(second))
        {
            await writer.WriteAsync(chunk);
        }

        Backup backup = await writer.CompleteAsync();

        Assert.Equal(["described: first", "forgotten: none", "named: none"], seen);
        Assert.Equal(second.InstantId, backup.Point!.Id);
        Assert.True((await TestAsync(path)).IsGood);
        Assert.Equal(["b.raw", "b.raw.json"], Directory.GetFiles(rig.Folder.Path, "b.*").Select(Path.GetFileName).Order());

        static string Examine(string path, Session first) =>
            !File.Exists(path + ".json") ? "none" : RepositoryReader.ReadFile(path).Points[0].Id == first.InstantId ? "first" : "second";
    }

    [Fact]
    public async Task What_a_killed_backup_left_of_its_manifest_is_not_believed_and_is_no_hindrance()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(1024 * 1024));
        string path = rig.Folder.File("b.raw");
        Session session = await Rig.StartAsync(disk);
        await BackUpAsync(session, path);
        File.Move(path + ".json", path + ".json.partial");

        BlockException error = Assert.Throws<BlockException>(() => RepositoryReader.ReadFile(path));
        await BackUpAsync(session, path, overwrite: true);

        Assert.Equal(BackupErrors.BackupUnknown, error.Kind);
        Assert.True((await TestAsync(path)).IsGood);
        Assert.False(File.Exists(path + ".json.partial"));
    }

    [Fact]
    public async Task A_failing_backup_leaves_no_manifest()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(1024 * 1024));
        Session session = await Rig.StartAsync(disk);
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);
        BackupWriter writer = await FileBackup.BeginAsync(new FileTargetOptions { Path = rig.Folder.File("b.raw") }, session);
        await writer.WriteAsync(chunks[0]);

        await writer.DisposeAsync();

        Assert.Empty(Directory.GetFiles(rig.Folder.Path, "b.*"));
    }

    private static async Task BackUpAsync(Session session, string path, bool overwrite = false)
    {
        List<SnapshotChunk> chunks = await Rig.ChunksAsync(session);
        await using BackupWriter writer = await FileBackup.BeginAsync(new FileTargetOptions { Path = path, Overwrite = overwrite }, session);
        foreach (SnapshotChunk chunk in chunks)
        {
            await writer.WriteAsync(chunk);
        }

        await writer.CompleteAsync();
    }

    private static async Task<BackupReport> TestAsync(string path)
    {
        Repository single = RepositoryReader.ReadFile(path);
        await using BackupTest test = new(single, single.Points[0], isDeep: true);
        while (await test.StepAsync())
        {
        }

        return test.Report;
    }
}
