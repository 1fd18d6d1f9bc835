// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests;

/// <summary>A disk of whole sectors over storage that ends within the last one.</summary>
public sealed class PaddedNodeTests
{
    // The size of the case that is known to be hard; its end is in no block of anything.
    private const int StoredBytes = 1001001;
    private const int DiskBytes = 1001472;
    private const int LastSectorBytes = DiskBytes - 512;

    [Fact]
    public async Task A_node_of_whole_sectors_is_not_padded()
    {
        await using MemoryNode node = new(512);

        Assert.Same(node, PaddedNode.Over(node, "disk", 512));
    }

    [Theory]
    [InlineData(0, DiskBytes)]
    [InlineData(LastSectorBytes, 512)]
    [InlineData(StoredBytes - 1, 1)]
    [InlineData(StoredBytes - 1, 2)]
    [InlineData(StoredBytes, 1)]
    [InlineData(DiskBytes - 1, 1)]
    public async Task The_disk_reads_as_its_storage_and_then_as_zeros(int offsetBytes, int lengthBytes)
    {
        (IBlockNode node, _, byte[] content) = await CreateAsync();
        await using IBlockNode owned = node;
        byte[] read = new byte[lengthBytes];
        read.AsSpan().Fill(0xEE);

        await node.ReadAsync(offsetBytes, read, CancellationToken.None);

        Assert.Equal(content[offsetBytes..(offsetBytes + lengthBytes)], read);
    }

    [Fact]
    public async Task The_storage_reads_ahead_as_far_as_it_goes()
    {
        RecordingNode storage = new(new MemoryNode(StoredBytes));
        await using IBlockNode node = PaddedNode.Over(storage, "disk", 512);

        node.ReadAhead(LastSectorBytes, 512);

        Assert.True(node.CanReadAhead);
        Assert.Equal([BlockRange.FromEnds(LastSectorBytes, StoredBytes)], storage.ReadAheads);
    }

    [Fact]
    public async Task Zeros_are_written_to_the_end_of_the_last_sector()
    {
        (IBlockNode node, MemoryNode storage, byte[] content) = await CreateAsync();
        await using IBlockNode owned = node;
        byte[] sector = new byte[512];
        sector.AsSpan(0, StoredBytes - LastSectorBytes).Fill(7);

        await node.WriteAsync(LastSectorBytes, sector, WriteFlags.ForceUnitAccess, CancellationToken.None);

        sector.CopyTo(content, LastSectorBytes);
        await AssertHoldsAsync(storage, content);
        await AssertHoldsAsync(node, content);
    }

    [Fact]
    public async Task Data_that_has_no_storage_is_refused_and_nothing_is_written()
    {
        (IBlockNode node, MemoryNode storage, byte[] content) = await CreateAsync();
        await using IBlockNode owned = node;
        byte[] sector = new byte[512];
        sector[^1] = 1;

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () =>
            await node.WriteAsync(LastSectorBytes, sector, WriteFlags.None, CancellationToken.None));

        Assert.Equal(BlockErrors.NoSpace, error.Kind);
        Assert.Equal(DiskBytes - 1, error.OffsetBytes);
        await AssertHoldsAsync(storage, content);
    }

    [Fact]
    public async Task Zeroing_and_discarding_reach_the_end_of_the_disk()
    {
        (IBlockNode node, MemoryNode storage, byte[] content) = await CreateAsync();
        await using IBlockNode owned = node;

        await node.WriteZeroesAsync(StoredBytes, DiskBytes - StoredBytes, WriteFlags.None, CancellationToken.None);
        await node.DiscardAsync(StoredBytes, DiskBytes - StoredBytes, CancellationToken.None);
        await AssertHoldsAsync(node, content);
        await node.WriteZeroesAsync(0, DiskBytes, WriteFlags.None, CancellationToken.None);

        await AssertHoldsAsync(storage, new byte[DiskBytes]);
    }

    [Fact]
    public async Task Runs_end_on_sectors()
    {
        (IBlockNode node, _, _) = await CreateAsync();
        await using IBlockNode owned = node;

        BlockStatusRun data = await node.GetStatusAsync(LastSectorBytes, 512, CancellationToken.None);
        BlockStatusRun tail = await node.GetStatusAsync(StoredBytes, DiskBytes - StoredBytes, CancellationToken.None);
        await node.DiscardAsync(0, DiskBytes, CancellationToken.None);
        BlockStatusRun hole = await node.GetStatusAsync(0, DiskBytes, CancellationToken.None);

        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 512), data);
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, DiskBytes - StoredBytes), tail);
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, DiskBytes), hole);
    }

    [Fact]
    public async Task A_request_beyond_the_last_sector_is_out_of_range()
    {
        (IBlockNode node, _, _) = await CreateAsync();
        await using IBlockNode owned = node;

        BlockException error = await Assert.ThrowsAsync<BlockException>(async () =>
            await node.ReadAsync(DiskBytes - 1, new byte[2], CancellationToken.None));

        Assert.Equal(BlockErrors.OutOfRange, error.Kind);
    }

    private static async Task<(IBlockNode Node, MemoryNode Storage, byte[] Content)> CreateAsync()
    {
        byte[] content = new byte[DiskBytes];
        Seeds.FromEnvironment().Bytes(StoredBytes).CopyTo(content, 0);
        MemoryNode storage = new(StoredBytes);
        await storage.WriteAsync(0, content.AsMemory(0, StoredBytes), WriteFlags.None, CancellationToken.None);
        return (PaddedNode.Over(storage, "disk", 512), storage, content);
    }

    private static async Task AssertHoldsAsync(IBlockNode node, byte[] content)
    {
        byte[] read = new byte[node.Geometry.LengthBytes];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(content[..read.Length], read);
    }
}
