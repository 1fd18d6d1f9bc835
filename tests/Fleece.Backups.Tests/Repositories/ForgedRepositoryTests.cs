// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Writing;
using Fleece.Block;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Folders that no job left behind: each is refused by the name of the file that is wrong.</summary>
public sealed class ForgedRepositoryTests
{
    private const string Unknown = "00000000-0000-0000-0000-000000000001";

    // The backup that leaves, and the successor that its manifest names: a number, or no backup.
    public static MatrixTheoryData<string, string, bool> Forged =>
        new(["Merging", "Merged"], ["1>1", "1>", "1>3", "3>1", "3>3", "2>1", "1>2,2>1"], [true, false]);

    [Theory]
    [MemberData(nameof(Forged))]
    public async Task A_merge_that_leads_nowhere_is_told_by_its_manifest(string state, string links, bool hasImages)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 3);
        BackupPoint[] points = [.. vm.Read().Points];
        foreach (string link in links.Split(','))
        {
            string[] ends = link.Split('>');
            BackupPoint point = points[int.Parse(ends[0], CultureInfo.InvariantCulture) - 1];
            ManifestText.EditAndSeal(ManifestText.PathOf(point), json =>
            {
                json["state"] = state;
                json["successorId"] = ends[1].Length == 0 ? Unknown
                    : points[int.Parse(ends[1], CultureInfo.InvariantCulture) - 1].Id.ToString();
            });
            if (!hasImages)
            {
                File.Delete(point.Path);
            }
        }

        int number = links.Split(',')[^1][0] - '0';
        string manifestName = $"vm-00000{number}.json";
        Repository repository = vm.Read();
        Assert.Contains(repository.Faults, fault =>
            fault.Kind == BackupErrors.ManifestInvalid && fault.Message.Contains(manifestName, StringComparison.Ordinal));
        BlockException restore = await Assert.ThrowsAsync<BlockException>(() => vm.RestoreAsync(vm.Read().FindNewest(null)));
        Assert.Contains(manifestName, restore.Message, StringComparison.Ordinal);
        BlockException night = await Assert.ThrowsAsync<BlockException>(() => vm.BackUpAsync());
        Assert.Contains(manifestName, night.Message, StringComparison.Ordinal);
        foreach (BackupPoint point in repository.Points.Where(point => point.Number > number))
        {
            Assert.False((await Nightly.TestAsync(repository, point)).IsGood, $"{point.Number} is not good.");
        }

        Backup full = await vm.BackUpAsync(vm.Options() with { IsFull = true });
        Assert.Equal(vm.Truth[full.Point!.Id], await vm.RestoreAsync(full.Point));
    }

    [Fact]
    public async Task A_merge_into_one_of_two_that_build_on_a_backup_is_no_merge()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 3);
        BackupPoint[] points = [.. vm.Read().Points];
        ManifestText.EditAndSeal(ManifestText.PathOf(points[2]), json =>
        {
            json["parentId"] = points[0].Id.ToString();
            json["hasMerged"] = true;
        });
        ManifestText.EditAndSeal(ManifestText.PathOf(points[0]), json =>
        {
            json["state"] = "Merging";
            json["successorId"] = points[1].Id.ToString();
        });

        BlockException fault = Assert.Single(vm.Read().Faults);

        Assert.Contains("vm-000001.json", fault.Message, StringComparison.Ordinal);
        Assert.Contains("3 builds on it too", fault.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Behind_the_highest_number_there_is_no_backup_and_the_error_names_the_file_in_the_way()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string stray = Path.Combine(vm.RepositoryPath, "vm-999999999.qcow2");
        await File.WriteAllTextAsync(stray, "not ours");

        foreach (bool isFull in (bool[])[false, true])
        {
            BlockException error = await Nightly.RefusedAsync(
                BlockErrors.InvalidArgument, () => vm.BackUpAsync(vm.Options() with { IsFull = isFull }));
            Assert.Contains(stray, error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(4, Directory.GetFiles(vm.RepositoryPath).Length);
        File.Delete(stray);
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);
    }
}
