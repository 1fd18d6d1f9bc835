// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>Temp files that a killed process has left behind.</summary>
public sealed class LeftTempTests
{
    private const int SizeBytes = 1024 * 1024;

    public LeftTempTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux has locks that prove that no process uses a file.");

    [Fact]
    public async Task The_next_mount_of_the_disk_removes_them()
    {
        await using Rig rig = new();
        string left = MakeLeft(rig.Folder, "vm.raw");

        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        Assert.False(File.Exists(left));
        Assert.Empty(disk.Notes);
    }

    [Fact]
    public async Task One_of_a_session_that_was_to_outlive_its_process_is_named_where_the_image_has_no_such_session()
    {
        await using Rig rig = new();
        string left = rig.Folder.File($"vm.raw.nightly.{Guid.NewGuid():N}.fleece-kept-temp");
        string ofAnother = rig.Folder.File($"vm.raw.old.nightly.{Guid.NewGuid():N}.fleece-kept-temp");
        File.WriteAllBytes(left, []);
        File.WriteAllBytes(ofAnother, []);

        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        Assert.Contains($"'{left}'", Assert.Single(disk.Notes), StringComparison.Ordinal);
        Assert.True(File.Exists(left) && File.Exists(ofAnother));
    }

    [Fact]
    public async Task A_session_removes_them_from_the_folder_that_it_is_given()
    {
        await using Rig rig = new();
        using TempFolder scratch = new();
        string left = MakeLeft(scratch, "vm.raw");
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = scratch.Path });

        Assert.Equal([session.TempPath], Directory.GetFiles(scratch.Path));
    }

    [Fact]
    public async Task A_temp_file_that_is_in_use_stays()
    {
        await using Rig rig = new();
        using TempFolder scratch = new();
        using TempFolder elsewhere = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = scratch.Path });

        // Another disk whose image has the same name, and so would name its temp files alike.
        string path = elsewhere.File("vm.raw");
        await FileNode.Create(path, SizeBytes).DisposeAsync();
        await using Disk other = await Disk.OpenAsync(path);
        Session second = await Rig.StartAsync(other, new SessionOptions { TempPath = scratch.Path });

        Assert.True(File.Exists(session.TempPath));
        await second.StopAsync();
    }

    [Theory]
    [InlineData("other.raw.nightly.{0}.fleece-temp")]
    [InlineData("vm.raw.nightly.0123.fleece-temp")]
    [InlineData("vm.raw.{0}.fleece-temp")]
    [InlineData("vm.raw.nightly.{0}.fleece-temp.old")]
    public async Task A_file_of_another_name_stays(string format)
    {
        await using Rig rig = new();
        string path = rig.Folder.File(string.Format(System.Globalization.CultureInfo.InvariantCulture, format, $"{Guid.NewGuid():N}"));
        await File.WriteAllTextAsync(path, "mine");

        await rig.AddDiskAsync("vm", SizeBytes);

        Assert.True(File.Exists(path));
    }

    [Fact]
    public async Task A_link_stays_with_the_file_it_leads_to_and_the_mount_says_so()
    {
        await using Rig rig = new();
        string target = rig.Folder.File("precious");
        await File.WriteAllTextAsync(target, "mine");
        string link = NameLeft(rig.Folder, "vm.raw");
        File.CreateSymbolicLink(link, target);

        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        Assert.True(File.Exists(target));
        Assert.NotNull(new FileInfo(link).LinkTarget);
        Assert.Contains(link, Assert.Single(disk.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_with_a_second_name_stays_and_the_mount_says_so()
    {
        await using Rig rig = new();
        Peer.Need("ln");
        string target = rig.Folder.File("precious");
        await File.WriteAllTextAsync(target, "mine");
        string link = NameLeft(rig.Folder, "vm.raw");
        await Peer.RunAsync("ln", target, link);

        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        Assert.True(File.Exists(link));
        Assert.Contains(link, Assert.Single(disk.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_file_of_another_user_stays_and_the_mount_says_so()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Giving a file to another user needs root.");
        await using Rig rig = new();
        string left = MakeLeft(rig.Folder, "vm.raw");
        await Peer.RunAsync("chown", "12345", left);

        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        Assert.True(File.Exists(left));
        Assert.Contains(left, Assert.Single(disk.Notes), StringComparison.Ordinal);
    }

    private static string MakeLeft(TempFolder folder, string imageName)
    {
        string path = NameLeft(folder, imageName);
        File.WriteAllText(path, "old data");
        return path;
    }

    private static string NameLeft(TempFolder folder, string imageName) => folder.File($"{imageName}.nightly.{Guid.NewGuid():N}.fleece-temp");
}
