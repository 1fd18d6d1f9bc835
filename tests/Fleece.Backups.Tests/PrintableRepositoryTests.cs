// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;
using Fleece.Backups.Tests.Repositories;
using Fleece.Block;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests;

/// <summary>A stranger's text in a repository is printable in every property, and exact where it is stored and compared.</summary>
public sealed class PrintableRepositoryTests
{
    private const string Evil = "e\u001b[31mv\u0007";
    private const string Shown = "e\\u001b[31mv\\u0007";

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
        Assert.Equal(BackupErrors.BackupChainBroken, error.Kind);
    }
}
