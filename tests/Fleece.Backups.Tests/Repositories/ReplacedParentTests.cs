// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Retaining;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;
using Fleece.Images;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>What a backup was built on is what it is restored upon, and a manifest lists what its image holds.</summary>
public sealed class ReplacedParentTests
{
    // The identity is the same, as it is where an older copy of the files comes back, or one of another copy of the disk.
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_parent_whose_files_were_replaced_by_others_of_its_identity_is_noticed(int number)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 3);
        await using Nightly other = await ManifestSealTests.MakeAsync(nights: 3);
        Manifest replaced = vm.Read().Manifests[number - 1];
        Manifest found = other.Read().Manifests[number - 1];
        File.Copy(Path.Combine(other.RepositoryPath, found.FileName), Path.Combine(vm.RepositoryPath, replaced.FileName), overwrite: true);
        Manifest copy = found with
        {
            Id = replaced.Id,
            ChainId = replaced.ChainId,
            ParentId = replaced.ParentId,
            ParentContentDigest = replaced.ParentContentDigest,
        };
        ManifestFile.Write(Path.Combine(vm.RepositoryPath, replaced.ManifestName), copy.Complete(copy.Content, copy.FileSizeBytes));

        Repository repository = vm.Read();
        Assert.Empty(repository.Faults);
        BackupPoint newest = repository.FindNewest(null);
        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupChainBroken, () => vm.RestoreAsync(newest));
        BackupFinding finding = Assert.Single((await Nightly.TestAsync(repository, newest)).Findings);

        Assert.Contains($"vm-00000{number}.json", error.Message, StringComparison.Ordinal);
        Assert.Equal(error.Message, finding.Message);
        Assert.Equal(error.Message, Assert.Single((await Nightly.TestAsync(repository, newest, isDeep: false)).Findings).Message);
        await Nightly.RefusedAsync(BackupErrors.BackupChainBroken, () => vm.BackUpAsync());
    }

    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task A_merge_changes_nothing_of_what_those_that_stay_show(ImageFormat format)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 5, format);
        Dictionary<Guid, string?> before = vm.Read().Manifests.ToDictionary(manifest => manifest.Id, manifest => manifest.ContentDigest);
        DateTime[] untouched = [.. vm.Read().Points.Skip(3).Select(point => File.GetLastWriteTimeUtc(ManifestText.PathOf(point)))];
        using (RepositoryFolder folder = RepositoryFolder.Take(vm.RepositoryPath))
        {
            await new Retention(folder).KeepAsync(3);
        }

        Repository repository = vm.Read();
        Assert.Equal([(3, true), (4, false), (5, false)], repository.Manifests.Select(manifest => (manifest.Number, manifest.HasMerged)));
        Assert.All(repository.Manifests, manifest => Assert.Equal(before[manifest.Id], manifest.ContentDigest));
        Assert.Equal(untouched, repository.Points.Skip(1).Select(point => File.GetLastWriteTimeUtc(ManifestText.PathOf(point))));
        await vm.CheckAsync();
    }

    // The seal and the digests of such a manifest are right, so that only the image tells.
    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task Data_and_zeros_that_only_the_image_knows_of_are_told_by_a_deep_test(ImageFormat format)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2, format);
        Manifest manifest = vm.Read().Manifests[1];
        string path = Path.Combine(vm.RepositoryPath, manifest.ManifestName);
        foreach (bool isZero in (bool[])[true, false])
        {
            int lost = manifest.Content.ToList().FindIndex(extent => extent.IsZero == isZero);
            ManifestFile.Write(path, manifest.Complete([.. manifest.Content.Where((_, i) => i != lost)], manifest.FileSizeBytes));

            BackupFinding finding = Assert.Single((await Nightly.TestAsync(vm.Read(), vm.Read().Points[1])).Findings);

            Assert.Equal(
                (BackupErrors.ManifestInvalid, manifest.Content[lost].Range.OffsetBytes), (finding.Kind, finding.OffsetBytes));
            Assert.Contains("vm-000002.json", finding.Message, StringComparison.Ordinal);
        }
    }

    // Smaller than a cluster or a block, whose rest comes from the parent.
    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task Changes_smaller_than_the_images_allocation_unit_are_no_finding(ImageFormat format)
    {
        const int SmallBytes = 4096;
        await using Nightly vm = await Nightly.MakeAsync(format);
        await vm.Disk.Bitmaps.CreateAsync("small", SmallBytes);
        BackupJobOptions options = vm.Options() with { Bitmap = "small" };
        await vm.BackUpAsync(options);
        for (int night = 0; night < 3; night++)
        {
            await vm.Disk.Device.WriteAsync((night * 3 * SmallBytes) + SmallBytes, vm.Rig.Seeds.Bytes(SmallBytes));
            await vm.Disk.Device.WriteZeroesAsync((20L * Nightly.UnitBytes) + (night * 5 * SmallBytes), SmallBytes);
            await vm.Disk.Device.WriteAsync(Nightly.SizeBytes - SmallBytes, vm.Rig.Seeds.Bytes(SmallBytes));
            await vm.BackUpAsync(options);
        }

        Assert.InRange(vm.Read().Points[^1].DataBytes, SmallBytes, 3 * SmallBytes);
        await vm.CheckAsync();
        await vm.BackUpAsync(options with { Keep = 2 });
        await vm.CheckAsync();
    }

    [Theory]
    [MemberData(nameof(Nightly.Formats), MemberType = typeof(Nightly))]
    public async Task Zeros_that_only_the_manifest_knows_of_are_told_by_a_deep_test(ImageFormat format)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2, format);
        Manifest manifest = vm.Read().Manifests[1];
        ContentExtent[] content =
            [.. manifest.Content, new(new BlockRange(150L * Nightly.UnitBytes, Nightly.UnitBytes), Digest: null)];
        ManifestFile.Write(
            Path.Combine(vm.RepositoryPath, manifest.ManifestName), manifest.Complete(content, manifest.FileSizeBytes));

        BackupFinding finding = Assert.Single((await Nightly.TestAsync(vm.Read(), vm.Read().Points[1])).Findings);

        Assert.Equal(
            (BackupErrors.BackupDigestMismatch, 150L * Nightly.UnitBytes), (finding.Kind, finding.OffsetBytes));
    }

    // No overlay: what the manifest does not list must be zero, in an image of holes as in one of written zeros.
    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task A_part_of_the_disk_that_only_the_image_of_a_single_file_holds_is_told(ImageFormat format)
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Session session = await Rig.StartAsync(vm.Disk);
        string path = vm.Rig.Folder.File("b");
        await using (BackupWriter writer = await FileBackup.BeginAsync(
            new FileTargetOptions { Path = path, Image = new ImageCreateOptions { Format = format } }, session))
        {
            foreach (Reading.SnapshotChunk chunk in await Rig.ChunksAsync(session))
            {
                await writer.WriteAsync(chunk);
            }

            await writer.CompleteAsync();
        }

        Manifest manifest = ManifestFile.Read(path + ".json");
        int lost = manifest.Content.ToList().FindIndex(extent => !extent.IsZero);
        ManifestFile.Write(
            path + ".json", manifest.Complete([.. manifest.Content.Where((_, i) => i != lost)], manifest.FileSizeBytes));
        Repository single = RepositoryReader.ReadFile(path);

        BackupFinding finding = Assert.Single((await Nightly.TestAsync(single, single.Points[0])).Findings);

        Assert.Equal(BackupErrors.BackupDigestMismatch, finding.Kind);
        Assert.InRange(finding.OffsetBytes!.Value, manifest.Content[lost].Range.OffsetBytes, manifest.Content[lost].Range.EndBytes - 1);
    }
}
