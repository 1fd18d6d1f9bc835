// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Nights at random: guests that write, jobs that fail or are killed at any step, other numbers to keep.</summary>
/// <remarks>FLEECE_NIGHTS is how many; without it a few, for every day.</remarks>
public sealed class HundredNightsTests
{
    private const int FewNights = 12;

    private static readonly int Nights =
        int.TryParse(Environment.GetEnvironmentVariable("FLEECE_NIGHTS"), NumberStyles.None, CultureInfo.InvariantCulture, out int nights)
            ? nights
            : FewNights;

    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task After_every_night_every_kept_point_is_what_the_disk_was(ImageFormat format)
    {
        await using Nightly vm = await Nightly.MakeAsync(format);
        Seeds seeds = vm.Rig.Seeds.Fork();
        for (int night = 0; night < Nights; night++)
        {
            await WriteAsync(vm, seeds, seeds.Next(8));
            int? keep = seeds.Chance(70) ? 1 + seeds.Next(5) : null;
            BackupJobOptions options = vm.Options(keep) with { IsFull = seeds.Chance(8), MustVerify = seeds.Chance(20) };
            if (seeds.Chance(40))
            {
                await FailAsync(vm, seeds, options);
            }
            else
            {
                await vm.BackUpAsync(options);
                Assert.True(
                    keep is null || vm.Read().Points.Count <= keep || HasFork(vm.Read()),
                    $"More than {keep} points are left: {string.Join(", ", vm.Read().Manifests.Select(Describe))}.");
            }

            await vm.CheckAsync(withQemu: night % 4 == 0 || night == Nights - 1, withImages: !vm.IsBetweenIdentityAndName);
            vm.IsBetweenIdentityAndName = false;
        }
    }

    // A job that was killed between its manifest and its bitmap leaves two backups on one, which must stay until one of them is old.
    private static bool HasFork(Repository repository) =>
        repository.Manifests.GroupBy(manifest => manifest.ParentId).Any(children => children.Key is not null && children.Count() > 1);

    private static string Describe(Manifest manifest) => $"{manifest.Number} ({manifest.Id}) on {manifest.ParentId}";

    private static async Task WriteAsync(Nightly vm, Seeds seeds, int writes)
    {
        for (int i = 0; i < writes; i++)
        {
            int unit = seeds.Next(Nightly.Units);
            int units = 1 + seeds.Next(Math.Min(12, Nightly.Units - unit));
            if (seeds.Chance(25))
            {
                await vm.ZeroAsync(unit, units);
            }
            else
            {
                await vm.WriteAsync(unit, units);
            }
        }
    }

    // A job that fails cleans up behind itself. A killed one does nothing more: the files stay as they are at that moment.
    private static async Task FailAsync(Nightly vm, Seeds seeds, BackupJobOptions options)
    {
        byte[] now = await vm.ReadDiskAsync();
        bool isKilled = seeds.Chance(60) && Peer.Has("cp"); // Windows lets nobody copy files that are open.
        string saved = vm.Rig.Folder.File("saved");
        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, options))
        {
            int stepsLeft = seeds.Next(20);
            while (stepsLeft-- > 0 && await job.StepAsync())
            {
                await WriteAsync(vm, seeds, seeds.Next(2));
            }

            if (stepsLeft >= 0)
            {
                while (await job.StepAsync())
                {
                }

                int stepsToKill = seeds.Next(12);
                job.Folder.Reached = step =>
                {
                    if (stepsToKill-- == 0)
                    {
                        vm.IsBetweenIdentityAndName = step == "known";
                        throw new KilledException();
                    }
                };
                try
                {
                    vm.Truth[vm.Disk.Sessions[0].InstantId] = now;
                    await job.CompleteAsync();
                    await job.RetainAsync();
                }
                catch (KilledException)
                {
                }

                job.Folder.Reached = null;
            }

            if (isKilled)
            {
                await Peer.RunAsync("cp", "-r", vm.RepositoryPath, saved);
                await vm.Rig.KillAsync(vm.Disk);
                await EndAsync(job);
            }
        }

        if (isKilled)
        {
            Directory.Delete(vm.RepositoryPath, recursive: true);
            Directory.Move(saved, vm.RepositoryPath);
            vm.Disk = await vm.Rig.OpenAsync(vm.Disk.Path);
        }
    }

    // The rest of a killed job is of no interest, but its handles must go.
    private static async Task EndAsync(BackupJob job)
    {
        try
        {
            await job.DisposeAsync();
        }
        catch (BlockException)
        {
        }
    }
}
