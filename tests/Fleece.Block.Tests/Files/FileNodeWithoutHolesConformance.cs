// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

/// <summary>Files on ramfs, which knows no holes: zeros are written, discards keep everything, all is data.</summary>
public sealed class FileNodeWithoutHolesConformance(FileNodeWithoutHolesConformance.Ramfs folder)
    : BlockNodeConformance, IClassFixture<FileNodeWithoutHolesConformance.Ramfs>
{
    [Fact]
    public async Task A_discard_keeps_the_content_and_all_of_it_is_data()
    {
        byte[] data = Seeds.FromEnvironment().Bytes(65536);
        await using IBlockNode node = await CreateAsync(65536);
        await node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);

        await node.DiscardAsync(0, 65536, CancellationToken.None);

        byte[] read = new byte[65536];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(data, read);
        Assert.Equal(
            new BlockStatusRun(BlockStatus.Data, 65536), await node.GetStatusAsync(0, 65536, CancellationToken.None));
    }

    [Fact]
    public async Task Zeros_are_written_across_many_pieces()
    {
        const int DiskBytes = 3 * 1024 * 1024 + 17;
        byte[] bytes = new byte[DiskBytes];
        bytes.AsSpan().Fill(1);
        await using IBlockNode node = await CreateAsync(DiskBytes);
        await node.WriteAsync(0, bytes, WriteFlags.None, CancellationToken.None);

        await node.WriteZeroesAsync(1, DiskBytes - 2, WriteFlags.None, CancellationToken.None);

        await node.ReadAsync(0, bytes, CancellationToken.None);
        Assert.Equal(1, bytes[0]);
        Assert.Equal(1, bytes[^1]);
        Assert.False(bytes.AsSpan(1, DiskBytes - 2).ContainsAnyExcept((byte)0));
    }

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        Assert.SkipWhen(folder.Mounted.SkipReason is not null, folder.Mounted.SkipReason ?? "");
        return new(FileNode.Create(folder.Mounted.NewFile(), lengthBytes));
    }

    public sealed class Ramfs : IDisposable
    {
        public MountedFolder Mounted { get; } = new("ramfs");

        public void Dispose() => Mounted.Dispose();
    }
}
