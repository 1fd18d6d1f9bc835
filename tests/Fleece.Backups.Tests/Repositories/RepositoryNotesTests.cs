// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>What jobs and tests say of a repository of which something is missing.</summary>
public sealed class RepositoryNotesTests
{
    // What happened to the bitmap since the last backup, and what the note says.
    [Theory]
    [InlineData("cleared", "counts from no backup")]
    [InlineData("disabled", "counts from no backup")]
    [InlineData("removed", "has no bitmap")]
    [InlineData("another", "has no bitmap")]
    public async Task A_full_backup_that_was_not_asked_for_says_why(string change, string reason)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        string bitmap = Assert.Single(vm.Disk.Bitmaps.All).Name;
        switch (change)
        {
            case "cleared":
                await vm.Disk.Bitmaps.ClearAsync(bitmap);
                break;
            case "disabled":
                await vm.Disk.Bitmaps.DisableAsync(bitmap);
                await vm.Disk.Bitmaps.EnableAsync(bitmap);
                break;
            case "removed":
                await vm.Disk.Bitmaps.RemoveAsync(bitmap);
                break;
            default:
                break;
        }

        await using BackupJob job = await BackupJob.StartAsync(
            vm.Disk, vm.Options() with { Bitmap = change == "another" ? "another" : null });

