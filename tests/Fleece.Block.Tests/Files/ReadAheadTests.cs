// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed partial class ReadAheadTests : IDisposable
{
    private const int LengthBytes = 4 * 1024 * 1024;

    // posix_fadvise(2), include/uapi/linux/fadvise.h: POSIX_FADV_DONTNEED.
    private const int DoNotNeed = 4;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task What_is_read_ahead_comes_from_the_disk_before_anybody_reads_it()
    {
        Assert.SkipUnless(LocalFile.CanReadAhead, "Only Linux has the call.");
        string path = await CreateAsync();
        using LocalFile file = LocalFile.Open(path, isReadOnly: true);
        Assert.Equal(0, Advise(file.Handle, 0, 0, DoNotNeed));
        long before = StorageReadBytes();

        file.ReadAhead(new BlockRange(0, LengthBytes));

        long readBytes = StorageReadBytes() - before;
        Assert.SkipWhen(readBytes == 0, "The file system of temporary files keeps them in memory.");
        Assert.True(readBytes >= LengthBytes, $"{readBytes} bytes were read.");
    }

    [Fact]
    public async Task Reading_ahead_of_a_hole_or_behind_the_end_does_nothing()
    {
        await using FileNode node = FileNode.Create(_folder.NewFile(), LengthBytes);
        using LocalFile file = LocalFile.Open(await CreateAsync(), isReadOnly: true);

        node.ReadAhead(0, LengthBytes);
        file.ReadAhead(new BlockRange(2L * LengthBytes, LengthBytes));

        byte[] bytes = new byte[512];
        await node.ReadAsync(LengthBytes - 512, bytes, CancellationToken.None);
        Assert.Equal(new byte[512], bytes);
    }

    private async Task<string> CreateAsync()
    {
        string path = _folder.NewFile();
        await using FileNode node = FileNode.Create(path, LengthBytes);
        await node.WriteAsync(0, Seeds.FromEnvironment().Bytes(LengthBytes), WriteFlags.None, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);
        return path;
    }

    // proc(5): what this process caused to be fetched from the storage layer.
    private static long StorageReadBytes() => long.Parse(
        File.ReadLines("/proc/self/io").First(line => line.StartsWith("read_bytes:", StringComparison.Ordinal))["read_bytes:".Length..],
        System.Globalization.CultureInfo.InvariantCulture);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeHandle handle, long offsetBytes, long lengthBytes, int advice);
}
