// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Runtime.Versioning;
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Offsets beyond 32 bits, full file systems, files of other processes, and files that end with their node.
/// </summary>
public sealed class FileNodeLimitsTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Offsets_and_lengths_beyond_32_bits_reach_the_right_bytes()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The size of allocation units is known for Linux only.");
        const long Tebibyte = 1L << 40;
        byte[] data = Seeds.FromEnvironment().Bytes(8192);
        await using FileNode node = FileNode.Create(_folder.NewFile(), 4 * Tebibyte);
        foreach (long atBytes in (long[])[(1L << 31) - 4096, (1L << 32) - 4096, 3 * Tebibyte])
        {
            await node.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
            byte[] read = new byte[data.Length];
            await node.ReadAsync(atBytes, read, CancellationToken.None);
            Assert.Equal(data, read);
            Assert.Equal(
                new BlockStatusRun(BlockStatus.Data, data.Length),
                await node.GetStatusAsync(atBytes, Tebibyte, CancellationToken.None));
        }

        await node.DiscardAsync(1L << 31, 2 * Tebibyte, CancellationToken.None);
        await node.WriteZeroesAsync(2 * Tebibyte, 2 * Tebibyte, WriteFlags.None, CancellationToken.None);

        List<(long, BlockStatusRun)> runs = [];
        await foreach ((long, BlockStatusRun) run in node.EnumerateStatusAsync(new(0, 4 * Tebibyte)))
        {
            runs.Add(run);
        }

        Assert.Equal(
            [
                (0, new(BlockStatus.Unallocated, (1L << 31) - 4096)),
                ((1L << 31) - 4096, new(BlockStatus.Data, 4096)),
                (1L << 31, new(BlockStatus.Unallocated, (4 * Tebibyte) - (1L << 31))),
            ],
            runs);
    }

    [Fact]
    public async Task A_full_file_system_is_no_space_and_takes_writes_again_after_a_discard()
    {
        using MountedFolder folder = new("tmpfs", "size=1m");
        Assert.SkipWhen(folder.SkipReason is not null, folder.SkipReason ?? "");
        const int DiskBytes = 16 * 1024 * 1024;
        byte[] data = new byte[DiskBytes / 4];
        await using FileNode node = FileNode.Create(folder.NewFile(), DiskBytes);

        BlockException exception = await Refusals.ThrowsAsync(
            BlockErrors.NoSpace, () => node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None));

        Assert.Contains(node.Path, exception.Message, StringComparison.Ordinal);
        await node.DiscardAsync(0, DiskBytes, CancellationToken.None);
        await node.WriteAsync(8192, data.AsMemory(0, 65536), WriteFlags.None, CancellationToken.None);
    }

    [Fact]
    public async Task A_file_locked_by_another_process_is_in_use()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && File.Exists("/usr/bin/flock"), "The test uses flock(1).");
        string path = _folder.NewFile();
        await FileNode.Create(path, 8192).DisposeAsync();
        ProcessStartInfo start = new("/usr/bin/flock", [path, "sh", "-c", "echo held; read line"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        using Process holder = Process.Start(start)!;
        Assert.Equal("held", await holder.StandardOutput.ReadLineAsync());

        Refusals.Throws(BlockErrors.InUse, () => FileNode.Open(path, isReadOnly: false));
        Refusals.Throws(BlockErrors.InUse, () => FileNode.Open(path, isReadOnly: true));

        await holder.StandardInput.WriteLineAsync();
        await holder.WaitForExitAsync();
        await FileNode.Open(path, isReadOnly: false).DisposeAsync();
    }

    [Fact]
    public async Task A_file_to_be_deleted_is_there_while_its_node_is()
    {
        string path = _folder.NewFile();
        FileNode node = FileNode.Create(path, 65536, deleteOnDispose: true);
        Assert.True(File.Exists(path));

        await node.DisposeAsync();

        Assert.False(File.Exists(path));
    }

    [Fact]
    [UnsupportedOSPlatform("windows")]
    public async Task A_file_to_be_deleted_is_readable_by_its_owner_only()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows gives new files the rights of their folder.");
        string path = _folder.NewFile();
        await using FileNode node = FileNode.Create(path, 65536, deleteOnDispose: true);

        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
    }
}