        string note = Assert.Single(job.Notes);
        Assert.StartsWith("A full backup is made, because", note, StringComparison.Ordinal);
        Assert.Contains(reason, note, StringComparison.Ordinal);
        Assert.Equal(Nightly.SizeBytes, job.SizeBytes);
    }

    // By hand, or because it was made with -Disabled; cleared meanwhile or not.
    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task A_disabled_bitmap_records_again_from_a_full_backup_on(bool isFull, bool isCleared)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        string bitmap = Assert.Single(vm.Disk.Bitmaps.All).Name;
        await vm.Disk.Bitmaps.DisableAsync(bitmap);
        await vm.WriteAsync(50);
        if (isCleared)
        {
            await vm.Disk.Bitmaps.ClearAsync(bitmap);
        }

        await BacksUpInFullAsync(vm, vm.Options() with { IsFull = isFull }, bitmap);
    }

    [Fact]
    public async Task A_bitmap_of_the_users_that_was_made_disabled_records_from_its_first_backup_on()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 0);
        await vm.Disk.Bitmaps.CreateAsync("dd", isEnabled: false);

        await BacksUpInFullAsync(vm, vm.Options() with { Bitmap = "dd" }, "dd");
    }

    [Fact]
    public async Task A_disk_that_is_an_overlay_now_is_told_that_its_bitmap_is_the_parents()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string bitmap = Assert.Single(vm.Disk.Bitmaps.All).Name;
        await vm.Disk.DisposeAsync();
        string overlay = vm.Rig.Folder.File("overlay.qcow2");
        await Image.CreateAsync(
            overlay, new ImageCreateOptions { Format = ImageFormat.Qcow2, ParentPath = vm.Disk.Path, ParentFormat = ImageFormat.Raw });
        string parent = vm.Disk.Path;
        vm.Disk = await Disk.OpenAsync(overlay, "vm");
        await using Disk disk = vm.Disk;

        await using BackupJob job = await BackupJob.StartAsync(disk, vm.Options());

        string note = Assert.Single(job.Notes, note => note.StartsWith("A full backup is made", StringComparison.Ordinal));
        Assert.Contains($"the bitmap '{bitmap}' is one of the parent image '{parent}'", note, StringComparison.Ordinal);
        Assert.DoesNotContain("was removed", note, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disk_that_was_resized_gets_a_full_backup()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        await vm.Disk.DisposeAsync();
        await using (FileStream image = new(vm.Disk.Path, FileMode.Open, FileAccess.Write))
        {
            image.SetLength(2 * Nightly.SizeBytes);
        }

        vm.Disk = await vm.Rig.OpenAsync(vm.Disk.Path);

        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options());
        Assert.StartsWith("A full backup is made, because", Assert.Single(job.Notes), StringComparison.Ordinal);
        Assert.Equal(2 * Nightly.SizeBytes, job.SizeBytes);
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 2)]
    public async Task The_first_backup_and_one_that_was_asked_for_need_no_reason(bool isFull, int nights)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights);

        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options() with { IsFull = isFull });

        Assert.Empty(job.Notes);
    }

    [Fact]
    public async Task An_image_without_its_manifest_is_told_by_the_name_that_is_missing()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 3);
        string path = vm.Read().Points[2].Path;
        Assert.Null(vm.Read().DescribeStrays());
        File.Delete(Path.ChangeExtension(path, ".json"));

        BlockException error = Assert.Throws<BlockException>(() => RepositoryReader.ReadAny(path, out _));
        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options() with { IsFull = true });

        Assert.Contains("'vm-000003.json'", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("qcow2.json", error.Message, StringComparison.Ordinal);
        Assert.Contains("'vm-000003.json'", job.Notes[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Outside_of_a_repository_a_name_with_a_number_has_its_manifest_under_its_whole_name()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 0);
        string path = vm.Rig.Folder.File("web-000001.qcow2");
        await File.WriteAllTextAsync(path, "an image");

        BlockException error = Assert.Throws<BlockException>(() => RepositoryReader.ReadAny(path, out _));

        Assert.Contains("'web-000001.qcow2.json'", error.Message, StringComparison.Ordinal);
    }

    private static async Task BacksUpInFullAsync(Nightly vm, BackupJobOptions options, string bitmap)
    {
        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, options))
        {
            string note = Assert.Single(job.Notes);
            Assert.Contains($"the bitmap '{bitmap}' was disabled", note, StringComparison.Ordinal);
            Assert.Contains("records again from now on", note, StringComparison.Ordinal);
            Assert.Equal(Nightly.SizeBytes, job.SizeBytes);
        }

        Assert.Equal(BackupKind.Full, (await vm.BackUpAsync(options)).Point!.Kind);
        await vm.WriteAsync(60);
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync(options with { IsFull = false })).Point!.Kind);
        Assert.Equal(bitmap, Assert.Single(vm.Disk.Bitmaps.All).Name);
        await vm.CheckAsync(withQemu: false);
    }

    // The image stays as long as another one builds on it.
    [Theory]
    [InlineData(2, "leave the image beside it, on which the backup 3 may build")]
    [InlineData(3, "and the image beside it too")]
    public async Task Old_backups_that_stay_for_a_damaged_manifest_are_an_error_with_a_way_out(int number, string way)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 3);
        string path = ManifestText.PathOf(vm.Read().Points[number - 1]);
        await File.WriteAllTextAsync(path, "damaged");
        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options(keep: 1) with { IsFull = true }))
        {
            while (await job.StepAsync())
            {
            }

            _ = await job.CompleteAsync();
            BlockException error = await Nightly.RefusedAsync(BackupErrors.ManifestInvalid, () => job.RetainAsync().AsTask());
            Assert.Contains($"move '{path}'", error.Message, StringComparison.Ordinal);
            Assert.Contains(way, error.Message, StringComparison.Ordinal);
        }

        File.Delete(path);
        if (number == 3)
        {
            File.Delete(Path.ChangeExtension(path, ".qcow2"));
        }

        await vm.BackUpAsync(vm.Options(keep: 1));

        Assert.Equal(5, Assert.Single(vm.Read().Points).Number);
    }

    [Fact]
    public async Task A_point_that_builds_on_one_that_is_not_good_is_not_good_and_names_it()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        Repository repository = vm.Read();
        File.Delete(repository.Points[0].Path);

        BackupReport first = await Nightly.TestAsync(repository, repository.Points[0], isDeep: false);
        await using BackupTest test = new(repository, repository.Points[1], isDeep: false, first);
        while (await test.StepAsync())
        {
        }

        Assert.Contains(test.Report.Findings, finding =>
            finding.Message.StartsWith("It builds on the backup 1, which is not good", StringComparison.Ordinal) &&
            finding.Message.Contains("vm-000001.qcow2", StringComparison.Ordinal));
    }
}
