// SPDX-License-Identifier: MIT
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.DirtyBitmaps;

public sealed class DirtyTrackingConformance : BlockNodeConformance
{
    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) => new(new DirtyTrackingNode(new MemoryNode(lengthBytes))
    {
        Recording = [new DirtyBitmap(lengthBytes, 65536), new DirtyBitmap(lengthBytes, 512)],
    });
}

public sealed class DirtyTrackingNodeTests
{
    private const int SizeBytes = 1024 * 1024;
    private const int G = 4096;

    private readonly DirtyBitmap _bitmap = new(SizeBytes, G);

    [Fact]
    public async Task Writes_zeroes_and_discards_are_marked_and_nothing_else()
    {
        DirtyTrackingNode node = new(new MemoryNode(SizeBytes)) { Recording = [_bitmap] };

        await node.WriteAsync(0, new byte[1], WriteFlags.None, default);
        await node.WriteZeroesAsync(2 * G, G, WriteFlags.None, default);
        await node.DiscardAsync(4 * G, G, default);
        await node.ReadAsync(6 * G, new byte[G], default);
        await node.FlushAsync(default);
        await node.GetStatusAsync(8 * G, G, default);

        Assert.Equal([new BlockRange(0, G), new BlockRange(2 * G, G), new BlockRange(4 * G, G)], _bitmap.DirtyRanges());
    }

    [Fact]
    public async Task The_mark_is_there_before_the_image_is_written()
    {
        HoldNode image = new(new MemoryNode(SizeBytes));
        DirtyTrackingNode node = new(image) { Recording = [_bitmap] };
        Hold hold = image.HoldNext(operation => operation.IsChange);

        Task write = node.WriteAsync(G, new byte[1], WriteFlags.None, default).AsTask();
        await hold.Reached;

        Assert.True(_bitmap.IsDirty(G));
        hold.Release();
        await write;
    }

    [Fact]
    public async Task A_write_that_fails_leaves_its_mark()
    {
        FaultNode image = new FaultNode(new MemoryNode(SizeBytes)).FailWhen(operation => operation.IsChange);
        DirtyTrackingNode node = new(image) { Recording = [_bitmap] };

        await Assert.ThrowsAsync<BlockException>(async () => await node.WriteAsync(G, new byte[1], WriteFlags.None, default));

        Assert.Equal([new BlockRange(G, G)], _bitmap.DirtyRanges());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_witness_hears_of_every_change_and_flush_and_of_no_read(bool records)
    {
        Witness witness = new();
        DirtyTrackingNode node = new(new MemoryNode(SizeBytes), witness) { Recording = records ? [_bitmap] : [] };

        await node.WriteAsync(0, new byte[1], WriteFlags.None, default);
        await node.WriteAsync(0, new byte[1], WriteFlags.None, default);
        await node.FlushAsync(default);
        await node.ReadAsync(0, new byte[1], default);

        Assert.Equal(3, witness.Count);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public void A_write_of_what_is_marked_allocates_nothing(int bitmaps)
    {
        DirtyTrackingNode node = new(new MemoryNode(SizeBytes), new Witness())
        {
            Recording = [.. Enumerable.Range(0, bitmaps).Select(_ => new DirtyBitmap(SizeBytes, G))],
        };
        byte[] page = new byte[G];
        Write(node, page);

        // The runtime allocates on its own account now and then, so the quietest of several runs counts.
        long fewest = long.MaxValue;
        for (int run = 0; run < 5; run++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 1000; i++)
            {
                Write(node, page);
            }

            fewest = Math.Min(fewest, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, fewest);
    }

    private static void Write(DirtyTrackingNode node, byte[] page) =>
        Complete(node.WriteAsync(G, page, WriteFlags.None, default));

    private static void Complete(ValueTask request) => Assert.True(request.IsCompletedSuccessfully);

    private sealed class Witness : IChangeWitness
    {
        public int Count { get; private set; }

        public void BeforeChange() => Count++;
    }
}
