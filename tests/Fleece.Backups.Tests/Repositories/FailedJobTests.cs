// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Repositories;
using Fleece.Block.Files;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>A job that fails before it has stored anything, such as one into the mount point of a volume that is not mounted.</summary>
public sealed class FailedJobTests
{
    [Fact]
    public async Task Leaves_no_folder_that_it_has_made()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        Directory.Move(vm.RepositoryPath, vm.Rig.Folder.File("unmounted"));

        await Nightly.RefusedAsync(BackupErrors.BackupParentMissing, () => vm.BackUpAsync());

        Assert.False(Directory.Exists(vm.RepositoryPath));
    }

    [Fact]
    public async Task Leaves_a_folder_that_was_there_empty_as_it_was()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        Directory.Move(vm.RepositoryPath, vm.Rig.Folder.File("unmounted"));
        Directory.CreateDirectory(vm.RepositoryPath);

        await Nightly.RefusedAsync(BackupErrors.BackupParentMissing, () => vm.BackUpAsync());

        Assert.Empty(Directory.EnumerateFileSystemEntries(vm.RepositoryPath));
    }

    [Fact]
    public async Task Leaves_what_else_lies_there_and_the_lock_that_was_there()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Directory.CreateDirectory(vm.RepositoryPath);
        string path = Path.Combine(vm.RepositoryPath, "repository.lock");
        await File.WriteAllTextAsync(path, string.Empty);

        RepositoryFolder.Take(vm.RepositoryPath).Dispose();
        Assert.True(File.Exists(path));

        File.Delete(path);
        using (RepositoryFolder.Take(vm.RepositoryPath))
        {
            await File.WriteAllTextAsync(Path.Combine(vm.RepositoryPath, "notes.txt"), "mine");
        }

        Assert.Equal(2, Directory.GetFiles(vm.RepositoryPath).Length);
    }

    // The identity names the bitmap that the disk has by then; the next job goes on with both.
    [Fact]
    public async Task Leaves_the_identity_that_names_the_bitmap_it_has_made()
    {
        await using Nightly vm = await Nightly.MakeAsync();

        await using (await BackupJob.StartAsync(vm.Disk, vm.Options()))
        {
        }

        Assert.NotEqual(0, new FileInfo(Path.Combine(vm.RepositoryPath, "repository.lock")).Length);
        await vm.BackUpAsync();
        Assert.Single(vm.Disk.Bitmaps.All);
    }

    [Fact]
    public async Task Takes_no_lock_away_that_another_job_holds()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        using RepositoryFolder held = RepositoryFolder.Take(vm.RepositoryPath);

        await Nightly.RefusedAsync(BackupErrors.RepositoryBusy, () => vm.BackUpAsync());

        Assert.True(File.Exists(Path.Combine(vm.RepositoryPath, "repository.lock")));
    }

    // As a job sees it that has opened the lock just before a failed one removed it.
    [Fact]
    public async Task A_lock_that_was_removed_is_known_from_the_one_in_its_place()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells two files of one name apart here.");
        await using Nightly vm = await Nightly.MakeAsync();
        string path = vm.Rig.Folder.File("lock");
        using LocalFile first = LocalFile.Create(path, 0);
        Assert.True(first.HasItsName);

        File.Delete(path);
        Assert.False(first.HasItsName);
        using LocalFile second = LocalFile.Create(path, 0);
        Assert.False(first.HasItsName);
        Assert.True(second.HasItsName);
    }
}
