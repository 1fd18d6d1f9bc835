// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class FileNodeOpeningTests : IDisposable
{
    private const string ReadOnlySystemFile = "/sys/kernel/uevent_seqnum";

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_missing_file_is_not_found() => CheckOpenFails(_folder.File("absent"), BlockErrors.NotFound);

    [Fact]
    public void A_file_in_a_missing_folder_is_not_found() =>
        CheckOpenFails(_folder.File(Path.Combine("absent", "disk.raw")), BlockErrors.NotFound);

    [Fact]
    public void A_path_that_uses_a_file_as_a_folder_is_not_found() =>
        CheckOpenFails(Path.Combine(NewFile(), "disk.raw"), BlockErrors.NotFound);

    [Fact]
    public void A_folder_is_not_a_file() => CheckOpenFails(_folder.Path, BlockErrors.NotAFile);

    [Fact]
    public void A_link_to_a_folder_is_not_a_file()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need a privilege on Windows.");
        string link = _folder.NewFile();
        File.CreateSymbolicLink(link, _folder.Path);
        CheckOpenFails(link, BlockErrors.NotAFile);
    }

    [Fact]
    public void A_device_is_not_a_file()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "The device named here is one of Linux and macOS.");
        CheckOpenFails("/dev/null", BlockErrors.NotAFile);
    }

    [Fact]
    public async Task A_fifo_is_not_a_file_and_opening_it_does_not_wait_for_its_other_end()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no fifos in its file systems.");
        string path = _folder.NewFile();
        using Process process = Process.Start("mkfifo", [path]);
        await process.WaitForExitAsync();

        CheckOpenFails(path, BlockErrors.NotAFile);
    }

    [Fact]
    public void A_file_the_user_may_not_write_is_refused_for_writing()
    {
        // Method: the attribute file of the kernel is the one kind that is closed to the administrator too.
        Assert.SkipUnless(File.Exists(ReadOnlySystemFile), $"There is no {ReadOnlySystemFile} here.");
        CheckFails(BlockErrors.PermissionDenied, () => FileNode.Open(ReadOnlySystemFile, isReadOnly: false));
    }

    [Fact]
    public void A_path_that_can_not_be_one_is_refused()
    {
        CheckOpenFails("", BlockErrors.InvalidArgument);
        CheckOpenFails("disk\0.raw", BlockErrors.InvalidArgument);
    }

    [Fact]
    public async Task A_file_open_for_writing_is_in_use_for_everybody_else()
    {
        string path = NewFile();
        await using FileNode node = FileNode.Open(path, isReadOnly: false);

        CheckOpenFails(path, BlockErrors.InUse);
        CheckFails(BlockErrors.InUse, () => FileNode.Open(path, isReadOnly: false));
    }

    [Fact]
    public async Task Readers_share_a_file_and_keep_writers_out()
    {
        string path = NewFile();
        await using FileNode first = FileNode.Open(path, isReadOnly: true);
        await using FileNode second = FileNode.Open(path, isReadOnly: true);

        CheckFails(BlockErrors.InUse, () => FileNode.Open(path, isReadOnly: false));
    }

    [Fact]
    public async Task A_closed_file_can_be_opened_again()
    {
        string path = NewFile();
        await FileNode.Open(path, isReadOnly: false).DisposeAsync();
        await using FileNode node = FileNode.Open(path, isReadOnly: false);

        Assert.Equal(path, node.Path);
        Assert.Equal(4096, node.Geometry.LengthBytes);
    }

    [Fact]
    public void Creating_over_something_fails_and_leaves_it_alone()
    {
        string path = NewFile();
        File.WriteAllText(path, "content");

        CheckFails(BlockErrors.AlreadyExists, () => FileNode.Create(path, 4096));
        CheckFails(BlockErrors.AlreadyExists, () => FileNode.Create(_folder.Path, 4096));

        Assert.Equal("content", File.ReadAllText(path));
    }

    [Fact]
    public void Creating_in_a_missing_folder_is_not_found() =>
        CheckFails(BlockErrors.NotFound, () => FileNode.Create(_folder.File(Path.Combine("absent", "a")), 4096));

    [Fact]
    public void Creating_with_a_negative_length_leaves_nothing_behind()
    {
        CheckFails(BlockErrors.InvalidRange, () => FileNode.Create(_folder.NewFile(), -1));

        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public async Task Creating_a_file_too_long_for_the_file_system_leaves_nothing_behind()
    {
        BlockException exception;
        try
        {
            await FileNode.Create(_folder.NewFile(), long.MaxValue).DisposeAsync();
            Assert.Skip("This file system holds files of any length.");
            return;
        }
        catch (BlockException caught)
        {
            exception = caught;
        }

        Assert.Equal(BlockErrors.NoSpace, exception.Kind);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public async Task A_read_only_node_refuses_every_change_and_still_reads()
    {
        string path = NewFile();
        await using FileNode node = FileNode.Open(path, isReadOnly: true);

        Assert.True(node.Geometry.IsReadOnly);
        await CheckFailsAsync(
            BlockErrors.ReadOnly, () => node.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None));
        await CheckFailsAsync(
            BlockErrors.ReadOnly, () => node.WriteZeroesAsync(0, 1, WriteFlags.None, CancellationToken.None));
        await CheckFailsAsync(BlockErrors.ReadOnly, () => node.DiscardAsync(0, 1, CancellationToken.None));
        await node.FlushAsync(CancellationToken.None);
        await node.ReadAsync(0, new byte[4096], CancellationToken.None);
    }

    private string NewFile()
    {
        string path = _folder.NewFile();
        File.WriteAllBytes(path, new byte[4096]);
        return path;
    }

    private static void CheckOpenFails(string path, string kind)
    {
        BlockException exception = CheckFails(kind, () => FileNode.Open(path, isReadOnly: true));
        Assert.Contains("open", exception.Message, StringComparison.Ordinal);
    }

    private static BlockException CheckFails(string kind, Func<FileNode> open)
    {
        BlockException exception = Assert.Throws<BlockException>(() => { _ = open(); });
        Assert.Equal(kind, exception.Kind);
        return exception;
    }

    private static async Task CheckFailsAsync(string kind, Func<ValueTask> operation)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await operation());
        Assert.Equal(kind, exception.Kind);
    }
}
