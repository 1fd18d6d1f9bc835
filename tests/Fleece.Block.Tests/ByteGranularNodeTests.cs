// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests;

/// <summary>Any byte range on a node that takes blocks of 4 KiB.</summary>
public sealed class ByteGranularNodeConformance : BlockNodeConformance
{
    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        new(ByteGranularNode.Over(new AlignedNode(new MemoryNode(lengthBytes), alignmentBytes: 4096)));
}

public sealed class ByteGranularNodeTests
{
    private const int BlockBytes = 4096;

    [Fact]
    public async Task A_node_that_takes_any_range_is_not_wrapped()
    {
        await using MemoryNode node = new(BlockBytes);

        Assert.Same(node, ByteGranularNode.Over(node));
    }

    [Fact]
    public async Task Reading_ahead_reaches_the_node_in_whole_blocks()
    {
        RecordingNode recorded = new(new AlignedNode(new MemoryNode(4 * BlockBytes), BlockBytes));
        await using IBlockNode node = ByteGranularNode.Over(recorded);

        node.ReadAhead(BlockBytes + 1, BlockBytes);

        Assert.True(node.CanReadAhead);
        Assert.Equal([new BlockRange(BlockBytes, 2 * BlockBytes)], recorded.ReadAheads);
    }

    [Fact]
    public async Task Writes_at_once_to_one_block_all_arrive()
    {
        // Goal: no write puts back what its block held before its neighbour wrote. Method: each byte of a block is written by itself,
        // all at once, to a node whose reads do not end before all writes have begun.
        HoldNode slow = new(new MemoryNode(2 * BlockBytes));
        Hold read = slow.HoldNext(BlockOperationKind.Read);
        await using IBlockNode node = ByteGranularNode.Over(new AlignedNode(slow, BlockBytes));
        byte[] expected = Seeds.FromEnvironment().Bytes(2 * BlockBytes);

        Task[] writes = [.. Enumerable.Range(0, 64).Select(i => node.WriteAsync(
            i * 128, expected.AsMemory(i * 128, 128), WriteFlags.None, CancellationToken.None).AsTask())];
        await read.Reached;
        read.Release();
        await Task.WhenAll(writes);

        byte[] actual = new byte[2 * BlockBytes];
        await node.ReadAsync(0, actual, CancellationToken.None);
        Assert.Equal(expected, actual);
    }

    [Fact]
    public async Task Zeroing_that_must_be_fast_and_is_not_changes_nothing()
    {
        byte[] content = Seeds.FromEnvironment().Bytes(4 * BlockBytes);
        FaultNode slow = new FaultNode(new MemoryNode(4 * BlockBytes))
            .FailNth(BlockOperationKind.WriteZeroes, 1, BlockErrors.Unsupported);
        await using IBlockNode node = ByteGranularNode.Over(new AlignedNode(slow, BlockBytes));
        await node.WriteAsync(0, content, WriteFlags.None, CancellationToken.None);

        await Assert.ThrowsAsync<BlockException>(async () =>
            await node.WriteZeroesAsync(100, 3 * BlockBytes, WriteFlags.OnlyIfFast, CancellationToken.None));

        byte[] actual = new byte[4 * BlockBytes];
        await node.ReadAsync(0, actual, CancellationToken.None);
        Assert.Equal(content, actual);
    }
}
