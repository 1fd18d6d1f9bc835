// SPDX-License-Identifier: MIT
using Fleece.Backups.Jobs;
using Fleece.Backups.Manifests;
using Fleece.Backups.Reading;
using Fleece.Backups.Repositories;
using Fleece.Backups.Writing;
using Fleece.Disks;
using Fleece.Disks.Exports;
using Fleece.Disks.Tests;
using Fleece.Nbd;
using Fleece.Nbd.Client.Negotiation;

namespace Fleece.Backups.Tests.Repositories;

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
        Assert.Contains("'" + firstPath + "'", repository.DescribeOtherSource(repository.Points[2].Manifest), StringComparison.Ordinal);
        Assert.Null(repository.DescribeOtherSource(repository.Points[1].Manifest));
        Assert.Null(repository.DescribeOtherSource(repository.Points[3].Manifest));
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
        Assert.Null(vm.Read().DescribeOtherSource(point.Manifest));
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

    // The old backups may be all that there is of the other disk.
    [Fact]
    public async Task Retention_takes_nothing_out_in_the_run_that_tells_of_another_image_and_goes_on_with_the_next()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 2);
        vm.Disk = await OpenOtherAsync(vm);

        await using (BackupJob job = await BackupJob.StartAsync(vm.Disk, vm.Options(keep: 1)))
        {
            Assert.Contains("-Keep takes nothing out in this run", Assert.Single(job.Notes, Says), StringComparison.Ordinal);
        }

        await vm.BackUpAsync(vm.Options(keep: 1));
        Assert.Equal([1, 2, 3], vm.Read().Points.Select(point => point.Number));
        await vm.CheckAsync(withQemu: false);

        await vm.BackUpAsync(vm.Options(keep: 1));
        Assert.Equal([4], vm.Read().Points.Select(point => point.Number));
    }

    // One disk has a path where it is served, and a URI where its sessions are read.
    [Theory]
    [InlineData("/vm.raw", "nbd://host/vm", false)]
    [InlineData("nbd://host/vm", "/vm.raw", false)]
    [InlineData("nbd://host/vm", "nbd://host/vm", false)]
    [InlineData("nbd://host/vm", "nbd://other/vm", true)]
    [InlineData("/a/vm.raw", "/b/vm.raw", true)]
    public async Task Paths_are_compared_with_paths_and_URIs_with_URIs(string first, string second, bool isTold)
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await vm.BackUpAsync();
        await vm.BackUpAsync(vm.Options() with { IsFull = true });
        SetSources(vm, first, second);

        Assert.Equal(isTold, vm.Read().DescribeOtherSource(vm.Read().Points[1].Manifest) is not null);
    }

    // By turns with full backups of the same disk's snapshots, read through two listeners.
    [Fact]
    public async Task What_a_backup_builds_on_says_where_its_disk_was_before()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        await vm.BackUpAsync(vm.Options() with { Bitmap = "other" });
        await vm.BackUpAsync();
        Assert.Equal(BackupKind.Incremental, vm.Read().Points[2].Kind);

        SetSources(vm, "nbd://one/vm", "nbd://one/vm", "nbd://two/vm");
        Assert.Null(vm.Read().DescribeOtherSource(vm.Read().Points[2].Manifest));
        SetSources(vm, "nbd://one/vm", "nbd://two/vm", "nbd://one/vm");
        Assert.True(Says(vm.Read().DescribeOtherSource(vm.Read().Points[2].Manifest)!));
    }

    [Fact]
    public async Task The_sessions_of_a_disk_that_are_read_from_its_server_have_one_source()
    {
        await using Nightly vm = await Nightly.MakeAsync();
        await using MountedDisks disks = new();
        Disk disk = await disks.MountAsync(await ImageAsync(vm), "web");
        NbdUri uri = NbdUri.Parse($"nbd+unix:///web?socket={vm.Rig.Folder.File("nbd.sock")}");
        await disks.Exports.PublishAsync(disk, new ExportOptions { ListenUri = uri });
        await Rig.StartAsync(disk, new SessionOptions { Name = "f1" });
        await Rig.StartAsync(disk, new SessionOptions { Name = "f2", Consumers = ["here"] });

        await using RemoteSnapshot first = await ConnectAsync(uri.WithExport("web/f1"));
        await using RemoteSnapshot second = await ConnectAsync(uri.WithExport("web/f2/here"));
        await using Disk mounted = await Disk.OpenAsync(uri.WithExport("web/f1").ToString());
        ISnapshotSource third = await Rig.StartAsync(mounted, new SessionOptions { Name = "s", TempPath = vm.Rig.Folder.Path });

        Assert.Equal([uri.ToString(), uri.ToString(), uri.ToString()], [first.Address, second.Address, third.Address]);
    }

    [Fact]
    public async Task An_export_into_the_repository_has_the_note_too()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        Session session = await Rig.StartAsync(await OpenOtherAsync(vm));
        RepositoryTargetOptions options = new() { RepositoryPath = vm.RepositoryPath };

        RepositoryTarget target = await RepositoryTarget.CreateAsync(options, session, taken: null, CancellationToken.None);
        await target.AbandonAsync(isOnlyCopy: false);

        Assert.True(Says(target.OtherSourceNote!));
    }

    private static bool Says(string note) => note.Contains("If these are two disks", StringComparison.Ordinal);

    private static void SetSources(Nightly vm, params string[] sources)
    {
        for (int i = 0; i < sources.Length; i++)
        {
            string source = sources[i];
            ManifestText.EditAndSeal(ManifestText.PathOf(vm.Read().Points[i]), json => json["source"] = source);
        }
    }

    private static ValueTask<RemoteSnapshot> ConnectAsync(NbdUri uri) =>
        RemoteSnapshot.ConnectAsync(uri, new NbdNodeOptions(), mustConsume: false);

    private static async Task<string> ImageAsync(Nightly vm)
    {
        string path = vm.Rig.Folder.File("web.raw");
        await File.WriteAllBytesAsync(path, new byte[64 * 1024]);
        return path;
    }

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
