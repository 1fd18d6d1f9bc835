// SPDX-License-Identifier: MIT
using Fleece.Sessions.Backups;
using Fleece.Sessions.Repositories;

namespace Fleece.Sessions.Tests.Repositories;

/// <summary>Two images that were mounted under one name, and one image that was moved.</summary>
public sealed class OtherSourceTests
{
    [Fact]
    public async Task A_backup_of_another_image_of_the_same_name_is_told_with_both_paths()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        string firstPath = vm.Disk.Path;
        Disk first = vm.Disk;
        vm.Disk = await OpenOtherAsync(vm);

        string note = Assert.Single(await NotesAsync(vm), Says);
        Assert.Contains($"'{firstPath}'", note, StringComparison.Ordinal);
        Assert.Contains($"'{vm.Disk.Path}'", note, StringComparison.Ordinal);
        Assert.Contains("a repository of its own", note, StringComparison.Ordinal);
        await vm.BackUpAsync();

        // By turns: each builds on its own backups, and the newest is of one of them.
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);
        Assert.DoesNotContain(await NotesAsync(vm), Says);
        vm.Disk = first;
        Assert.Contains(await NotesAsync(vm), Says);
        Repository repository = vm.Read();
        Assert.Contains("'" + firstPath + "'", repository.DescribeOtherSource(repository.Points[2]), StringComparison.Ordinal);
        Assert.Null(repository.DescribeOtherSource(repository.Points[1]));
        Assert.Null(repository.DescribeOtherSource(repository.Points[3]));
    }

    [Fact]
    public async Task An_image_that_was_moved_with_its_bitmap_is_the_same_disk()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        await vm.Disk.DisposeAsync();
        string moved = Path.Combine(Directory.CreateDirectory(vm.Rig.Folder.File("elsewhere")).FullName, "vm.raw");
        foreach (string file in Directory.GetFiles(vm.Rig.Folder.Path, "vm.raw*"))
        {
            File.Move(file, moved + file[vm.Disk.Path.Length..]);
        }

        vm.Disk = await vm.Rig.OpenAsync(moved);

        Assert.Empty(await NotesAsync(vm));
        BackupPoint point = (await vm.BackUpAsync()).Point!;
        Assert.Equal((BackupKind.Incremental, moved), (point.Kind, point.SourceAddress));
        Assert.Null(vm.Read().DescribeOtherSource(point));
    }

    [Fact]
    public async Task Of_manifests_that_do_not_say_where_their_disk_was_nothing_is_said()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        foreach (BackupPoint point in vm.Read().Points)
        {
            ManifestText.EditAndSeal(ManifestText.PathOf(point), json => json.Remove("source"));
        }

        vm.Disk = await OpenOtherAsync(vm);

        Assert.DoesNotContain(await NotesAsync(vm), Says);
        Assert.All(vm.Read().Points, point => Assert.Null(point.SourceAddress));
    }

    [Fact]
    public async Task An_export_into_the_repository_has_the_note_too()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        Session session = await Rig.StartAsync(await OpenOtherAsync(vm));
        BackupOptions options = new() { Path = vm.RepositoryPath, IsRepository = true };

        await using BackupWriter writer = await BackupWriter.CreateAsync(options, session);

        Assert.True(Says(writer.Note!));
    }

    private static bool Says(string note) => note.Contains("If these are two disks", StringComparison.Ordinal);

    private static async Task<Disk> OpenOtherAsync(Nightly vm)
    {
        string folder = Directory.CreateDirectory(vm.Rig.Folder.File("other")).FullName;
        string path = Path.Combine(folder, "vm.raw");
        await File.WriteAllBytesAsync(path, vm.Rig.Seeds.Bytes(Nightly.SizeBytes));
        return await vm.Rig.OpenAsync(path);
    }

    private static async Task<IReadOnlyList<string>> NotesAsync(Nightly vm)
    {
        await using BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options());
        return job.Notes;
    }
}
