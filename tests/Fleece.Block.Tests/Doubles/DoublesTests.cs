// SPDX-License-Identifier: MIT
using Fleece.Block.Memory;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Doubles;

/// <summary>The doubles do what other tests rely on.</summary>
public sealed class DoublesTests
{
    private const int DiskBytes = 65536;

    [Fact]
    public async Task The_nth_operation_of_a_kind_fails_and_no_other()
    {
        await using FaultNode node = new FaultNode(new MemoryNode(DiskBytes))
            .FailNth(BlockOperationKind.Write, 2, BlockErrors.NoSpace);
        byte[] data = new byte[512];

        await node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);
        await node.ReadAsync(0, data, CancellationToken.None);
        await Refusals.ThrowsAsync(
            BlockErrors.NoSpace, () => node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None));
        await node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);

        Assert.Equal(1, node.FaultCount);
        Assert.Equal(4, node.OperationCount);
    }

    [Fact]
    public async Task The_operation_of_an_order_fails_whatever_it_is()
    {
        await using FaultNode node = new FaultNode(new MemoryNode(DiskBytes)).FailAt(1);

        await node.FlushAsync(CancellationToken.None);

        await Refusals.ThrowsAsync(BlockErrors.IoFailed, () => node.FlushAsync(CancellationToken.None));
    }

    [Fact]
    public async Task A_torn_write_stores_its_first_half()
    {
        await using FaultNode node = new FaultNode(new MemoryNode(DiskBytes))
            .FailNth(BlockOperationKind.Write, 1, isTorn: true);

        await Refusals.ThrowsAsync(
            BlockErrors.IoFailed,
            () => node.WriteAsync(0, new byte[] { 1, 2, 3, 4 }, WriteFlags.None, CancellationToken.None));

        byte[] read = new byte[4];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal([1, 2, 0, 0], read);
    }

    [Fact]
    public async Task Random_faults_repeat_with_their_seed()
    {
        Assert.Equal(await RunAsync(7), await RunAsync(7));

        static async Task<List<bool>> RunAsync(ulong seed)
        {
            await using FaultNode node = new FaultNode(new MemoryNode(DiskBytes)).FailRandomly(new Seeds(seed), 50);
            List<bool> failures = [];
            for (int i = 0; i < 64; i++)
            {
                long before = node.FaultCount;
                try
                {
                    await node.FlushAsync(CancellationToken.None);
                }
                catch (BlockException)
                {
                    Assert.Equal(before + 1, node.FaultCount);
                }

                failures.Add(node.FaultCount != before);
            }

            return failures;
        }
    }

    [Fact]
    public async Task A_held_write_has_not_reached_the_node_until_it_is_released()
    {
        RecordingNode recording = new(new MemoryNode(DiskBytes));
        await using HoldNode node = new(recording);
        Hold hold = node.HoldNext(operation => operation.OffsetBytes == 512);

        Task passing = node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        Task held = node.WriteAsync(512, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        await passing;
        Assert.Equal(512, (await hold.Reached).OffsetBytes);
        Assert.Equal(1, recording.Count(BlockOperationKind.Write));
        hold.Release();
        await held;

        Assert.Equal(2, recording.Count(BlockOperationKind.Write));
    }

    [Fact]
    public async Task A_write_held_after_it_ran_has_reached_the_node_and_not_its_caller()
    {
        RecordingNode recording = new(new MemoryNode(DiskBytes));
        await using HoldNode node = new(recording);
        Hold hold = node.HoldNextAfter(BlockOperationKind.Write);

        Task held = node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None).AsTask();
        await hold.Reached;

        Assert.Equal(512, recording.WrittenBytes);
        Assert.False(held.IsCompleted);
        hold.Release();
        await held;
    }

    [Fact]
    public async Task A_held_operation_can_be_made_to_fail_or_cancelled()
    {
        using CancellationTokenSource source = new();
        await using HoldNode node = new(new MemoryNode(DiskBytes));
        Hold first = node.HoldNext();
        Hold second = node.HoldNext();

        Task failing = node.FlushAsync(CancellationToken.None).AsTask();
        Task cancelled = node.FlushAsync(source.Token).AsTask();
        first.Fail(BlockErrors.NoSpace);
        await second.Reached;
        await source.CancelAsync();

        await Refusals.ThrowsAsync(BlockErrors.NoSpace, () => new ValueTask(failing));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
    }

    [Fact]
    public async Task Recording_keeps_the_order_and_counts_what_succeeded()
    {
        await using RecordingNode node = new(new FaultNode(new MemoryNode(DiskBytes)).FailAt(0));

        await Refusals.ThrowsAsync(
            BlockErrors.IoFailed,
            () => node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None));
        await node.WriteAsync(4096, new byte[1024], WriteFlags.ForceUnitAccess, CancellationToken.None);
        await node.DiscardAsync(0, 8192, CancellationToken.None);

        Assert.Equal(
            [
                new(0, BlockOperationKind.Write, 0, 512),
                new(1, BlockOperationKind.Write, 4096, 1024, WriteFlags.ForceUnitAccess),
                new(2, BlockOperationKind.Discard, 0, 8192),
            ],
            node.Operations);
        Assert.Equal(1024, node.WrittenBytes);
        Assert.Equal(8192, node.DiscardedBytes);
        Assert.Equal(1, node.FlushCount);
    }

    [Fact]
    public void A_seed_gives_the_same_choices_on_every_machine()
    {
        // The first outputs of SplitMix64 for the seed 1234567, as its author publishes them.
        Seeds seeds = new(1234567);

        Assert.Equal(6457827717110365317UL, seeds.NextBits());
        Assert.Equal(3203168211198807973UL, seeds.NextBits());
    }

    [Fact]
    public void Random_ranges_stay_within_the_disk_and_on_its_alignment()
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int i = 0; i < 10_000; i++)
        {
            BlockRange range = seeds.Range(DiskBytes, 512);
            range.CheckWithin(DiskBytes, null, "test");
            range.CheckAlignment(512, null, "test");
        }
    }
}

/// <summary>The double that makes everything asynchronous still behaves like the node below it.</summary>
public sealed class DelayNodeConformance : BlockNodeConformance
{
    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) =>
        new(new DelayNode(new MemoryNode(lengthBytes), Seeds.FromEnvironment()));
}
