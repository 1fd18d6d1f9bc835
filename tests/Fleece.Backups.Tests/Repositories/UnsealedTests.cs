// SPDX-License-Identifier: MIT
using System.IO.Compression;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Backups.Retaining;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks.Tests;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Repositories of the version without seals go on, and are told.</summary>
public sealed class UnsealedTests
{
    [Fact]
    public async Task A_repository_without_seals_is_restored_and_told()
    {
        await using Rig rig = new();
        Repository repository = RepositoryReader.Read(Extract(rig));

        Assert.Empty(repository.Faults);
        Assert.Equal([1, 2, 3], repository.Points.Select(point => point.Number));
        foreach (BackupPoint point in repository.Points)
        {
            BackupReport report = await Nightly.TestAsync(repository, point);
            (byte[] content, IReadOnlyList<string> notes) = await RestoreAsync(rig, point);

            Assert.False(point.IsSealed);
            Assert.False(report.IsSealed);
            Assert.Empty(report.Findings);
            Assert.Equal(await TruthAsync(point), content);
            Assert.Contains(".json' has no seal", Assert.Single(notes), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task What_a_merge_writes_of_them_is_sealed_and_shows_the_same()
    {
        await using Rig rig = new();
        string path = Extract(rig);
        string before = RepositoryReader.Read(path).Manifests[^1].ContentDigest!;
        using (RepositoryFolder folder = RepositoryFolder.Take(path))
        {
            await new Retention(folder).KeepAsync(2);
        }

        Repository repository = RepositoryReader.Read(path);
        Assert.Equal([(2, true), (3, false)], repository.Points.Select(point => (point.Number, point.IsSealed)));
        Assert.Equal(before, repository.Manifests[^1].ContentDigest);
        foreach (BackupPoint point in repository.Points)
        {
            Assert.Empty((await Nightly.TestAsync(repository, point)).Findings);
            Assert.Equal(await TruthAsync(point), (await RestoreAsync(rig, point)).Content);
        }
    }

    [Theory]
    [InlineData("2026", "2027", true)]
    [InlineData("[131072,65536,", "[131072,32768,", false)]
    public async Task What_lost_a_part_of_its_list_is_not_merged_into_a_sealed_one(string text, string other, bool isHarmless)
    {
        await using Rig rig = new();
        string path = Extract(rig);
        string manifestPath = Path.Combine(path, "vm-000002.json");
        string manifest = await File.ReadAllTextAsync(manifestPath);
        Assert.Contains(text, manifest, StringComparison.Ordinal);
        await File.WriteAllTextAsync(manifestPath, manifest.Replace(text, other, StringComparison.Ordinal));
        using RepositoryFolder folder = RepositoryFolder.Take(path);

        if (isHarmless)
        {
            await new Retention(folder).KeepAsync(1);
            return;
        }

        await Assert.ThrowsAsync<BlockException>(async () => await new Retention(folder).KeepAsync(1));
        Assert.Equal(3, RepositoryReader.Read(path).Points.Count);
    }

    [Fact]
    public async Task A_chain_goes_on_upon_them_and_holds_them_to_what_they_showed()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        foreach (string manifest in Directory.GetFiles(vm.RepositoryPath, "*.json"))
        {
            ManifestText.Unseal(manifest);
        }

        await vm.WriteAsync(50);
        Backup third = await vm.BackUpAsync();
        await vm.WriteAsync(51);
        await vm.BackUpAsync();

        Assert.Equal([false, false, true, true], vm.Read().Points.Select(point => point.IsSealed));
        await vm.CheckAsync();
        ManifestText.Edit(Path.Combine(vm.RepositoryPath, "vm-000001.json"), json => json["content"]!.AsArray().RemoveAt(0));
        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupChainBroken, () => vm.RestoreAsync(third.Point!));
        Assert.Contains("vm-000002.json", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_chain_that_went_on_upon_them_is_merged_until_all_of_it_is_sealed()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 3);
        foreach (string manifest in Directory.GetFiles(vm.RepositoryPath, "*.json"))
        {
            ManifestText.Unseal(manifest);
        }

        for (int night = 0; night < 3; night++)
        {
            await vm.WriteAsync(50 + night);
            await vm.BackUpAsync(vm.Options(keep: 3));
            await vm.CheckAsync();
        }

        Assert.Equal([(4, true), (5, true), (6, true)], vm.Read().Points.Select(point => (point.Number, point.IsSealed)));
    }

    private static string Extract(Rig rig)
    {
        string path = rig.Folder.File("unsealed");
        ZipFile.ExtractToDirectory(Path.Combine(AppContext.BaseDirectory, "Repositories", "Unsealed", "repository.zip"), path);
        return path;
    }

    private static Task<byte[]> TruthAsync(BackupPoint point) => File.ReadAllBytesAsync(Path.ChangeExtension(point.Path, ".truth"));

    private static async Task<(byte[] Content, IReadOnlyList<string> Notes)> RestoreAsync(Rig rig, BackupPoint point)
    {
        string path = rig.Folder.NewFile();
        await using BackupRestore restore = await BackupRestore.OpenAsync(point, Nightly.ToRaw(path));
        while (await restore.StepAsync())
        {
        }

        await restore.CompleteAsync();
        return (await File.ReadAllBytesAsync(path), restore.Notes);
    }
}
