// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>What a crash or a failing disk leaves behind: unused space at most, and everything that was flushed.</summary>
public sealed class VhdCrashTests
{
    private const int BlockBytes = 16 * 1024;
    private const int SizeBytes = 320 * 1024;

    // Method: at random moments, and before every flush, an image is put together from what was flushed and a random part of
    // what was not, in order, and judged by VhdCrashRun.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_crash_at_any_moment_leaves_leaks_at_most_and_keeps_what_was_flushed(bool isDifferencing)
    {
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < 12; round++)
        {
            (byte[] empty, byte[] first, byte[]? parent) = await MakeAsync(isDifferencing, seeds);
            MemoryContainer container = new(empty);
            ImageNode node = VhdImages.Open(container, parent, growthBytes: seeds.Pick(0, 20_000, 100_000));
            VhdCrashRun run = new(container, first, parent, seeds.Fork());
            container.BeforeFlush = run.OnFlush;
            for (int request = 0; request < 80; request++)
            {
                await RequestAsync(node, seeds, run);
                if (seeds.Chance(15))
                {
                    await node.FlushAsync(CancellationToken.None);
                    run.Flushed();
                }

                if (seeds.Chance(8))
                {
                    run.Check($"round {round}, request {request}");
                }
            }

            await node.DisposeAsync();
            run.Flushed();
            run.Check("after the end");
            Assert.True(Check(container.Content).IsClean);
        }
    }

    [Fact]
    public async Task An_image_goes_on_after_each_of_many_crashes()
    {
        Seeds seeds = Seeds.FromEnvironment();
        (byte[] image, byte[] first, byte[]? parent) = await MakeAsync(isDifferencing: true, seeds);
        for (int round = 0; round < 40; round++)
        {
            MemoryContainer container = new(image);
            ImageNode node = VhdImages.Open(container, parent, growthBytes: 50_000);
            first = await VhdImages.ReadAllAsync(node);
            VhdCrashRun run = new(container, first, parent, seeds.Fork());
            for (int request = 0; request < 6; request++)
            {
                await RequestAsync(node, seeds, run);
                if (seeds.Chance(30))
                {
                    await node.FlushAsync(CancellationToken.None);
                    run.Flushed();
                }
            }

            image = run.Check($"round {round}, seed {seeds.Seed}");
        }

        MemoryContainer repaired = new(image);
        ImageReport report = new VhdDriver().Check(repaired, ImageRepair.Leaks, CancellationToken.None);
        Assert.Equal(0, report.CorruptionCount);
        new VhdReader(repaired.Content, parent).Audit("after the repair");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_disk_failing_from_any_change_on_leaves_leaks_at_most(bool isDifferencing)
    {
        Seeds seeds = Seeds.FromEnvironment();
        (byte[] empty, _, byte[]? parent) = await MakeAsync(isDifferencing, seeds);
        for (int failFrom = 0; failFrom < 150; failFrom += failFrom < 60 ? 1 : 3)
        {
            Seeds own = new(seeds.Seed);
            MemoryContainer container = new([.. empty]) { FailFrom = failFrom };
            ImageNode node = VhdImages.Open(container, parent);
            BlockException? first = null;
            for (int request = 0; request < 50; request++)
            {
                try
                {
                    await RequestAsync(node, own, null);
                    if (request % 7 == 6)
                    {
                        await node.FlushAsync(CancellationToken.None);
                    }
                }
                catch (BlockException failure)
                {
                    first ??= failure;
                    Assert.Equal(BlockErrors.IoFailed, failure.Kind);
                }

                await node.ReadAsync(0, new byte[SizeBytes], CancellationToken.None);
            }

            try
            {
                await node.DisposeAsync();
            }
            catch (BlockException failure)
            {
                first ??= failure;
            }

            string context = $"failing from change {failFrom}, seed {seeds.Seed}";
            new VhdReader(container.Content, parent).Audit(context);
            Assert.True(Check(container.Content).CorruptionCount == 0, context);
            Assert.True(first is not null || container.ChangeCount <= failFrom, context);
        }
    }

    [Fact]
    public async Task The_first_failed_flush_stops_all_later_changes_and_no_reads()
    {
        MemoryContainer container = new(VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes, BlockBytes));
        ImageNode node = VhdImages.Open(container);
        await node.WriteAsync(0, new byte[] { 1, 2, 3 }, WriteFlags.None, CancellationToken.None);
        container.FailFrom = container.ChangeCount;
        await Images.FailsAsync(BlockErrors.IoFailed, () => node.FlushAsync(CancellationToken.None).AsTask());
        container.FailFrom = int.MaxValue;
        int changes = container.ChangeCount;

        BlockException later = await Images.FailsAsync(
            BlockErrors.IoFailed,
            () => node.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None).AsTask());
        Assert.Contains("takes no more changes", later.Message, StringComparison.Ordinal);
        await Images.FailsAsync(BlockErrors.IoFailed, () => node.FlushAsync(CancellationToken.None).AsTask());
        await Images.FailsAsync(BlockErrors.IoFailed, () => node.DiscardAsync(0, 512, CancellationToken.None).AsTask());
        byte[] read = new byte[4];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal([1, 2, 3, 0], read);
        await node.DisposeAsync();
        Assert.Equal(changes, container.ChangeCount);
    }

    [Fact]
    public async Task A_full_file_system_fails_the_write_and_nothing_else()
    {
        MemoryContainer container = new(VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes, BlockBytes));
        ImageNode node = VhdImages.Open(container, growthBytes: 0);
        await node.WriteAsync(0, new byte[] { 1 }, WriteFlags.None, CancellationToken.None);
        container.FailFrom = container.ChangeCount;
        await Images.FailsAsync(
            BlockErrors.IoFailed,
            () => node.WriteAsync(BlockBytes, new byte[1], WriteFlags.None, CancellationToken.None).AsTask());
        container.FailFrom = int.MaxValue;

        await node.WriteAsync(BlockBytes, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
        await node.DisposeAsync();
        Assert.True(Check(container.Content).IsClean);
        Assert.Equal(9, new VhdReader(container.Content).Read()[BlockBytes]);
    }

    private static async ValueTask<(byte[] Empty, byte[] First, byte[]? Parent)> MakeAsync(bool isDifferencing, Seeds seeds)
    {
        if (!isDifferencing)
        {
            return (VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes, BlockBytes), new byte[SizeBytes], null);
        }

        MemoryContainer parent = new(VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes, BlockBytes));
        await using (ImageNode node = VhdImages.Open(parent))
        {
            await node.WriteAsync(SizeBytes / 4, seeds.Bytes(SizeBytes / 2), WriteFlags.None, CancellationToken.None);
        }

        byte[] first = new VhdReader(parent.Content).Read();
        return (VhdImages.Empty(VhdDiskType.Differencing, SizeBytes, BlockBytes), first, parent.Content);
    }

    private static ImageReport Check(byte[] image) =>
        new VhdDriver().Check(new MemoryContainer(image, isReadOnly: true), ImageRepair.None, CancellationToken.None);

    private static async ValueTask RequestAsync(ImageNode node, Seeds seeds, VhdCrashRun? run)
    {
        BlockRange range = seeds.Range(SizeBytes);
        range = new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, 20_000));
        switch (seeds.Next(5))
        {
            case 0:
                run?.Discarding(range);
                await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                break;
            case 1:
                run?.Writing(range.OffsetBytes, new byte[range.LengthBytes]);
                await node.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);
                break;
            default:
                byte[] data = seeds.Bytes(range.LengthBytes);
                run?.Writing(range.OffsetBytes, data);
                await node.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None);
                break;
        }
    }
}
