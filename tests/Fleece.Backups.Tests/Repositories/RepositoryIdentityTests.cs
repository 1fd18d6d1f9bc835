// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Tests.Jobs;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Disks.Tests;

namespace Fleece.Backups.Tests.Repositories;

/// <summary>Each repository counts with a bitmap of its own, and none with another's.</summary>
public sealed class RepositoryIdentityTests
{
    [Fact]
    public async Task Two_repositories_of_one_folder_name_both_go_on_with_increments()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        string[] folders = [MakeFolder(vm, "local"), MakeFolder(vm, "nas")];

        for (int night = 1; night <= 3; night++)
        {
            foreach (string folder in folders)
            {
                await vm.WriteAsync(night);
                BackupPoint point = (await BackUpAsync(vm, folder)).Point!;
                Assert.Equal(night == 1 ? BackupKind.Full : BackupKind.Incremental, point.Kind);
            }
        }

        foreach (string folder in folders)
        {
            vm.RepositoryPath = folder;
            await vm.CheckAsync();
        }

        Assert.Equal(2, vm.Disk.Bitmaps.All.Count);
        Assert.All(vm.Disk.Bitmaps.All, bitmap => Assert.Matches(@"\Abackup-[0-9a-f]{16}\z", bitmap.Name));
    }

    [Fact]
    public async Task Jobs_of_two_repositories_run_on_one_disk_at_the_same_time()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        string[] folders = [MakeFolder(vm, "local"), MakeFolder(vm, "nas")];
        foreach (bool isReadOnly in (bool[])[false, true])
        {
            vm.Disk = await vm.Rig.RemountAsync(vm.Disk, isReadOnly);
            byte[] now = await vm.ReadDiskAsync();
            await using BackupJob first = await BackupJob.StartAsync(vm.Disk, vm.Options() with { RepositoryPath = folders[0] });
            await using BackupJob second = await BackupJob.StartAsync(vm.Disk, vm.Options() with { RepositoryPath = folders[1] });
            foreach (BackupJob job in (BackupJob[])[second, first])
            {
                while (await job.StepAsync())
                {
                }

                Backup backup = await job.CompleteAsync();
                Assert.Equal(now, await vm.RestoreAsync(backup.Point!));
            }
        }
    }

    [Fact]
    public async Task A_repository_that_was_moved_goes_on_with_increments()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        string moved = vm.Rig.Folder.File("moved elsewhere");
        Directory.Move(vm.RepositoryPath, moved);
        vm.RepositoryPath = moved;

        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);

        Assert.Single(vm.Disk.Bitmaps.All);
        await vm.CheckAsync();
    }

    // As versions without identities have left it: an empty lock, and a bitmap of the folder's name.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_repository_without_an_identity_goes_on_with_the_bitmap_it_has(bool isMoved)
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync(vm.Options() with { Bitmap = "backup-vm" });
        if (isMoved)
        {
            string moved = vm.Rig.Folder.File("moved");
            Directory.Move(vm.RepositoryPath, moved);
            vm.RepositoryPath = moved;
        }

        await vm.WriteAsync(3);
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);

        Assert.Equal("backup-vm", Assert.Single(vm.Disk.Bitmaps.All).Name);
        Assert.Equal(0, new FileInfo(LockOf(vm.RepositoryPath)).Length);
    }

    [Fact]
    public async Task The_bitmap_of_the_newest_backup_is_used_again_when_it_counts_from_nothing()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync(vm.Options() with { Bitmap = "backup-vm" });
        await vm.Disk.Bitmaps.ClearAsync("backup-vm");

        Assert.Equal(BackupKind.Full, (await vm.BackUpAsync()).Point!.Kind);

        Assert.Equal("backup-vm", Assert.Single(vm.Disk.Bitmaps.All).Name);
    }

    // Two copies move one bitmap in turn, until one of them does what its error says.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task Of_two_copies_the_one_that_the_error_is_told_gets_its_own_bitmap_and_both_go_on(int next)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        string[] folders = [vm.RepositoryPath, MakeFolder(vm, "copy")];
        CopyFolder(folders[0], folders[1]);
        await vm.WriteAsync(5);
        await BackUpAsync(vm, folders[next]);
        string other = folders[1 - next];

        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupParentMissing, () => BackUpAsync(vm, other));
        Assert.Contains("-Full, used here once, gives this one a bitmap of its own", error.Message, StringComparison.Ordinal);
        await BackUpAsync(vm, other, isFull: true);

        for (int night = 0; night < 4; night++)
        {
            await vm.WriteAsync(night);
            Assert.Equal(BackupKind.Incremental, (await BackUpAsync(vm, folders[night % 2])).Point!.Kind);
        }

        foreach (string folder in folders)
        {
            vm.RepositoryPath = folder;
            await vm.CheckAsync(withQemu: false);
        }
    }

    [Fact]
    public async Task A_new_chain_in_a_copy_leaves_the_bitmap_to_the_repository_that_was_copied()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        string copy = MakeFolder(vm, "copy");
        CopyFolder(vm.RepositoryPath, copy);

        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options() with { RepositoryPath = copy, IsFull = true }))
        {
            Assert.Contains("stays as it is, because another repository may count with it", Assert.Single(job.Notes), StringComparison.Ordinal);
        }

        await BackUpAsync(vm, copy, isFull: true);
        await vm.WriteAsync(7);
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);
        Assert.Equal(BackupKind.Incremental, (await BackUpAsync(vm, copy)).Point!.Kind);
    }

    [Fact]
    public async Task A_new_chain_where_the_repository_began_clears_its_bitmap_and_makes_no_other()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);

        await vm.BackUpAsync(vm.Options() with { IsFull = true });

        Assert.Single(vm.Disk.Bitmaps.All);
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);
    }

    [Fact]
    public async Task A_bitmap_that_the_user_names_and_another_repository_counts_with_is_not_cleared()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        string[] folders = [MakeFolder(vm, "local"), MakeFolder(vm, "nas")];
        BackupJobOptions Named(string folder, bool isFull) =>
            vm.Options() with { RepositoryPath = folder, Bitmap = "daily", IsFull = isFull };
        await vm.BackUpAsync(Named(folders[0], isFull: false));

        foreach (bool isFull in (bool[])[false, true])
        {
            BlockException error = await Nightly.RefusedAsync(
                BackupErrors.BackupParentMissing, () => vm.BackUpAsync(Named(folders[1], isFull)));
            Assert.Contains("Clear-FleeceBitmap", error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync(Named(folders[0], isFull: false))).Point!.Kind);
    }

    [Fact]
    public async Task The_advice_for_a_bitmap_of_a_guest_is_a_command_of_QEMU()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await using DiskElsewhere disk = await DiskElsewhere.ServeAsync(vm.Disk, vm.Rig.Folder.File("nbd.sock"));
        disk.QemuNode = "disk0";
        BackupJobOptions options = vm.Options() with { Bitmap = "daily" };
        await vm.BackUpAsync(options with { RepositoryPath = MakeFolder(vm, "local") }, disk);

        BlockException error = await Nightly.RefusedAsync(
            BackupErrors.BackupParentMissing, () => vm.BackUpAsync(options with { RepositoryPath = MakeFolder(vm, "nas") }, disk));

        Assert.Contains("block-dirty-bitmap-remove (node 'disk0', name 'daily')", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("-FleeceBitmap", error.Message, StringComparison.Ordinal);
    }

    // The folder that a volume is mounted on is there without the volume.
    [Theory]
    [InlineData(null)]
    [InlineData("backup-vm")]
    public async Task An_empty_folder_where_a_repository_was_is_no_new_repository_until_the_user_says_so(string? bitmap)
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync(vm.Options() with { Bitmap = bitmap });
        string away = vm.Rig.Folder.File("away");
        Directory.Move(vm.RepositoryPath, away);
        Directory.CreateDirectory(vm.RepositoryPath);

        BlockException error = await Nightly.RefusedAsync(BackupErrors.BackupParentMissing, () => vm.BackUpAsync());
        Assert.Contains("its volume is mounted", error.Message, StringComparison.Ordinal);
        Assert.Equal(BackupKind.Full, (await vm.BackUpAsync(vm.Options() with { IsFull = true })).Point!.Kind);

        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);
        Assert.Equal(BackupKind.Incremental, (await BackUpAsync(vm, away)).Point!.Kind);
    }

    public static TheoryData<string> Damages => new(
        ["{", "[]", "{}", "\"\\ud800\"", """{"fleeceRepository":1}""", """{"fleeceRepository":0,"id":"6f1f0f0e-1111-8222-8333-444455556666"}""",
            """{"fleeceRepository":1,"id":7}""", """{"fleeceRepository":"1","id":"x"}""", new string(' ', 5000)]);

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task With_a_damaged_identity_increments_go_on_with_the_bitmap_that_counts_from_here(string text)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        await File.WriteAllTextAsync(LockOf(vm.RepositoryPath), text);

        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);

        Assert.Single(vm.Disk.Bitmaps.All);
        await vm.CheckAsync(withQemu: false);
    }

    [Theory]
    [MemberData(nameof(Damages))]
    public async Task With_a_damaged_identity_and_no_bitmap_a_full_backup_is_made_and_says_why(string text)
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        await vm.Disk.Bitmaps.RemoveAsync(Assert.Single(vm.Disk.Bitmaps.All).Name);
        await File.WriteAllTextAsync(LockOf(vm.RepositoryPath), text);

        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options()))
        {
            Assert.Contains(job.Notes, note => note.Contains("'" + LockOf(vm.RepositoryPath) + "'", StringComparison.Ordinal));
            Assert.Equal(Nightly.SizeBytes, job.SizeBytes);
        }

        await vm.BackUpAsync();
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);
    }

    [Fact]
    public async Task A_repository_of_a_newer_version_is_refused_by_name_and_its_backups_are_read()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string text = """{"fleeceRepository":2,"id":"new"}""";
        await File.WriteAllTextAsync(LockOf(vm.RepositoryPath), text);

        BlockException error = await Nightly.RefusedAsync(BlockErrors.Unsupported, () => vm.BackUpAsync());

        Assert.Contains("version 2", error.Message, StringComparison.Ordinal);
        _ = await Nightly.RefusedAsync(BlockErrors.Unsupported, () => vm.BackUpAsync(vm.Options() with { Bitmap = "mine" }));
        Assert.Throws<BlockException>(() => RepositoryFolder.Take(vm.RepositoryPath));
        Assert.Equal(text, await File.ReadAllTextAsync(LockOf(vm.RepositoryPath)));
        await vm.CheckAsync(withQemu: false);
    }

    [Theory]
    [InlineData("[nas] b")]
    [InlineData("*?")]
    [InlineData("dots...")]
    [InlineData(" ")]
    [InlineData("line\nfeed\u001b[2J")]
    [InlineData("back\\slash")]
    [InlineData("repository.lock")]
    public async Task A_folder_may_have_any_name_that_the_file_system_takes(string name)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows takes few of these names.");
        await using Nightly vm = await Nightly.MakeAsync();
        string folder = vm.Rig.Folder.File(name);
        Directory.CreateDirectory(folder);

        foreach (string path in (string[])[folder, folder + "/", Path.GetRelativePath(Environment.CurrentDirectory, folder) + "//"])
        {
            await vm.WriteAsync(1);
            await BackUpAsync(vm, path);
        }

        vm.RepositoryPath = folder;
        Assert.Equal(
            [BackupKind.Full, BackupKind.Incremental, BackupKind.Incremental], vm.Read().Points.Select(point => point.Kind));
        await vm.CheckAsync(withQemu: false);
    }

    [Fact]
    public async Task A_path_of_2000_bytes_is_a_repository()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows takes no such path.");
        await using Nightly vm = await Nightly.MakeAsync();
        string folder = vm.Rig.Folder.File(string.Join('/', Enumerable.Repeat(new string('n', 250), 8)));
        Directory.CreateDirectory(folder);

        Assert.Equal(BackupKind.Full, (await BackUpAsync(vm, folder)).Point!.Kind);
        Assert.Equal(BackupKind.Incremental, (await BackUpAsync(vm, folder)).Point!.Kind);
    }

    [Fact]
    public async Task A_repository_that_is_reached_through_a_link_is_the_one_behind_it()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        string link = vm.Rig.Folder.File("link");
        Directory.CreateSymbolicLink(link, vm.RepositoryPath);
        vm.RepositoryPath = link;

        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync(vm.Options(keep: 2))).Point!.Kind);

        await vm.CheckAsync();
    }

    [Fact]
    public async Task An_export_with_the_bitmap_of_another_repository_is_told_to_use_one_of_its_own()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string bitmap = Assert.Single(vm.Disk.Bitmaps.All).Name;
        Session session = await Rig.StartAsync(vm.Disk, new SessionOptions { Bitmap = bitmap });
        RepositoryTargetOptions options = new() { RepositoryPath = MakeFolder(vm, "second") };

        BlockException error = await Nightly.RefusedAsync(
            BackupErrors.BackupParentMissing,
            async () => await RepositoryTarget.CreateAsync(options, session, taken: null, CancellationToken.None));

        Assert.Contains("use a bitmap of its own", error.Message, StringComparison.Ordinal);
        await session.StopAsync();
        Assert.Equal(BackupKind.Incremental, (await vm.BackUpAsync()).Point!.Kind);
    }

    private static string MakeFolder(Nightly vm, string name)
    {
        string folder = vm.Rig.Folder.File(Path.Combine(name, "vm"));
        Directory.CreateDirectory(folder);
        return folder;
    }

    private static string LockOf(string folder) => Path.Combine(folder, "repository.lock");

    private static Task<Backup> BackUpAsync(Nightly vm, string folder, bool isFull = false) =>
        vm.BackUpAsync(vm.Options() with { RepositoryPath = folder, IsFull = isFull });

    private static void CopyFolder(string from, string to)
    {
        foreach (string file in Directory.GetFiles(from))
        {
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        }
    }
}
