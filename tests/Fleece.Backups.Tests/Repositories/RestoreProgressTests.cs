// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>How far an interrupted restore came is only believed when its note is whole.</summary>
public sealed class RestoreProgressTests
{
    [Theory]
    [InlineData("")]
    [InlineData("cut")]
    [InlineData("flipped")]
    [InlineData("of the version without a digest")]
    public async Task A_restore_whose_note_is_damaged_begins_anew_and_says_so(string damage)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        BackupPoint point = vm.Read().Points[1];
        string path = vm.Rig.Folder.NewFile();
        await InterruptAsync(point, path);
        string notePath = path + ".partial.progress";
        string note = await File.ReadAllTextAsync(notePath);
        await File.WriteAllTextAsync(notePath, damage switch
        {
            "" => "",
            "cut" => note[..^1],
            "flipped" => note.Replace(" 2 ", " 3 ", StringComparison.Ordinal),
            _ => note[..note.LastIndexOf(' ')],
        });

        await using BackupRestore again = await BackupRestore.OpenAsync(point, Nightly.ToRaw(path));
        while (await again.StepAsync())
        {
        }

        await again.CompleteAsync();
        Assert.Equal(0, again.ResumedBytes);
        Assert.Contains("begins anew", Assert.Single(again.Notes), StringComparison.Ordinal);
        Assert.Equal(vm.Truth[point.Id], await File.ReadAllBytesAsync(path));
        Assert.False(File.Exists(notePath));
    }

    [Fact]
    public async Task A_restore_that_may_replace_files_replaces_what_an_interrupted_one_of_another_backup_left()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        BackupPoint[] points = [.. vm.Read().Points];
        string path = vm.Rig.Folder.NewFile();
        await InterruptAsync(points[1], path);
        await Nightly.RefusedAsync(
            BlockErrors.AlreadyExists, () => BackupRestore.OpenAsync(points[0], Nightly.ToRaw(path)).AsTask());
        await using BackupRestore restore = await BackupRestore.OpenAsync(points[0], Nightly.ToRaw(path) with { Overwrite = true });
        while (await restore.StepAsync())
        {
        }

        await restore.CompleteAsync();
        Assert.Contains("begins anew", Assert.Single(restore.Notes), StringComparison.Ordinal);
        Assert.Equal(vm.Truth[points[0].Id], await File.ReadAllBytesAsync(path));
        Assert.Equal([path], Directory.GetFiles(Path.GetDirectoryName(path)!, Path.GetFileName(path) + "*"));
    }

    // It may hold the only copy of what an export has consumed.
    [Fact]
    public async Task A_partial_file_that_no_restore_has_left_stays_though_files_may_be_replaced()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string path = vm.Rig.Folder.NewFile();
        await File.WriteAllTextAsync(path + ".partial", "of an export");

        await Nightly.RefusedAsync(
            BlockErrors.AlreadyExists,
            async () => await BackupRestore.OpenAsync(vm.Read().Points[0], Nightly.ToRaw(path) with { Overwrite = true }));

        Assert.Equal("of an export", await File.ReadAllTextAsync(path + ".partial"));
    }

    [Fact]
    public async Task A_restore_that_was_killed_before_its_first_step_is_taken_up()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        BackupPoint point = vm.Read().Points[0];
        string path = vm.Rig.Folder.NewFile();
        byte[] note;
        await using (await BackupRestore.OpenAsync(point, Nightly.ToRaw(path)))
        {
            note = await File.ReadAllBytesAsync(path + ".partial.progress");
        }

        // A kill leaves both files, and the image has zeros alone.
        await File.WriteAllBytesAsync(path + ".partial", new byte[point.SizeBytes]);
        await File.WriteAllBytesAsync(path + ".partial.progress", note);
        await using BackupRestore restore = await BackupRestore.OpenAsync(point, Nightly.ToRaw(path));
        while (await restore.StepAsync())
        {
        }

        await restore.CompleteAsync();
        Assert.Equal(vm.Truth[point.Id], await File.ReadAllBytesAsync(path));
    }

    [Fact]
    public async Task Every_byte_of_the_note_counts()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        Repository repository = vm.Read();
        Manifest manifest = repository.Manifests[0];
        RestorePlan plan = RestorePlan.Make([manifest], new BlockRange(0, manifest.SizeBytes), "vm");
        string path = vm.Rig.Folder.NewFile();
        await File.WriteAllTextAsync(path + ".partial", "partial");
        RestoreProgress.Write(path, plan, plan.Fingerprint(), 2);
        byte[] note = await File.ReadAllBytesAsync(path + ".partial.progress");
        Assert.Equal(2, RestoreProgress.Find(path, plan, out bool isDamaged));
        Assert.False(isDamaged);

        for (int at = 0; at < note.Length; at++)
        {
            note[at] ^= 1;
            await File.WriteAllBytesAsync(path + ".partial.progress", note);
            Assert.Null(RestoreProgress.Find(path, plan, out isDamaged));
            Assert.True(isDamaged);
            note[at] ^= 1;
        }
    }

    // Beside a new file that is empty yet, the note would say that all of it is there.
    [Fact]
    public async Task The_note_of_a_partial_file_that_is_gone_does_not_outlive_the_next_one()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        Session session = await Rig.StartAsync(vm.Disk);
        string path = vm.Rig.Folder.NewFile();
        await File.WriteAllTextAsync(path + ".partial.progress", "of a restore");

        await using BackupWriter writer = await FileBackup.BeginAsync(new FileTargetOptions { Path = path }, session);

        Assert.False(File.Exists(path + ".partial.progress"));
    }

    [Fact]
    public async Task A_partial_file_that_a_restore_still_writes_stays_whatever_its_note_says()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        BackupPoint point = vm.Read().Points[0];
        string path = vm.Rig.Folder.NewFile();
        await using BackupRestore running = await BackupRestore.OpenAsync(point, Nightly.ToRaw(path));
        await File.WriteAllTextAsync(path + ".partial.progress", "damaged");

        await Nightly.RefusedAsync(BlockErrors.InUse, async () => await BackupRestore.OpenAsync(point, Nightly.ToRaw(path)));

        Assert.True(File.Exists(path + ".partial"));
    }

    private static async Task InterruptAsync(BackupPoint point, string path)
    {
        await using BackupRestore restore = await BackupRestore.OpenAsync(point, Nightly.ToRaw(path));
        await restore.StepAsync();
        await restore.StepAsync();
    }
}
