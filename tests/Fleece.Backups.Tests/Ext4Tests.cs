// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>The main job on a real file system, judged by e2fsprogs.</summary>
public sealed class Ext4Tests
{
    private const int BlockBytes = 4096;

    // Guests write back what is there until the instant and garbage from then on, without ever stopping. So the instant holds a
    // clean file system, whatever moment within the writes it falls on, and the live disk ends as rubble.
    [Theory]
    [InlineData("backup.raw")]
    [InlineData("backup.qcow2")]
    public async Task The_backup_of_an_ext4_disk_under_attack_passes_e2fsck_and_holds_the_files(string backupName)
    {
        Peer.Need("mke2fs", "e2fsck", "debugfs");
        await using Rig rig = new();
        string tree = MakeTree(rig);
        string image = rig.Folder.File("disk.raw");
        await Peer.RunAsync("mke2fs", "-q", "-t", "ext4", "-d", tree, image, "48M");
        await using Disk disk = await Disk.OpenAsync(image, "disk");
        Attack attack = new();
        Task[] guests = [.. Enumerable.Range(0, 2).Select(_ => rig.Seeds.Fork())
            .Select(seeds => Task.Run(() => attack.RunAsync(disk, seeds)))];
        await attack.WaitForWritesAsync(100);

        Session session = await Rig.StartAsync(disk);
        attack.Destroys = true;
        string backupPath = rig.Folder.File(backupName);
        await BackUpAsync(session, backupPath);
        await attack.WaitForWritesAsync(2000);
        attack.Stops = true;
        await Task.WhenAll(guests);
        await session.StopAsync();

        string raw = await AsRawAsync(rig, backupPath);
        await Peer.RunAsync("e2fsck", "-fn", raw);
        string restored = Directory.CreateDirectory(rig.Folder.File("restored")).FullName;
        await Peer.RunAsync("debugfs", "-R", $"rdump / {restored}", raw);
        AssertSameFiles(tree, restored);
        Assert.NotEqual(0, (await Peer.TryRunAsync("e2fsck", "-fn", image)).ExitCode);
    }

    private static string MakeTree(Rig rig)
    {
        string tree = Directory.CreateDirectory(rig.Folder.File("tree")).FullName;
        for (int i = 0; i < 120; i++)
        {
            string folder = Directory.CreateDirectory(Path.Combine(tree, $"folder{i % 7}", $"sub{i % 3}")).FullName;
            File.WriteAllBytes(Path.Combine(folder, $"file{i}"), rig.Seeds.Bytes(rig.Seeds.Next(200_000)));
        }

        return tree;
    }

    private static async Task BackUpAsync(Session session, string path)
    {
        await using SnapshotRead read = new(session, new SnapshotReadOptions { DiscardConsumed = true });
        await using BackupWriter writer = await FileBackup.BeginAsync(new FileTargetOptions { Path = path }, session);
        while (await read.NextAsync() is { } chunk)
        {
            await writer.WriteAsync(chunk);
        }

        await writer.CompleteAsync();
    }

    private static async Task<string> AsRawAsync(Rig rig, string backupPath)
    {
        await using Disk backup = await Disk.OpenAsync(backupPath, options: new ImageOpenOptions { IsReadOnly = true });
        byte[] content = new byte[backup.SizeBytes];
        await backup.Device.ReadAsync(0, content);
        string raw = rig.Folder.File("checked.raw");
        await File.WriteAllBytesAsync(raw, content);
        return raw;
    }

    private static void AssertSameFiles(string expectedFolder, string actualFolder)
    {
        string[] expected = Directory.GetFiles(expectedFolder, "*", SearchOption.AllDirectories);
        Assert.NotEmpty(expected);
        foreach (string file in expected)
        {
            string other = Path.Combine(actualFolder, Path.GetRelativePath(expectedFolder, file));
            Assert.True(File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(other)), $"{other} differs");
        }
    }

    private sealed class Attack
    {
        private long _writeCount;

        public volatile bool Destroys;

        public volatile bool Stops;

        public async Task RunAsync(Disk disk, Seeds seeds)
        {
            byte[] block = new byte[BlockBytes];
            while (!Stops)
            {
                long offsetBytes = seeds.Next(disk.SizeBytes / BlockBytes) * BlockBytes;
                if (Destroys)
                {
                    block = seeds.Bytes(BlockBytes);
                }
                else
                {
                    await disk.Device.ReadAsync(offsetBytes, block);
                }

                await disk.Device.WriteAsync(offsetBytes, block);
                Interlocked.Increment(ref _writeCount);
            }
        }

        public async Task WaitForWritesAsync(long count)
        {
            for (long goal = Volatile.Read(ref _writeCount) + count; Volatile.Read(ref _writeCount) < goal;)
            {
                await Task.Delay(1);
            }
        }
    }
}
