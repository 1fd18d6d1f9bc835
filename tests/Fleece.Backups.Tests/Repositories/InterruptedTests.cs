// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Repositories;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>The job after one that was killed while it stored a backup.</summary>
public sealed class InterruptedTests
{
    [Fact]
    public async Task Begins_again_removes_what_was_stored_and_says_so_once()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        string partial = await InterruptAsync(vm);

        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options()))
        {
            string note = Assert.Single(job.Notes);
            Assert.Contains("was interrupted", note, StringComparison.Ordinal);
            Assert.Contains($"'{Path.GetFileName(partial)}'", note, StringComparison.Ordinal);
            Assert.Contains("begins again", note, StringComparison.Ordinal);
        }

        Assert.False(File.Exists(partial));
        await using BackupJob later = await BackupJob.StartAsync(vm.Disk, vm.Options());
        Assert.Empty(later.Notes);
    }

    [Fact]
    public async Task A_link_in_the_place_of_a_partial_file_is_removed_without_a_word()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        string partial = await InterruptAsync(vm);
        File.Move(partial, partial + ".away");
        File.CreateSymbolicLink(partial, partial + ".away");

        using RepositoryFolder folder = RepositoryFolder.Take(vm.RepositoryPath);

        Assert.Null(folder.InterruptedNote);
        Assert.False(Path.Exists(partial));
        Assert.True(File.Exists(partial + ".away"));
    }

    // A kill leaves the partial file, and no lock on the repository.
    private static async Task<string> InterruptAsync(Nightly vm)
    {
        await vm.WriteAsync(3, 20);
        string partial;
        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options()))
        {
            await job.StepAsync();
            partial = Assert.Single(Directory.GetFiles(vm.RepositoryPath, "*.partial"));
        }

        await File.WriteAllBytesAsync(partial, new byte[12345]);
        return partial;
    }
}
