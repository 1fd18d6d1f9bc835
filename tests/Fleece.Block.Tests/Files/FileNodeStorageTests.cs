// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class FileNodeStorageTests : IDisposable
{
    private const int MiB = 1024 * 1024;
    private const string NoHoles = "Ranges are freed on Linux and Windows only.";

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_new_file_takes_no_storage()
    {
        Assert.SkipWhen(OperatingSystem.IsMacOS(), NoHoles);
        await using FileNode node = FileNode.Create(_folder.NewFile(), 1L << 34);

        Assert.InRange(AllocatedBytes(node), 0, 65536);
    }

    [Fact]
    public async Task A_discard_gives_the_storage_back()
    {
        Assert.SkipWhen(OperatingSystem.IsMacOS(), NoHoles);
        await using FileNode node = await CreateFullAsync(4 * MiB);
        Assert.InRange(AllocatedBytes(node), 4 * MiB, 5 * MiB);

        await node.DiscardAsync(MiB, 2 * MiB, CancellationToken.None);

        Assert.InRange(AllocatedBytes(node), 2 * MiB, 3 * MiB);
    }

    [Fact]
    public async Task Zeroing_gives_the_storage_back()
    {
        Assert.SkipWhen(OperatingSystem.IsMacOS(), NoHoles);
        await using FileNode node = await CreateFullAsync(4 * MiB);

        await node.WriteZeroesAsync(0, 4 * MiB, WriteFlags.None, CancellationToken.None);

        Assert.InRange(AllocatedBytes(node), 0, 65536);
    }

    [Fact]
    public async Task The_last_partial_block_goes_with_a_range_that_reaches_the_end()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The size of allocation units is known for Linux only.");
        await using FileNode node = await CreateFullAsync(8192 + 100);

        await node.DiscardAsync(8192, 100, CancellationToken.None);

        Assert.Equal(8192, AllocatedBytes(node));
        Assert.Equal(8192 + 100, new FileInfo(node.Path).Length);
    }

    [Fact]
    public async Task A_discard_inside_one_block_keeps_its_content()
    {
        await using FileNode node = await CreateFullAsync(8192);

        await node.DiscardAsync(1, 8190, CancellationToken.None);

        byte[] bytes = new byte[8192];
        await node.ReadAsync(0, bytes, CancellationToken.None);
        Assert.False(bytes.AsSpan().Contains((byte)0));
    }

    [Fact]
    public async Task Holes_of_a_file_are_unallocated_and_the_rest_is_data()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The size of allocation units is known for Linux only.");
        string path = _folder.NewFile();
        await using (FileNode made = FileNode.Create(path, 4 * MiB))
        {
            await made.WriteAsync(MiB, Filled(MiB), WriteFlags.None, CancellationToken.None);
        }

        await using FileNode node = FileNode.Open(path, isReadOnly: true);
        List<(long, BlockStatusRun)> runs = [];
        await foreach ((long offsetBytes, BlockStatusRun run) in node.EnumerateStatusAsync(new BlockRange(0, 4 * MiB)))
        {
            runs.Add((offsetBytes, run));
        }

        Assert.Equal(
            [
                (0L, new BlockStatusRun(BlockStatus.Unallocated, MiB)),
                (MiB, new BlockStatusRun(BlockStatus.Data, MiB)),
                (2 * MiB, new BlockStatusRun(BlockStatus.Unallocated, 2 * MiB)),
            ],
            runs);
    }

    [Fact]
    public async Task A_hole_made_inside_a_remembered_extent_shows_in_the_next_answer()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The size of allocation units is known for Linux only.");
        await using FileNode node = await CreateFullAsync(4 * MiB);
        Assert.Equal(4 * MiB, (await StatusAsync(node, 0)).LengthBytes);

        await node.DiscardAsync(MiB, 65536, CancellationToken.None);

        Assert.Equal(new BlockStatusRun(BlockStatus.Data, MiB), await StatusAsync(node, 0));
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, 65536), await StatusAsync(node, MiB));
        Assert.Equal(new BlockStatusRun(BlockStatus.Data, (3 * MiB) - 65536), await StatusAsync(node, MiB + 65536));
    }

    [Fact]
    public async Task A_file_cut_short_fails_reads_as_truncated_and_is_never_called_a_hole()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows lets nobody shorten an open file.");
        string path = _folder.NewFile();
        await FileNode.Create(path, MiB).DisposeAsync();
        await using FileNode node = FileNode.Open(path, isReadOnly: true);
        ShortenInAnotherWay(path, 4096);

        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await node.ReadAsync(0, new byte[8192], CancellationToken.None));

        Assert.Equal(BlockErrors.Truncated, exception.Kind);
        Assert.Equal(4096, exception.OffsetBytes);
        Assert.Equal(BlockStatus.Data, (await StatusAsync(node, 65536)).Status);
    }

    [Fact]
    public async Task A_request_after_disposal_says_that_the_file_is_closed()
    {
        FileNode node = FileNode.Create(_folder.NewFile(), MiB);
        await node.DisposeAsync();

        await CheckClosedAsync(() => node.ReadAsync(0, new byte[1], CancellationToken.None));
        await CheckClosedAsync(() => node.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None));
        await CheckClosedAsync(() => node.WriteZeroesAsync(0, 1, WriteFlags.None, CancellationToken.None));
        await CheckClosedAsync(() => node.DiscardAsync(0, MiB, CancellationToken.None));
        await CheckClosedAsync(() => node.FlushAsync(CancellationToken.None));
        await CheckClosedAsync(async () => await StatusAsync(node, 0));
    }

    private static async Task CheckClosedAsync(Func<ValueTask> operation)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await operation());
        Assert.Equal(BlockErrors.Closed, exception.Kind);
    }

    // A lock of the framework is advisory here, so a stream that asks for none gets past it.
    private static void ShortenInAnotherWay(string path, long lengthBytes)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        stream.SetLength(lengthBytes);
    }

    private static async Task<BlockStatusRun> StatusAsync(FileNode node, long offsetBytes) =>
        await node.GetStatusAsync(offsetBytes, node.Geometry.LengthBytes - offsetBytes, CancellationToken.None);

    private static long AllocatedBytes(FileNode node)
    {
        Assert.True(FileSystemSpace.TryGetAllocatedBytes(node.Path, out long allocatedBytes));
        return allocatedBytes;
    }

    private static byte[] Filled(int lengthBytes)
    {
        byte[] bytes = new byte[lengthBytes];
        bytes.AsSpan().Fill(0x5A);
        return bytes;
    }

    private async Task<FileNode> CreateFullAsync(int lengthBytes)
    {
        FileNode node = FileNode.Create(_folder.NewFile(), lengthBytes);
        await node.WriteAsync(0, Filled(lengthBytes), WriteFlags.None, CancellationToken.None);

        // Storage counts only once the file system has decided where to put it.
        await node.FlushAsync(CancellationToken.None);
        return node;
    }
}
