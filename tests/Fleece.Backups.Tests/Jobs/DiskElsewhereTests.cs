// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Tests.Repositories;
using Fleece.Disks.Bitmaps;

namespace Fleece.Backups.Tests.Jobs;

/// <summary>The nightly job, run by another process than the one that serves the disk.</summary>
public sealed class DiskElsewhereTests
{
    [Fact]
    public async Task A_disk_that_another_process_serves_is_backed_up_night_by_night()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await using DiskElsewhere disk = await DiskElsewhere.ServeAsync(vm.Disk, vm.Rig.Folder.File("nbd.sock"));
        for (int night = 0; night < 3; night++)
        {
            await vm.BackUpAsync(vm.Options(keep: 2), disk);
            await vm.WriteAsync(10 * night, 3);
        }

        Repository repository = vm.Read();
        Assert.Equal([2, 3], repository.Points.Select(point => point.Number));
        Assert.Equal(BackupKind.Incremental, repository.Points[1].Kind);
        Assert.Equal(repository.Points[1].Id, Assert.Single(vm.Disk.Bitmaps.All).BaselineId);
        Assert.Empty(vm.Disk.Sessions);
        await vm.CheckAsync();
    }

    [Fact]
    public async Task A_night_that_is_given_up_there_is_in_the_next_one()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await using DiskElsewhere disk = await DiskElsewhere.ServeAsync(vm.Disk, vm.Rig.Folder.File("nbd.sock"));
        await vm.BackUpAsync(disk: disk);
        await vm.WriteAsync(5);
        await using (BackupJob job = await BackupJob.StartAsync(disk, vm.Options()))
        {
            Assert.True(await job.StepAsync());
        }

        await vm.WriteAsync(9);
        Bitmap bitmap = Assert.Single(vm.Disk.Bitmaps.All);
        Assert.Equal(BitmapState.Recording, bitmap.State);
        Assert.Equal(vm.Read().Points[0].Id, bitmap.BaselineId);

        await vm.BackUpAsync(disk: disk);

        Assert.Equal(2 * Nightly.UnitBytes, vm.Read().Points[1].DataBytes);
        await vm.CheckAsync();
    }
}
