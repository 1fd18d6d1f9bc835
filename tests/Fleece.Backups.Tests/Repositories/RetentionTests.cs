// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Backups.Retaining;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Images;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Old backups go, and those that stay do not change.</summary>
public sealed class RetentionTests
{
    private static readonly string[] MergeSteps = ["merging", "copied", "merged", "known", "renamed", "described"];

    public static MatrixTheoryData<ImageFormat, string> Steps => new([ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx], MergeSteps);

    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task The_oldest_are_merged_until_as_many_are_left_as_are_wanted(ImageFormat format)
    {
        await using Nightly vm = await Nightly.MakeAsync(format);
        for (int night = 0; night < 5; night++)
        {
            await vm.WriteAsync(night * 7, 9);
            await vm.ZeroAsync(120 + night, 2);
            await vm.BackUpAsync(vm.Options(keep: 3));
            await vm.CheckAsync();
        }

        IReadOnlyList<BackupPoint> points = vm.Read().Points;
        Assert.Equal([(3, BackupKind.Full), (4, BackupKind.Incremental), (5, BackupKind.Incremental)],
            points.Select(point => (point.Number, point.Kind)));
        Assert.Equal(7, Directory.GetFiles(vm.RepositoryPath).Length);
        Assert.Equal(Nightly.SizeBytes, points[0].DataBytes + points[0].ZeroBytes);
    }

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task A_merge_that_is_killed_costs_no_kept_point_and_the_next_job_finishes_it(ImageFormat format, string step)
    {
        await using Nightly vm = await Nightly.MakeAsync(format);
        for (int night = 0; night < 3; night++)
        {
            await vm.WriteAsync(3 + night, 20);
            await vm.ZeroAsync(60 + night, 3);
            await vm.BackUpAsync();
        }

        using (RepositoryFolder folder = RepositoryFolder.Take(vm.RepositoryPath))
        {
            int left = vm.Rig.Seeds.Next(2);
            folder.Reached = reached => _ = reached == step && (step != "merging" || left-- == 0) ? throw new KilledException() : 0;
            await Assert.ThrowsAsync<KilledException>(async () => await new Retention(folder).KeepAsync(2));
        }

        Assert.Equal([2, 3], vm.Read().Points.Select(point => point.Number));
        await vm.CheckAsync(withImages: step != "known");
        await vm.WriteAsync(190);
        await vm.BackUpAsync(vm.Options(keep: 3));
        Assert.Equal([2, 3, 4], vm.Read().Points.Select(point => point.Number));
        Assert.Equal(7, Directory.GetFiles(vm.RepositoryPath).Length);
        await vm.CheckAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_a_backup_without_its_manifest_may_build_on_stays_while_another_builds_on_that(bool hasFolder)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 4);
        string manifest = ManifestText.PathOf(vm.Read().Points[1]);
        File.Move(manifest, manifest + ".away");
        if (hasFolder)
        {
            Directory.CreateDirectory(manifest);
        }

        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options() with { IsFull = true, Keep = 3 }))
        {
            while (await job.StepAsync())
            {
            }

            _ = await job.CompleteAsync();
            await job.RetainAsync();
            Assert.Contains(job.Notes, note => note.Contains("whose manifest is missing", StringComparison.Ordinal));
        }

        if (hasFolder)
        {
            Directory.Delete(manifest);
        }

        File.Move(manifest + ".away", manifest);
        Repository repository = vm.Read();
        Assert.Equal([1, 2, 3, 4, 5], repository.Points.Select(point => point.Number));
        Assert.Empty((await Nightly.TestAsync(repository, repository.Points[3], isDeep: true)).Findings);
    }

    [Fact]
    public async Task What_is_damaged_is_not_merged_and_nothing_is_changed()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync(vm.Options() with { Compression = ImageCompression.None });
        await vm.WriteAsync(3, 20);
        Backup second = await vm.BackUpAsync(vm.Options() with { Compression = ImageCompression.None });
        byte[] file = await File.ReadAllBytesAsync(second.Path);
        file[^(3 * Nightly.UnitBytes)] ^= 1;
        await File.WriteAllBytesAsync(second.Path, file);
        using RepositoryFolder folder = RepositoryFolder.Take(vm.RepositoryPath);

        await Nightly.RefusedAsync(BackupErrors.BackupDigestMismatch, async () => await new Retention(folder).KeepAsync(1));

        BackupPoint first = folder.Read().Points[0];
        Assert.Equal(1, first.Number);
        Assert.Equal(vm.Truth[first.Id], await vm.RestoreAsync(first));
    }

    // Each night splits digests, and without joining them the manifest would end with one for each unit.
    [Fact]
    public async Task Manifests_stay_small_over_many_merges()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        for (int night = 0; night < 20; night++)
        {
            await vm.WriteAsync(128 + (night * 3));
            await vm.WriteAsync(130 + (night * 3));
            await vm.BackUpAsync(vm.Options(keep: 1));
        }

        const int Extents = (Nightly.Units / 64) + 1;
        Assert.InRange(Assert.Single(vm.Read().Manifests).Content.Count, 1, Extents * ContentPieces.WorthJoining);
        await vm.CheckAsync();
    }

    // A job that was killed between its backup and its bitmap leaves a point that nothing will ever build on.
    [Fact]
    public async Task A_point_beside_the_chain_goes_when_it_is_old()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(3);
        await StopWithoutSuccessAsync(vm);
        await vm.WriteAsync(4);
        await vm.BackUpAsync();
        Assert.Equal([1, 2, 3], vm.Read().Points.Select(point => point.Number));
        await vm.CheckAsync();

        await vm.BackUpAsync(vm.Options(keep: 2));

        Assert.Equal([3, 4], vm.Read().Points.Select(point => point.Number));
        await vm.CheckAsync();
    }

    [Fact]
    public async Task Whole_chains_go_when_the_newest_point_of_another_is_enough()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.WriteAsync(3);
        await vm.BackUpAsync();
        await vm.BackUpAsync(vm.Options(keep: 1) with { IsFull = true });

        Assert.Equal(3, Assert.Single(vm.Read().Points).Number);
        await vm.CheckAsync();
    }

    [Fact]
    public async Task While_somebody_restores_a_point_it_stays()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        BackupPoint first = (await vm.BackUpAsync()).Point!;
        await vm.WriteAsync(3);
        await vm.BackUpAsync();
        using RepositoryFolder folder = RepositoryFolder.Take(vm.RepositoryPath);
        await using (BackupRestore restore = await BackupRestore.OpenAsync(first, Nightly.ToRaw(vm.Rig.Folder.NewFile())))
        {
            await Nightly.RefusedAsync(BlockErrors.InUse, async () => await new Retention(folder).KeepAsync(1));
        }

        await vm.CheckAsync();
        await new Retention(folder).KeepAsync(1);
        Assert.Single(folder.Read().Points);
        await vm.CheckAsync();
    }

    private static async Task StopWithoutSuccessAsync(Nightly vm)
    {
        byte[] now = await vm.ReadDiskAsync();
        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options());
        while (await job.StepAsync())
        {
        }

        Task stopped = vm.Disk.Sessions[0].StopAsync();
        vm.Truth[(await job.CompleteAsync()).Point!.Id] = now;
        await stopped;
        Assert.Contains("still counts", Assert.Single(job.Notes), StringComparison.Ordinal);
    }
}

/// <summary>Ends work where a killed process would have ended.</summary>
internal sealed class KilledException : Exception;
