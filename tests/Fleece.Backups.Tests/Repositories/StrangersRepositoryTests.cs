// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Backups.Jobs;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>A repository that a stranger wrote reads and writes no file outside of its folder, and waits for nothing.</summary>
public sealed class StrangersRepositoryTests
{
    private const int Nights = 3;

    // A backup of the chain, and which of its files is what it should not be.
    public static MatrixTheoryData<int, string> Files => new([1, 2, 3], [".qcow2", ".json"]);

    [Theory]
    [MemberData(nameof(Files))]
    public async Task A_link_in_the_place_of_a_file_is_refused_by_its_name_and_leads_nowhere(int number, string extension)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        string path = PathOf(vm, number, extension);
        string outside = vm.Rig.Folder.File("outside" + extension);
        File.Move(path, outside);
        File.CreateSymbolicLink(path, outside);

        await RefusesAsync(vm, path, BlockErrors.NotAFile, outside);
    }

    [Theory]
    [MemberData(nameof(Files))]
    public async Task A_pipe_in_the_place_of_a_file_is_refused_by_its_name_and_not_waited_for(int number, string extension)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        string path = PathOf(vm, number, extension);
        File.Delete(path);
        await MakePipeAsync(path);

        await RefusesAsync(vm, path, BlockErrors.NotAFile, outside: null);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_lock_that_is_no_file_is_refused_by_its_name(bool isLink)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string path = Path.Combine(vm.RepositoryPath, "repository.lock");
        string outside = vm.Rig.Folder.File("outside.lock");
        File.Move(path, outside);
        byte[] before = await File.ReadAllBytesAsync(outside);
        if (isLink)
        {
            File.CreateSymbolicLink(path, outside);
        }
        else
        {
            await MakePipeAsync(path);
        }

        BlockException error = await Nightly.RefusedAsync(BlockErrors.NotAFile, () => vm.BackUpAsync(vm.Options() with { IsFull = true }));

        Assert.Contains($"'{path}'", error.Message, StringComparison.Ordinal);
        Assert.Equal(before, await File.ReadAllBytesAsync(outside));
        await vm.CheckAsync(withQemu: false);
    }

    [Fact]
    public async Task A_lock_that_is_a_link_to_nowhere_makes_no_file_there()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Directory.CreateDirectory(vm.RepositoryPath);
        string outside = vm.Rig.Folder.File("made");
        File.CreateSymbolicLink(Path.Combine(vm.RepositoryPath, "repository.lock"), outside);

        await Nightly.RefusedAsync(BlockErrors.NotAFile, () => vm.BackUpAsync());

        Assert.False(File.Exists(outside));
    }

    // What a killed job leaves, forged: the next job clears it away, and only it.
    [Theory]
    [InlineData("vm-000004.json.partial")]
    [InlineData("vm-000004.qcow2.partial")]
    [InlineData("vm-000003.json.partial")]
    public async Task What_is_cleared_away_is_the_link_and_the_pipe_and_nothing_that_they_lead_to(string name)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        string outside = vm.Rig.Folder.File("outside.json");
        string path = Path.Combine(vm.RepositoryPath, name);
        File.Copy(PathOf(vm, 3, ".json"), outside);
        File.CreateSymbolicLink(path, outside);
        Assert.Equal(4, (await vm.BackUpAsync()).Point!.Number);
        Assert.True(File.Exists(outside));
        Assert.Null(new FileInfo(path).LinkTarget);

        await MakePipeAsync(path = Path.Combine(vm.RepositoryPath, "vm-000005.json.partial"));
        Assert.Equal(5, (await vm.BackUpAsync()).Point!.Number);
        Assert.False(File.Exists(path));
        await vm.CheckAsync(withQemu: false);
    }

    public static MatrixTheoryData<ImageFormat, int> Parents => new([ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx], [1, 2, 3]);

    // The outside file has the name that the parent has, where the manifest knows one.
    [Theory]
    [MemberData(nameof(Parents))]
    public async Task An_image_that_names_a_parent_outside_of_the_folder_is_refused_before_that_is_opened(ImageFormat format, int number)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights, format);
        string path = vm.Read().Points[number - 1].Path;
        string parentName = number == 1 ? $"secret{Path.GetExtension(path)}" : Path.GetFileName(vm.Read().Points[number - 2].Path);
        string outside = vm.Rig.Folder.File(parentName);
        await Image.CreateAsync(outside, new ImageCreateOptions { Format = format, SizeBytes = Nightly.SizeBytes });
        File.Delete(path);
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, ParentPath = outside, ParentFormat = format });

        await RefusesAsync(vm, path, BackupErrors.BackupChainBroken, outside);
    }

    [Fact]
    public async Task A_raw_parent_that_only_the_image_knows_of_is_refused_before_it_is_opened()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        string path = PathOf(vm, 1, ".qcow2");
        string outside = vm.Rig.Folder.File("shadow");
        await File.WriteAllBytesAsync(outside, new byte[4096]);
        File.Delete(path);
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = Nightly.SizeBytes,
            ParentPath = outside,
            ParentFormat = ImageFormat.Raw,
        });

        await RefusesAsync(vm, path, BackupErrors.BackupChainBroken, outside);
    }

    [Fact]
    public async Task A_parent_of_another_format_than_its_manifest_says_is_refused()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        string path = PathOf(vm, 2, ".qcow2");
        File.Delete(path);
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = Nightly.SizeBytes,
            ParentPath = PathOf(vm, 1, ".qcow2"),
            ParentFormat = ImageFormat.Raw,
        });

        await RefusesAsync(vm, path, BackupErrors.BackupChainBroken, outside: null);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task An_image_that_keeps_its_data_in_another_file_is_refused_before_that_is_opened(int number)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        string path = PathOf(vm, number, ".qcow2");
        string outside = vm.Rig.Folder.File("victim");
        File.Delete(path);
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = Nightly.SizeBytes,
            ParentPath = number == 1 ? null : PathOf(vm, number - 1, ".qcow2"),
            ParentFormat = number == 1 ? null : ImageFormat.Qcow2,
            DataFilePath = outside,
        });

        await RefusesAsync(vm, path, ImageErrors.ReferenceRefused, outside);
    }

    [Theory]
    [InlineData(ImageFormat.Vhd, ImageErrors.WrongFormat)]
    [InlineData(ImageFormat.Vhdx, ImageErrors.WrongFormat)]
    [InlineData(ImageFormat.Raw, BackupErrors.BackupChainBroken)]
    public async Task An_image_of_another_format_than_its_manifest_says_is_refused(ImageFormat claimed, string kind)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        ManifestText.EditAndSeal(PathOf(vm, 3, ".json"), json => json["format"] = claimed.ToString());
        Repository repository = vm.Read();
        BackupPoint point = repository.Points[^1];

        Names(point.Path, await Nightly.RefusedAsync(kind, () => vm.RestoreAsync(point)));
        Assert.Equal(kind, Assert.Single((await Nightly.TestAsync(repository, point)).Findings).Kind);
        Names(point.Path, await Nightly.RefusedAsync(kind, () => vm.BackUpAsync(vm.Options() with { Format = null })));
    }

    // A descriptor of a VMDK names its extents anywhere.
    [Theory]
    [InlineData("Vmdk")]
    [InlineData("Vdi")]
    public async Task A_manifest_of_a_format_that_no_backup_has_is_refused(string format)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        ManifestText.EditAndSeal(PathOf(vm, 1, ".json"), json => json["format"] = format);

        BlockException fault = Assert.Single(vm.Read().Faults);

        Assert.Equal(BackupErrors.ManifestInvalid, fault.Kind);
        Assert.Contains(format, fault.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("../vm-000002.qcow2")]
    [InlineData("sub/vm-000002.qcow2")]
    [InlineData("./vm-000002.qcow2")]
    [InlineData("/etc/vm-000002.qcow2")]
    [InlineData("/dev/null")]
    [InlineData("..\\vm-000002.qcow2")]
    [InlineData("C:\\vm-000002.qcow2")]
    [InlineData("\\\\.\\vm-000002.qcow2")]
    [InlineData("vm-000002.qcow2\0")]
    [InlineData("vm\0-000002.qcow2")]
    [InlineData("vm-000002.qcow2:stream")]
    [InlineData("CON")]
    [InlineData("vm-000001.qcow2")]
    [InlineData("repository.lock")]
    [InlineData("vm-000002.json")]
    [InlineData("")]
    public async Task A_manifest_names_the_image_beside_it_and_no_other_file(string name)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights);
        string path = PathOf(vm, 2, ".json");
        string[] before = Directory.GetFiles(vm.RepositoryPath);
        ManifestText.EditAndSeal(path, json => json["file"] = name);

        BlockException fault = Assert.Single(vm.Read().Faults);

        Assert.Equal(BackupErrors.ManifestInvalid, fault.Kind);
        Assert.Equal(path, fault.Path);
        await Nightly.RefusedAsync(BackupErrors.BackupChainBroken, () => vm.RestoreAsync(vm.Read().Points[^1]));
        await Assert.ThrowsAsync<BlockException>(() => vm.BackUpAsync(vm.Options(keep: 1)));
        Assert.Equal(before.Order(), Directory.GetFiles(vm.RepositoryPath).Order());
    }

    // A merge that no job began: its last steps write into two images and give one of them the other's name.
    [Theory]
    [InlineData(1, "Merging")]
    [InlineData(1, "Merged")]
    [InlineData(2, "Merging")]
    [InlineData(2, "Merged")]
    public async Task A_forged_merge_writes_through_no_link(int linked, string state)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(Nights, ImageFormat.Vhdx);
        string path = PathOf(vm, linked, ".vhdx");
        string outside = vm.Rig.Folder.File("outside.vhdx");
        string successorId = vm.Read().Points[1].Id.ToString();
        ManifestText.EditAndSeal(PathOf(vm, 1, ".json"), json =>
        {
            json["state"] = state;
            json["successorId"] = successorId;
        });
        File.Move(path, outside);
        File.CreateSymbolicLink(path, outside);
        byte[] before = await File.ReadAllBytesAsync(outside);

        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options() with { IsFull = true });

        Assert.Contains(job.Notes, note =>
            note.Contains("could not be finished", StringComparison.Ordinal) && note.Contains($"'{path}'", StringComparison.Ordinal));
        Assert.Equal(before, await File.ReadAllBytesAsync(outside));
        Assert.Equal(outside, new FileInfo(path).LinkTarget);
    }

    // The image beside a manifest that is gone may still be a parent; its own header is all that is known of it.
    [Fact]
    public async Task A_merge_follows_no_parent_out_of_the_folder_where_a_manifest_is_gone()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 4);
        string outside = vm.Rig.Folder.File("secret");
        await File.WriteAllBytesAsync(outside, vm.Rig.Seeds.Bytes(Nightly.SizeBytes));
        string path = PathOf(vm, 2, ".qcow2");
        File.Delete(path);
        File.Delete(PathOf(vm, 2, ".json"));
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            ParentPath = outside,
            ParentFormat = ImageFormat.Raw,
        });
        using LocalFile held = LocalFile.Open(outside, isReadOnly: false);
        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options(keep: 2) with { IsFull = true });
        while (await job.StepAsync())
        {
        }

        _ = await job.CompleteAsync();
        BlockException error = await Nightly.RefusedAsync(BlockErrors.NotFound, () => job.RetainAsync().AsTask());

        Assert.Contains($"is no regular file of the folder '{vm.RepositoryPath}'", error.Message, StringComparison.Ordinal);
    }

    // Of a backup by itself the user names the image, so a link there is the user's; its data and its parent are no other files.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_backup_by_itself_reads_no_other_file_than_the_one_that_was_named(bool hasDataFile)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string folder = vm.Rig.Folder.File("single");
        Directory.CreateDirectory(folder);
        string path = Path.Combine(folder, "b.qcow2");
        string outside = vm.Rig.Folder.File("secret");
        JsonObject manifest = JsonNode.Parse(await File.ReadAllBytesAsync(PathOf(vm, 1, ".json")))!.AsObject();
        await File.WriteAllTextAsync(path + ".json", manifest.ToJsonString());
        ManifestText.EditAndSeal(path + ".json", json => json["number"] = 0);
        await File.WriteAllBytesAsync(outside, vm.Rig.Seeds.Bytes(Nightly.SizeBytes));
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = Nightly.SizeBytes,
            ParentPath = hasDataFile ? null : outside,
            ParentFormat = hasDataFile ? null : ImageFormat.Raw,
            DataFilePath = hasDataFile ? outside + ".data" : null,
        });
        using LocalFile held = LocalFile.Open(hasDataFile ? outside + ".data" : outside, isReadOnly: false);
        string kind = hasDataFile ? ImageErrors.ReferenceRefused : BackupErrors.BackupChainBroken;
        Repository repository = RepositoryReader.ReadFile(path);

        await Nightly.RefusedAsync(kind, () => vm.RestoreAsync(repository.Points[0]));
        Assert.Equal(kind, Assert.Single((await Nightly.TestAsync(repository, repository.Points[0])).Findings).Kind);
    }

    // A restore and a deep test of what needs the file, the next backup, and a merge: each names it. While the file outside is held, an
    // attempt to open it is "in use", another kind.
    private static async Task RefusesAsync(Nightly vm, string path, string kind, string? outside)
    {
        byte[] before = outside is null ? [] : await File.ReadAllBytesAsync(outside);
        using (LocalFile? held = outside is null ? null : LocalFile.Open(outside, isReadOnly: false))
        {
            Repository repository = vm.Read();
            bool isManifest = path.EndsWith(".json", StringComparison.Ordinal);
            if (isManifest)
            {
                BlockException fault = Assert.Single(repository.Faults);
                Assert.Equal((kind, path), (fault.Kind, fault.Path));
            }
            else
            {
                Assert.Empty(repository.Faults);
                BackupPoint point = repository.Points.Single(point => point.Path == path);
                Names(path, await Nightly.RefusedAsync(kind, () => vm.RestoreAsync(point)));
                foreach (bool isDeep in (bool[])[false, true])
                {
                    BackupFinding finding = Assert.Single((await Nightly.TestAsync(repository, point, isDeep)).Findings);
                    Assert.Equal(kind, finding.Kind);
                    Assert.Contains($"'{path}'", finding.Message, StringComparison.Ordinal);
                }
            }

            Names(path, await Assert.ThrowsAsync<BlockException>(() => vm.BackUpAsync()));
            await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options() with { IsFull = true, Keep = 2 });
            while (await job.StepAsync())
            {
            }

            _ = await job.CompleteAsync();
            Names(path, await Assert.ThrowsAsync<BlockException>(() => job.RetainAsync().AsTask()));
        }

        if (outside is not null)
        {
            Assert.Equal(before, await File.ReadAllBytesAsync(outside));
        }
    }

    private static void Names(string path, BlockException error) => Assert.Contains($"'{path}'", error.Message, StringComparison.Ordinal);

    private static string PathOf(Nightly vm, int number, string extension) =>
        Path.Combine(vm.RepositoryPath, $"vm-00000{number}{extension}");

    private static async Task MakePipeAsync(string path)
    {
        Peer.Need("mkfifo");
        await Peer.RunAsync("mkfifo", path);
    }
}
