// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images;
using Fleece.Sessions.Bitmaps;
using Fleece.Sessions.Repositories;
using Fleece.Sessions.Tests.Bitmaps;
using Fleece.Sessions.Tests.Repositories;
using Fleece.TestKit;

namespace Fleece.Sessions.Tests;

/// <summary>A stranger's text is printable in every property, and exact where it is stored and compared.</summary>
public sealed class PrintableNameTests
{
    private const string Evil = "e\u001b[31mv\u0007";
    private const string Shown = "e\\u001b[31mv\\u0007";

    [Fact]
    public async Task A_bitmap_is_shown_printable_stored_as_it_was_and_found_by_both_names()
    {
        await using Rig rig = new();
        string path = await MakeImageAsync(rig, Evil);

        Disk disk = await rig.OpenAsync(path);
        Bitmap bitmap = Assert.Single(disk.Bitmaps.All);
        Assert.Equal((Shown, Shown), (bitmap.Name, bitmap.ToString()));
        Assert.All([Evil, Shown, Evil.ToUpperInvariant(), Shown.ToUpperInvariant()], name => Assert.Same(bitmap, disk.Bitmaps.Find(name)));
        await DiskBitmapsTests.WriteAsync(disk, 1);
        await disk.DisposeAsync();

        Assert.Contains("\"name\": \"e\\u001B[31mv\\u0007\"", await DescribeAsync(path), StringComparison.OrdinalIgnoreCase);
        disk = await rig.OpenAsync(path);
        Assert.Equal([1], DiskBitmapsTests.Units(disk.Bitmaps.Find(Shown)));
        await disk.Bitmaps.RemoveAsync(Shown);
        Assert.Empty(disk.Bitmaps.All);
    }

    [Fact]
    public async Task A_name_means_the_bitmap_that_has_it_before_one_that_is_shown_so()
    {
        await using Rig rig = new();
        string path = await MakeImageAsync(rig, Evil, Shown);
        Disk disk = await rig.OpenAsync(path);

        await disk.Bitmaps.RemoveAsync(Shown);
        await disk.DisposeAsync();

        Assert.Equal([Evil], (await rig.OpenAsync(path)).Bitmaps.All.Select(bitmap => bitmap.ExactName));
    }

    [Fact]
    public async Task A_session_pins_a_bitmap_by_its_shown_name_and_gives_it_back_under_its_own()
    {
        await using Rig rig = new();
        Disk disk = await rig.OpenAsync(await MakeImageAsync(rig, Evil));

        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = Shown });
        Assert.Equal(Shown, session.Bitmap!.Name);
        await session.StopAsync(isSuccess: true);

        Assert.Equal([Evil], disk.Bitmaps.All.Select(bitmap => bitmap.ExactName));
    }

    [Fact]
    public async Task A_backup_shows_what_its_manifest_says_printable()
    {
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string manifest = ManifestText.PathOf(Assert.Single(vm.Read().Points));
        ManifestText.EditAndSeal(manifest, json => (json["disk"], json["bitmap"], json["source"]) = (Evil, Evil, Evil));

        BackupPoint point = Assert.Single(vm.Read().Points);

        Assert.Equal((Shown, Shown, Shown), (point.Disk, point.Bitmap, point.SourceAddress));
    }

    [Fact]
    public async Task A_file_that_no_backup_is_called_like_is_none()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no such file names.");
        await using Nightly vm = await ManifestSealTests.MakeAsync(nights: 1);
        string name = $"{Evil}-000002.qcow2";
        string manifest = ManifestText.PathOf(Assert.Single(vm.Read().Points));
        string other = Path.Combine(vm.RepositoryPath, Path.ChangeExtension(name, ".json"));
        File.Copy(manifest, other);
        ManifestText.EditAndSeal(other, json => (json["number"], json["file"], json["id"]) = (2, name, Guid.NewGuid().ToString()));

        Repository repository = vm.Read();

        Assert.Equal([1], repository.Points.Select(point => point.Number));
        Assert.Empty(repository.Faults);
    }

    [Fact]
    public async Task A_repository_s_path_is_compared_as_it_is()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no such file names.");
        Peer.Need("qemu-img");
        await using Nightly vm = await Nightly.MakeAsync();
        vm.RepositoryPath = vm.Rig.Folder.File("a\nb" + Evil);
        await vm.BackUpAsync();
        await vm.WriteAsync(3);
        BackupPoint point = (await vm.BackUpAsync()).Point!;
        Assert.Equal(vm.Truth[point.Id], await vm.RestoreAsync(point));

        // The path that the check's message would show for the right one, and another file.
        string parent = PrintableText.Of(vm.Read().Points[0].Path);
        await Peer.RunAsync("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", parent, point.Path);

        ImageInfo info = await Image.GetInfoAsync(point.Path, null, CancellationToken.None);
        Assert.Equal((parent, true), (info.ParentPath, info.HasParent(parent)));
        BlockException error = await Assert.ThrowsAsync<BlockException>(() => vm.RestoreAsync(vm.Read().Points[1]));
        Assert.Equal(BlockErrorKind.BackupChainBroken, error.Kind);
    }

    private static Task<string> DescribeAsync(string path) => Peer.RunAsync("qemu-img", "info", "--output=json", path);

    private static async Task<string> MakeImageAsync(Rig rig, params string[] names)
    {
        Peer.Need("qemu-img");
        string path = rig.Folder.File("vm.qcow2");
        await Peer.RunAsync("qemu-img", "create", "-f", "qcow2", path, "16M");
        foreach (string name in names)
        {
            await Peer.RunAsync("qemu-img", "bitmap", "--add", "-g", "64k", path, name);
        }

        return path;
    }
}
