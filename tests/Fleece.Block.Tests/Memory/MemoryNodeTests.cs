// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Xunit;

namespace Fleece.Block.Tests.Memory;

public sealed class MemoryNodeTests
{
    private const long TiB = 1L << 40;
    private const int PageBytes = 65536;

    [Fact]
    public void A_node_of_64_TiB_takes_next_to_no_memory()
    {
        long beforeBytes = GC.GetAllocatedBytesForCurrentThread();

        MemoryNode node = new(64 * TiB);

        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - beforeBytes, 0, PageBytes);
        Assert.Equal(64 * TiB, node.Geometry.LengthBytes);
    }

    [Fact]
    public async Task The_ends_of_the_largest_node_hold_what_is_written()
    {
        await using MemoryNode node = new(MemoryNode.MaximumLengthBytes);
        foreach (long atBytes in (long[])[0, MemoryNode.MaximumLengthBytes - 1])
        {
            byte[] read = new byte[1];
            await node.WriteAsync(atBytes, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
            await node.ReadAsync(atBytes, read, CancellationToken.None);
            Assert.Equal(9, read[0]);
        }

        Assert.Equal(2 * PageBytes, node.AllocatedBytes);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(MemoryNode.MaximumLengthBytes + 1)]
    [InlineData(long.MaxValue)]
    public void A_length_out_of_bounds_is_refused(long lengthBytes) => Assert.Equal(
        BlockErrors.InvalidArgument, Assert.Throws<BlockException>(() => new MemoryNode(lengthBytes)).Kind);

    [Fact]
    public async Task Discarding_everything_frees_every_page_and_the_partial_last_one()
    {
        const long LengthBytes = (3 * PageBytes) + 100;
        await using MemoryNode node = new(LengthBytes);
        await node.WriteAsync(0, new byte[LengthBytes], WriteFlags.None, CancellationToken.None);
        Assert.Equal(4 * PageBytes, node.AllocatedBytes);

        await node.DiscardAsync(0, LengthBytes, CancellationToken.None);

        Assert.Equal(0, node.AllocatedBytes);
    }

    [Fact]
    public async Task Status_is_exact_to_the_page()
    {
        await using MemoryNode node = new(64 * TiB);
        await node.WriteAsync(TiB + 5, new byte[PageBytes], WriteFlags.None, CancellationToken.None);

        List<(long, BlockStatusRun)> runs = [];
        await foreach ((long offsetBytes, BlockStatusRun run) in node.EnumerateStatusAsync(new BlockRange(0, 64 * TiB)))
        {
            runs.Add((offsetBytes, run));
        }

        Assert.Equal(
            [
                (0L, new BlockStatusRun(BlockStatus.Unallocated, TiB)),
                (TiB, new BlockStatusRun(BlockStatus.Data, 2 * PageBytes)),
                (TiB + (2 * PageBytes), new BlockStatusRun(BlockStatus.Unallocated, (63 * TiB) - (2 * PageBytes))),
            ],
            runs);
    }

    [Fact]
    public async Task A_request_after_disposal_says_that_the_disk_is_closed()
    {
        MemoryNode node = new(PageBytes);
        await node.DisposeAsync();

        BlockException exception = await Assert.ThrowsAsync<BlockException>(
            async () => await node.ReadAsync(0, new byte[1], CancellationToken.None));

        Assert.Equal(BlockErrors.Closed, exception.Kind);
        Assert.Equal(0, node.AllocatedBytes);
    }
}
