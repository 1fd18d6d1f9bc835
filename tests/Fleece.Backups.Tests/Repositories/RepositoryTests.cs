// SPDX-License-Identifier: MIT
using System.Text;
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Tests;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests.Repositories;

public sealed class RepositoryTests
{
    private const int U = Nightly.UnitBytes;

    [Fact]
    public async Task The_first_backup_is_full_and_the_next_ones_hold_what_changed()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup first = await vm.BackUpAsync();
        await vm.WriteAsync(3, 2);
        Backup second = await vm.BackUpAsync();
        await vm.WriteAsync(4);
        await vm.ZeroAsync(100, 5);
        await vm.ZeroAsync(0);
        Backup third = await vm.BackUpAsync();

        Assert.Equal(
            [(1, BackupKind.Full), (2, BackupKind.Incremental), (3, BackupKind.Incremental)],
            vm.Read().Points.Select(point => (point.Number, point.Kind)));
        Assert.Equal((2 * U, 0), (second.DataBytes, second.ZeroBytes));
        Assert.Equal((U, 6 * U), (third.DataBytes, third.ZeroBytes));
        Assert.Equal(first.Point!.Id, third.Point!.ChainId);
        await vm.CheckAsync();
    }

    [Theory]
    [InlineData(ImageFormat.Vhdx)]
    [InlineData(ImageFormat.Vhd)]
    public async Task A_chain_keeps_the_format_it_began_with(ImageFormat format)
    {
        await using Nightly vm = await Nightly.MakeAsync(format);
        await vm.BackUpAsync();
        await vm.WriteAsync(3, 2);
        await vm.ZeroAsync(5);

        await vm.BackUpAsync(vm.Options() with { Format = null });

        Assert.Equal([format, format], vm.Read().Points.Select(point => point.Format));
        await vm.CheckAsync();
    }

    // Nothing changes, so only an overlay that stores the zeros is one by itself.
    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task Zeros_over_zeros_are_part_of_the_backup(ImageFormat format)
    {
        await using Nightly vm = await Nightly.MakeAsync(format);
        await vm.BackUpAsync();
        await vm.ZeroAsync(41, 20);
        await vm.WriteAsync(64);
        await vm.Disk.Device.WriteAsync(65L * U, new byte[3 * U]);

        await vm.BackUpAsync(vm.Options() with { MustVerify = true });

        await vm.CheckAsync();
    }

    [Fact]
    public async Task On_a_full_file_system_the_night_fails_and_the_next_one_goes_on()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        using MountedFolder small = new("tmpfs", "size=16m");
        Assert.SkipWhen(small.SkipReason is not null, small.SkipReason ?? string.Empty);
        BackupJobOptions options = new() { RepositoryPath = Path.Combine(small.Path, "vm"), Compression = ImageCompression.None };
        Backup first = await vm.BackUpAsync(options);
        await vm.WriteAsync(0, 150);

        BlockException error = await Nightly.RefusedAsync(BlockErrors.NoSpace, () => vm.BackUpAsync(options));

        Assert.Contains("vm-000002.qcow2", error.Message, StringComparison.Ordinal);
        Repository repository = RepositoryReader.Read(options.RepositoryPath);
        Assert.Equal(first.Path, Assert.Single(repository.Points).Path);
        Assert.Equal(3, Directory.GetFiles(options.RepositoryPath).Length);
        await vm.Disk.Device.WriteZeroesAsync(0, 100L * U);
        Backup second = await vm.BackUpAsync(options);
        Assert.Equal(vm.Truth[second.Point!.Id], await vm.RestoreAsync(second.Point));
    }

    [Fact]
    public async Task A_disk_on_which_nothing_changed_has_a_point_all_the_same()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        Backup second = await vm.BackUpAsync();

        Assert.Equal(0, second.DataBytes + second.ZeroBytes);
        Assert.Equal(2, vm.Read().Points.Count);
        await vm.CheckAsync();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(1000)]
    public async Task A_night_that_fails_leaves_no_backup_and_the_next_one_holds_its_changes(int steps)
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(3, 90);
        string[] before = Directory.GetFiles(vm.RepositoryPath);
        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options()))
        {
            for (int i = 0; i < steps && await job.StepAsync(); i++)
            {
                await vm.WriteAsync(150 + (i % 8));
            }
        }

        Assert.Equal(before.Order(), Directory.GetFiles(vm.RepositoryPath).Order());
        Assert.Empty(vm.Disk.Sessions);
        await vm.WriteAsync(170);
        await vm.BackUpAsync();
        await vm.CheckAsync();
    }

    [Fact]
    public async Task A_backup_shows_the_instant_and_not_what_guests_wrote_while_it_ran()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(10, 30);
        byte[] instant = await vm.ReadDiskAsync();
        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options()))
        {
            await vm.WriteAsync(10, 60);
            while (await job.StepAsync())
            {
            }

            vm.Truth[(await job.CompleteAsync()).Point!.Id] = instant;
        }

        await vm.BackUpAsync();
        await vm.CheckAsync();
    }

    [Fact]
    public async Task A_repository_can_be_moved_as_a_folder()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(3);
        await vm.BackUpAsync();
        string moved = vm.Rig.Folder.File("moved");
        Directory.Move(vm.RepositoryPath, moved);
        vm.RepositoryPath = moved;

        await vm.CheckAsync();
        await vm.WriteAsync(4);
        await vm.BackUpAsync();
        await vm.CheckAsync();
    }

    [Fact]
    public async Task An_incremental_is_refused_where_the_backup_it_builds_on_is_not()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup backup = await vm.BackUpAsync();
        File.Delete(Path.ChangeExtension(backup.Path, ".json"));

        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupParentMissing, () => vm.BackUpAsync());

        Assert.Contains(backup.Point!.Id.ToString(), error.Message, StringComparison.Ordinal);
        Assert.Empty(vm.Disk.Sessions);
        Backup full = await vm.BackUpAsync(vm.Options() with { IsFull = true });
        Assert.Equal((2, BackupKind.Full), (full.Point!.Number, full.Point.Kind));
    }

    [Fact]
    public async Task An_incremental_is_refused_where_the_image_of_a_link_is_gone()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup first = await vm.BackUpAsync();
        await vm.BackUpAsync();
        File.Delete(first.Path);

        await Nightly.RefusedAsync(BackupErrors.BackupChainBroken, () => vm.BackUpAsync());
    }

    [Fact]
    public async Task A_repository_takes_one_disk()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        Disk other = await vm.Rig.AddDiskAsync("other", new byte[U]);

        await Nightly.RefusedAsync(
            DiskErrors.BackupForeign, async () => await (await BackupJob.StartAsync(other, vm.Options())).DisposeAsync());

        Assert.Empty(other.Sessions);
    }

    [Fact]
    public async Task A_repository_takes_one_job_at_a_time_and_a_lock_file_alone_stops_nobody()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        using (RepositoryFolder.Take(vm.RepositoryPath))
        {
            await Nightly.RefusedAsync(BackupErrors.RepositoryBusy, () => vm.BackUpAsync());
        }

        await vm.BackUpAsync();
    }

    [Fact]
    public async Task What_an_interrupted_backup_left_is_cleared_away_and_never_taken_for_one()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup backup = await vm.BackUpAsync();
        string stem = Path.Combine(vm.RepositoryPath, "vm-000002");
        File.Copy(backup.Path, stem + ".qcow2");
        string manifest = await File.ReadAllTextAsync(Path.ChangeExtension(backup.Path, ".json"));
        manifest = manifest.Replace("\"number\": 1", "\"number\": 2", StringComparison.Ordinal).Replace("000001", "000002", StringComparison.Ordinal);
        await File.WriteAllBytesAsync(stem + ".json.partial", ManifestText.Seal(Encoding.UTF8.GetBytes(manifest)));
        await File.WriteAllTextAsync(Path.Combine(vm.RepositoryPath, "vm-000003.qcow2.partial"), "half");
        await File.WriteAllTextAsync(Path.Combine(vm.RepositoryPath, "vm-000003.json.partial"), "{ half");
        await File.WriteAllTextAsync(Path.Combine(vm.RepositoryPath, "notes.txt.partial"), "not ours");
        Assert.Single(vm.Read().Points);

        RepositoryFolder.Take(vm.RepositoryPath).Dispose();

        Assert.Equal(
            ["notes.txt.partial", "repository.lock", "vm-000001.json", "vm-000001.qcow2"],
            Directory.GetFiles(vm.RepositoryPath).Select(Path.GetFileName).Order());
    }

    [Fact]
    public async Task A_test_names_file_and_range_of_what_was_damaged_and_a_restore_refuses_it()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup first = await vm.BackUpAsync(vm.Options() with { Format = ImageFormat.Raw });
        await vm.WriteAsync(0, 70);
        Backup second = await vm.BackUpAsync();
        await FlipAsync(first.Path, (150 * U) + 7);

        BackupPoint[] points = [.. vm.Read().Points];
        BackupFinding finding = Assert.Single((await Nightly.TestAsync(vm.Read(), points[0])).Findings);
        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupDigestMismatch, () => vm.RestoreAsync(points[1]));

        Assert.Equal((BackupErrors.BackupDigestMismatch, 128L * U), (finding.Kind, finding.OffsetBytes));
        Assert.Contains(first.Path, error.Message, StringComparison.Ordinal);
        Assert.Empty((await Nightly.TestAsync(vm.Read(), points[0], isDeep: false)).Findings);
        Assert.Empty((await Nightly.TestAsync(vm.Read(), points[1])).Findings);
        Assert.NotNull(second.Point);
    }

    // Where the damage is hidden by a newer backup it does no harm, and nothing reads it.
    [Fact]
    public async Task A_point_that_does_not_need_the_damaged_range_is_restored()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup first = await vm.BackUpAsync(vm.Options() with { Format = ImageFormat.Raw });
        await vm.WriteAsync(0, 64);
        await vm.BackUpAsync();
        await FlipAsync(first.Path, 7);

        BackupPoint newest = vm.Read().FindNewest(null);

        Assert.Equal(vm.Truth[newest.Id], await vm.RestoreAsync(newest));
    }

    [Fact]
    public async Task A_file_of_another_length_is_told_without_reading_it()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup backup = await vm.BackUpAsync();
        await using (FileStream file = File.OpenWrite(backup.Path))
        {
            file.SetLength(file.Length + U);
        }

        BackupFinding finding = Assert.Single((await Nightly.TestAsync(vm.Read(), vm.Read().Points[0], isDeep: false)).Findings);

        Assert.Equal(BackupErrors.BackupChainBroken, finding.Kind);
    }

    [Fact]
    public async Task A_chain_with_a_hole_is_told_by_name()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        Backup second = await vm.BackUpAsync();
        await vm.BackUpAsync();
        File.Delete(Path.ChangeExtension(second.Path, ".json"));

        BackupPoint newest = vm.Read().FindNewest(null);
        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupChainBroken, () => vm.RestoreAsync(newest));

        Assert.Contains(second.Point!.Id.ToString(), error.Message, StringComparison.Ordinal);
        Assert.Equal(BackupErrors.BackupChainBroken, Assert.Single((await Nightly.TestAsync(vm.Read(), newest)).Findings).Kind);
    }

    [Fact]
    public async Task Where_a_clock_went_back_the_order_of_the_chain_holds()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        List<Backup> nights = [];
        for (int night = 0; night < 3; night++)
        {
            await vm.WriteAsync(night);
            nights.Add(await vm.BackUpAsync());
        }

        DateTimeOffset day = new(2026, 11, 1, 0, 0, 0, TimeSpan.Zero);
        SetInstant(nights[0], day);
        SetInstant(nights[1], day.AddHours(3));
        SetInstant(nights[2], day.AddHours(1));

        Assert.Equal([1, 2, 3], vm.Read().Points.Select(point => point.Number));
        Assert.Equal(3, vm.Read().FindNewest(null).Number);
        Assert.Equal(3, vm.Read().FindNewest(day.AddHours(3)).Number);
        Assert.Equal(1, vm.Read().FindNewest(day.AddMinutes(30)).Number);
        await Nightly.RefusedAsync(BackupErrors.BackupUnknown, () => Task.FromResult(vm.Read().FindNewest(day.AddHours(-1))));
    }

    [Fact]
    public async Task An_interrupted_restore_goes_on_where_it_ended()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(70, 20);
        BackupPoint point = (await vm.BackUpAsync()).Point!;
        string path = vm.Rig.Folder.NewFile();
        await using (BackupRestore restore = await BackupRestore.OpenAsync(point, Nightly.ToRaw(path)))
        {
            await restore.StepAsync();
            await restore.StepAsync();
        }

        Assert.False(File.Exists(path));
        await using (BackupRestore again = await BackupRestore.OpenAsync(point, Nightly.ToRaw(path)))
        {
            Assert.InRange(again.ResumedBytes, 1, again.DataBytes - 1);
            while (await again.StepAsync())
            {
            }

            await again.CompleteAsync();
        }

        Assert.Equal(vm.Truth[point.Id], await File.ReadAllBytesAsync(path));
        Assert.Single(Directory.GetFiles(vm.Rig.Folder.Path, Path.GetFileName(path) + "*"));
    }

    [Fact]
    public async Task Another_restores_partial_file_is_not_overwritten()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        BackupPoint first = (await vm.BackUpAsync()).Point!;
        await vm.WriteAsync(3);
        BackupPoint second = (await vm.BackUpAsync()).Point!;
        string path = vm.Rig.Folder.NewFile();
        await using (BackupRestore restore = await BackupRestore.OpenAsync(first, Nightly.ToRaw(path)))
        {
            await restore.StepAsync();
        }

        await Nightly.RefusedAsync(
            BlockErrors.AlreadyExists, async () => await BackupRestore.OpenAsync(second, Nightly.ToRaw(path)));
    }

    [Fact]
    public async Task A_range_becomes_an_image_of_its_own()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(10, 3);
        BackupPoint point = (await vm.BackUpAsync()).Point!;
        string path = vm.Rig.Folder.NewFile();
        RestoreOptions options = Nightly.ToRaw(path) with { OffsetBytes = (9 * U) + 512, LengthBytes = 3 * U };
        await using BackupRestore restore = await BackupRestore.OpenAsync(point, options);
        while (await restore.StepAsync())
        {
        }

        await restore.CompleteAsync();

        Assert.Equal(vm.Truth[point.Id].AsSpan((9 * U) + 512, 3 * U).ToArray(), await File.ReadAllBytesAsync(path));
    }

    [Fact]
    public async Task A_backup_can_be_read_back_before_it_counts()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync(vm.Options() with { MustVerify = true });
        await vm.WriteAsync(3);
        await vm.ZeroAsync(5);

        Assert.True((await vm.BackUpAsync(vm.Options() with { MustVerify = true })).IsVerified);
    }

    [Fact]
    public async Task A_bitmap_that_can_not_be_trusted_makes_a_full_backup_and_says_so()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        vm.Disk = await vm.Rig.RemountAsync(vm.Disk);
        await vm.Disk.DisposeAsync();
        File.SetLastWriteTimeUtc(vm.Disk.Path, DateTime.UtcNow.AddDays(1));
        vm.Disk = await vm.Rig.OpenAsync(vm.Disk.Path);

        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options());

        Assert.Contains("can't be trusted", Assert.Single(job.Notes), StringComparison.Ordinal);
        Assert.Equal(Nightly.SizeBytes, job.SizeBytes);
    }

    [Fact]
    public async Task The_baseline_outlives_mounts_and_goes_when_the_bitmap_misses_changes()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Backup backup = await vm.BackUpAsync();
        vm.Disk = await vm.Rig.RemountAsync(vm.Disk);
        Bitmap bitmap = Assert.Single(vm.Disk.Bitmaps.All);
        Assert.Equal(backup.Point!.Id, bitmap.BaselineId);

        await vm.Disk.Bitmaps.DisableAsync(bitmap.Name);
        await vm.Disk.Bitmaps.EnableAsync(bitmap.Name);

        Assert.Null(bitmap.BaselineId);
        Assert.Equal(BackupKind.Full, (await vm.BackUpAsync()).Point!.Kind);
    }

    // One percent of a large disk costs one percent, in bytes read of it and in bytes of the file.
    [Fact]
    public async Task An_incremental_costs_what_changed_and_not_what_the_disk_is()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", 100L << 30);
        BackupJobOptions options = new() { RepositoryPath = rig.Folder.File("vm"), Compression = ImageCompression.None };
        Backup full = await RunAsync(disk, options);
        const int Changes = 160;
        for (int i = 0; i < Changes; i++)
        {
            await disk.Device.WriteAsync(i * (100L << 30) / Changes, rig.Seeds.Bytes(U));
        }

        Backup incremental = await RunAsync(disk, options);

        Assert.Equal((0, 100L << 30), (full.DataBytes, full.ZeroBytes));
        Assert.Equal((Changes * U, 0), (incremental.DataBytes, incremental.ZeroBytes));

        // Every change lies under an L2 table of its own, which takes a cluster.
        Assert.InRange(incremental.Point!.FileSizeBytes, Changes * U, (2 * Changes * U) + (1 << 20));
        Assert.InRange(new FileInfo(Path.ChangeExtension(incremental.Path, ".json")).Length, 1, 64 << 10);
    }

    private static async Task<Backup> RunAsync(Disk disk, BackupJobOptions options)
    {
        await using BackupJob job = await BackupJob.StartAsync(disk, options);
        while (await job.StepAsync())
        {
        }

        return await job.CompleteAsync();
    }

    private static void SetInstant(Backup backup, DateTimeOffset instant)
    {
        string path = Path.ChangeExtension(backup.Path, ".json");
        ManifestFile.Write(path, ManifestFile.Read(path) with { InstantAt = instant });
    }

    private static async Task FlipAsync(string path, long offsetBytes)
    {
        await using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = offsetBytes;
        int value = file.ReadByte();
        file.Position = offsetBytes;
        file.WriteByte((byte)~value);
    }
}
