// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <content>What a node says of its ranges.</content>
public abstract partial class BlockNodeConformance
{
    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task Status_runs_cover_exactly_the_range_that_was_asked(long offsetBytes, int lengthBytes)
    {
        await using IBlockNode node = await CreateAsync(DiskBytes);
        BlockRange range = Fit(node, offsetBytes, lengthBytes);
        byte[] data = Seeds.FromEnvironment().Bytes(65536);
        await node.WriteAsync(2 * 65536, data, WriteFlags.None, CancellationToken.None);
        await node.WriteAsync(9 * 65536, data, WriteFlags.None, CancellationToken.None);

        long atBytes = range.OffsetBytes;
        while (atBytes < range.EndBytes)
        {
            BlockStatusRun run = await node.GetStatusAsync(atBytes, range.EndBytes - atBytes, CancellationToken.None);
            Assert.InRange(run.LengthBytes, 1, range.EndBytes - atBytes);
            Assert.Equal(0, run.LengthBytes % node.Geometry.RequestAlignmentBytes);
            atBytes += run.LengthBytes;
        }

        Assert.Equal(range.EndBytes, atBytes);
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task Written_bytes_are_data(long offsetBytes, int lengthBytes)
    {
        Seeds seeds = Seeds.FromEnvironment();
        await using IBlockNode node = await CreateAsync(DiskBytes);
        ReferenceDisk disk = new(DiskBytes);
        BlockRange range = Fit(node, offsetBytes, lengthBytes);

        await WriteAsync(node, disk, range, seeds);

        await foreach ((_, BlockStatusRun run) in node.EnumerateStatusAsync(range))
        {
            Assert.Equal(BlockStatus.Data, run.Status);
        }
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task What_is_said_to_be_zero_reads_as_zero(long offsetBytes, int lengthBytes)
    {
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(Seeds.FromEnvironment());
        await using IBlockNode owned = node;
        BlockRange range = Fit(node, offsetBytes, lengthBytes);
        await disk.CheckStatusAsync(node);

        await node.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);

        disk.WriteZeroes(range);
        await disk.CheckStatusAsync(node);
    }

    [Fact]
    public async Task A_freed_disk_holds_no_data()
    {
        Assert.SkipUnless(ReportsFreedRanges, "The node does not promise to tell what it has freed.");
        (IBlockNode node, _) = await CreateFullAsync(Seeds.FromEnvironment());
        await using IBlockNode owned = node;
        Assert.Equal(BlockStatus.Data, (await node.GetStatusAsync(0, DiskBytes, CancellationToken.None)).Status);

        await node.DiscardAsync(0, DiskBytes, CancellationToken.None);

        BlockStatusRun run = await node.GetStatusAsync(0, DiskBytes, CancellationToken.None);
        Assert.True(run.ReadsAsZero);
        Assert.Equal(DiskBytes, run.LengthBytes);
    }

    [Fact]
    public async Task Status_never_calls_zero_what_was_written_before_the_query()
    {
        // Goal: no cached or half-made answer hides a completed write. Method: one task writes and discards its own
        // stripes; after each write it asks, while other tasks do the same next to it.
        Seeds seeds = Seeds.FromEnvironment();
        await using IBlockNode node = await CreateAsync(DiskBytes);
        const int StripeBytes = 65536;
        Task[] writers = new Task[4];
        for (int i = 0; i < writers.Length; i++)
        {
            long stripeBytes = i;
            Seeds own = seeds.Fork();
            writers[i] = Task.Run(async () =>
            {
                byte[] data = own.Bytes(StripeBytes);
                for (int round = 0; round < 100; round++)
                {
                    long atBytes = (stripeBytes + 4 * own.Next(4)) * StripeBytes;
                    await node.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
                    BlockStatusRun run = await node.GetStatusAsync(atBytes, StripeBytes, CancellationToken.None);
                    Assert.Equal(BlockStatus.Data, run.Status);
                    await node.DiscardAsync(atBytes, StripeBytes, CancellationToken.None);
                }
            });
        }

        await Task.WhenAll(writers);
    }
}
