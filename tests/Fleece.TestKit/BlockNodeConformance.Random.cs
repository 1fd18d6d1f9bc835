// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <content>Random and concurrent use, against the reference.</content>
public abstract partial class BlockNodeConformance
{
    private const int RandomRounds = 400;

    [Fact]
    public async Task Random_operations_match_the_reference()
    {
        Seeds seeds = Seeds.FromEnvironment();
        await using IBlockNode node = await CreateAsync(DiskBytes);
        ReferenceDisk disk = new(DiskBytes);
        for (int round = 0; round < RandomRounds; round++)
        {
            BlockRange range = seeds.Range(DiskBytes, node.Geometry.RequestAlignmentBytes);
            await RunRandomAsync(node, disk, range, seeds, $"Round {round}, seed {seeds.Seed}.");
        }

        await disk.CheckAllAsync(node, $"At the end, seed {seeds.Seed}.");
        await disk.CheckStatusAsync(node, $"At the end, seed {seeds.Seed}.");
    }

    [Fact]
    public async Task Concurrent_operations_on_separate_ranges_do_not_disturb_each_other()
    {
        // Goal: nothing outside a request's range changes, whatever runs beside it. Method: each task owns stripes that
        // share allocation units with those of its neighbours, and a reference of all stripes is checked at the end.
        Seeds seeds = Seeds.FromEnvironment();
        await using IBlockNode node = await CreateAsync(DiskBytes);
        ReferenceDisk disk = new(DiskBytes);
        const int TaskCount = 4;
        int stripeBytes = Math.Max(1536, node.Geometry.RequestAlignmentBytes);
        long stripesPerTask = DiskBytes / stripeBytes / TaskCount;
        Task[] tasks = new Task[TaskCount];
        for (int i = 0; i < TaskCount; i++)
        {
            int taskIndex = i;
            Seeds own = seeds.Fork();
            tasks[i] = Task.Run(async () =>
            {
                for (int round = 0; round < RandomRounds; round++)
                {
                    long stripe = own.Next(stripesPerTask) * TaskCount + taskIndex;
                    BlockRange within = own.Range(stripeBytes, node.Geometry.RequestAlignmentBytes);
                    BlockRange range = new(stripe * stripeBytes + within.OffsetBytes, within.LengthBytes);
                    string context = $"Task {taskIndex}, round {round}, seed {seeds.Seed}.";
                    await RunRandomAsync(node, disk, range, own, context);
                }
            });
        }

        await Task.WhenAll(tasks);
        await disk.CheckAllAsync(node, $"At the end, seed {seeds.Seed}.");
        await disk.CheckStatusAsync(node, $"At the end, seed {seeds.Seed}.");
    }

    [Fact]
    public async Task First_writes_to_one_place_from_many_threads_are_all_kept()
    {
        // Goal: allocation races lose no write. Method: threads write neighbouring pieces of the same fresh blocks.
        Seeds seeds = Seeds.FromEnvironment();
        await using IBlockNode node = await CreateAsync(DiskBytes);
        ReferenceDisk disk = new(DiskBytes);
        int pieceBytes = Math.Max(512, node.Geometry.RequestAlignmentBytes);
        const int TaskCount = 4;
        using Barrier start = new(TaskCount);
        Task[] tasks = new Task[TaskCount];
        for (int i = 0; i < TaskCount; i++)
        {
            int taskIndex = i;
            Seeds own = seeds.Fork();
            tasks[i] = Task.Factory.StartNew(
                () =>
                {
                    start.SignalAndWait();
                    for (long piece = taskIndex; piece < DiskBytes / pieceBytes; piece += TaskCount)
                    {
                        BlockRange range = new(piece * pieceBytes, pieceBytes);
                        WriteAsync(node, disk, range, own).GetAwaiter().GetResult();
                    }
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default);
        }

        await Task.WhenAll(tasks);
        await disk.CheckAllAsync(node, $"Seed {seeds.Seed}.");
    }

    private static async Task RunRandomAsync(
        IBlockNode node, ReferenceDisk disk, BlockRange range, Seeds seeds, string context)
    {
        switch (seeds.Next(10))
        {
            case < 4:
                await WriteAsync(node, disk, range, seeds);
                break;
            case 4:
                await node.WriteZeroesAsync(
                    range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);
                disk.WriteZeroes(range);
                break;
            case 5:
                await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                disk.Discard(range);
                break;
            case 6 when !range.IsEmpty:
                await CheckRunAsync(node, disk, range, context);
                break;
            default:
                disk.Check(range.OffsetBytes, await ReadAsync(node, range), context);
                break;
        }
    }

    private static async Task CheckRunAsync(IBlockNode node, ReferenceDisk disk, BlockRange range, string context)
    {
        BlockStatusRun run = await node.GetStatusAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
        Assert.InRange(run.LengthBytes, 1, range.LengthBytes);
        if (run.ReadsAsZero)
        {
            disk.Check(range.OffsetBytes, new byte[run.LengthBytes], $"Status says {run}. {context}");
        }
    }
}
