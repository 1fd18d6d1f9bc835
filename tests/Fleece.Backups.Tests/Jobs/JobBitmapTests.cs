// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Tests.Repositories;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Bitmaps;

namespace Fleece.Backups.Tests.Jobs;

/// <summary>The bitmaps of jobs: those that they make and take back, and those that a guest's QEMU has.</summary>
public sealed class JobBitmapTests
{
    [Fact]
    public async Task A_bitmap_that_the_job_made_goes_with_the_repository_when_its_session_can_not_begin()
    {
        await using Nightly vm = await Nightly.MakeAsync();

        await Nightly.RefusedAsync(
            BlockErrors.InUse, () => BackupJob.StartAsync(new AlteredDisk(vm.Disk) { RefusesSessions = true }, vm.Options()).AsTask());

        Assert.Empty(vm.Disk.Bitmaps.All);
        Assert.False(Directory.Exists(vm.RepositoryPath));
        await vm.BackUpAsync();
    }

    [Fact]
    public async Task A_bitmap_that_the_job_made_goes_when_the_repository_is_of_another_disk()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        Disk other = await vm.Rig.AddDiskAsync("other", new byte[Nightly.SizeBytes]);

        await Nightly.RefusedAsync(DiskErrors.BackupForeign, () => BackupJob.StartAsync(other, vm.Options()).AsTask());

        Assert.Empty(other.Bitmaps.All);
        Assert.Empty(other.Sessions);
        await vm.WriteAsync(3);
        await vm.BackUpAsync();
        Assert.Equal(BackupKind.Incremental, vm.Read().Points[1].Kind);
    }

    [Fact]
    public async Task A_bitmap_that_was_there_before_the_job_stays()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();

        await Nightly.RefusedAsync(
            BlockErrors.InUse, () => BackupJob.StartAsync(new AlteredDisk(vm.Disk) { RefusesSessions = true }, vm.Options()).AsTask());

        Assert.Equal(vm.Read().Points[0].Id, Assert.Single(vm.Disk.Bitmaps.All).BaselineId);
    }

    [Fact]
    public async Task A_guests_disk_of_another_size_gets_a_full_backup_and_the_reason_is_told()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        AlteredDisk grown = new(vm.Disk)
        {
            Show = bitmaps => [.. bitmaps.Select(bitmap => bitmap with { QemuDiskSizeBytes = Nightly.SizeBytes + 512 })],
        };

        await using BackupJob job = await BackupJob.StartAsync(grown, vm.Options());

        Assert.Contains($"the disk has {Nightly.SizeBytes + 512} bytes now", Assert.Single(job.Notes), StringComparison.Ordinal);
        Assert.Null(job.Session!.Identity!.BaselineId);
    }

    [Fact]
    public async Task Of_two_bitmaps_of_one_name_the_job_takes_the_one_that_counts_from_a_backup_here()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync(vm.Options() with { Bitmap = "counting" });
        await vm.Disk.Bitmaps.CreateAsync("daily");
        (await vm.Disk.Bitmaps.CreateAsync("elsewhere")).BaselineId = Guid.NewGuid();
        AlteredDisk guests = new(vm.Disk) { Show = bitmaps => [.. bitmaps.Select(bitmap => bitmap with { Name = "daily" })] };

        await using BackupJob job = await BackupJob.StartAsync(guests, vm.Options() with { Bitmap = "daily" });

        Assert.Empty(job.Notes);
        Assert.Equal(vm.Read().Points[0].Id, job.Session!.Identity!.BaselineId);
    }

    [Fact]
    public async Task Beside_a_bitmap_of_the_guests_backups_a_mounted_disk_gets_its_own_for_the_true_reason()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync(vm.Options() with { Bitmap = "other" });
        string guests = $"daily@{Guid.NewGuid():N}";
        AlteredDisk mounted = new(vm.Disk)
        {
            Show = bitmaps => [.. bitmaps, new BitmapDescription(guests, guests, null, null, IsEnabled: true, Fault: null)],
        };

        await using BackupJob job = await BackupJob.StartAsync(mounted, vm.Options() with { Bitmap = "daily" });

        string note = Assert.Single(job.Notes);
        Assert.Contains($"the bitmap '{guests}' counts only for backups over QMP", note, StringComparison.Ordinal);
        Assert.DoesNotContain("removed", note, StringComparison.Ordinal);
        Assert.Equal(BitmapState.Frozen, vm.Disk.Bitmaps.Find("daily").State);
    }
}
