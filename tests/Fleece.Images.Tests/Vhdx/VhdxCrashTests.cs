// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Vhdx;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>What a crash or a failing disk leaves behind: an image that opens, with everything that was flushed.</summary>
public sealed class VhdxCrashTests : IDisposable
{
    private const int BlockBytes = VhdxImages.MiB;
    private const int SizeBytes = (4 * BlockBytes) + 5120;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Method: at random moments, and before every flush inside a commit, an image is put together from what was flushed and a
    // random part of the later writes, page by page. It must open and its check find no more than leaks; every byte
    // must have a value it had at the last guest flush or got since.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_crash_at_any_moment_leaves_leaks_at_most_and_keeps_what_was_flushed(bool hasParent)
    {
        Seeds seeds = Seeds.FromEnvironment();
        string? parentPath = hasParent ? await CreateParentAsync(seeds) : null;
        for (int round = 0; round < 2; round++)
        {
            MemoryContainer container = new(Empty(parentPath));
            ImageNode node = Open(new PagedContainer(container), parentPath);
            VhdxCrashRun run = new(node, container, seeds.Fork(), file => Open(file, parentPath));
            container.BeforeFlush = run.OnFlush;
            for (int request = 0; request < 60; request++)
            {
                await RequestAsync(node, seeds, run);
                if (seeds.Chance(20))
                {
                    await node.FlushAsync(CancellationToken.None);
                    run.Flushed();
                }

                if (seeds.Chance(10))
                {
                    run.Check($"round {round}, request {request}");
                }
            }

            await node.DisposeAsync();
            run.Flushed();
            run.Check($"round {round}, closed");
            Assert.Equal(Guid.Empty, VhdxImages.LogGuid(container.Content));
            Assert.True(VhdxImages.Check(container.Content).IsClean);
        }
    }

    // The same while a log is replayed, and replayed again: the image is what a crash left with a log in it.
    [Fact]
    public async Task A_crash_while_a_log_is_replayed_loses_nothing()
    {
        Seeds seeds = Seeds.FromEnvironment();
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        ImageNode node = VhdxImages.Open(container);
        ReferenceDisk disk = new(SizeBytes);
        byte[] data = seeds.Bytes(SizeBytes);
        await node.WriteAsync(0, data, WriteFlags.ForceUnitAccess, CancellationToken.None);
        disk.Write(0, data);
        byte[] dirty = container.Crash(() => false);
        Assert.NotEqual(Guid.Empty, VhdxImages.LogGuid(dirty));
        disk.Check(0, VhdxImages.Content(dirty));

        MemoryContainer replayed = new(dirty);
        replayed.BeforeFlush = () =>
        {
            for (int i = 0; i < 5; i++)
            {
                byte[] crashed = replayed.Crash(() => seeds.Chance(50));
                VhdxImages.LeaksAtMost(crashed, $"seed {seeds.Seed}");
                disk.Check(0, VhdxImages.Content(crashed), $"seed {seeds.Seed}");
            }
        };
        ImageNode again = VhdxImages.Open(new PagedContainer(replayed));
        Assert.Equal(Guid.Empty, VhdxImages.LogGuid(replayed.Content));
        await disk.CheckAllAsync(again);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_disk_failing_from_any_change_on_leaves_an_image_that_opens(bool hasParent)
    {
        Seeds seeds = Seeds.FromEnvironment();
        string? parentPath = hasParent ? await CreateParentAsync(seeds) : null;
        byte[] empty = Empty(parentPath);
        for (int failFrom = 0; failFrom < 45; failFrom += failFrom < 18 ? 1 : 5)
        {
            Seeds own = new(seeds.Seed);
            MemoryContainer container = new((byte[])empty.Clone()) { FailFrom = failFrom };
            ImageNode node = Open(container, parentPath);
            bool hasFailed = false;
            for (int request = 0; request < 20; request++)
            {
                try
                {
                    await RequestAsync(node, own, null);
                    if (request % 5 == 4)
                    {
                        await node.FlushAsync(CancellationToken.None);
                    }
                }
                catch (BlockException failure)
                {
                    hasFailed = true;
                    Assert.Equal(BlockErrors.IoFailed, failure.Kind);
                }
            }

            await node.ReadAsync(0, new byte[SizeBytes], CancellationToken.None);
            hasFailed |= await FailsToCloseAsync(node);
            VhdxImages.LeaksAtMost(container.Content, $"failing from change {failFrom}, seed {seeds.Seed}");
            Open(new MemoryContainer(container.Content), parentPath);
            Assert.True(hasFailed || container.ChangeCount <= failFrom);
        }
    }

    [Fact]
    public async Task The_first_failed_metadata_write_stops_all_later_changes_and_no_reads()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        ImageNode node = VhdxImages.Open(container);
        await node.WriteAsync(0, new byte[] { 1, 2, 3 }, WriteFlags.None, CancellationToken.None);
        container.FailFrom = container.ChangeCount;
        await Images.FailsAsync(BlockErrors.IoFailed, () => node.FlushAsync(CancellationToken.None).AsTask());
        container.FailFrom = int.MaxValue;
        int changes = container.ChangeCount;

        BlockException later = await Images.FailsAsync(
            BlockErrors.IoFailed, () => node.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None).AsTask());
        Assert.Contains("takes no more changes", later.Message, StringComparison.Ordinal);
        await Images.FailsAsync(BlockErrors.IoFailed, () => node.FlushAsync(CancellationToken.None).AsTask());
        await Images.FailsAsync(
            BlockErrors.IoFailed, () => node.DiscardAsync(0, BlockBytes, CancellationToken.None).AsTask());
        byte[] read = new byte[4];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal([1, 2, 3, 0], read);
        await node.DisposeAsync();
        Assert.Equal(changes, container.ChangeCount);
    }

    [Fact]
    public async Task A_failed_write_of_guest_data_is_only_that_requests_failure()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        ImageNode node = VhdxImages.Open(container);
        await node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None);
        container.FailFrom = container.ChangeCount;
        await Images.FailsAsync(
            BlockErrors.IoFailed, () => node.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None).AsTask());
        container.FailFrom = int.MaxValue;

        await node.WriteAsync(0, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);
        await node.DisposeAsync();
    }

    private static async ValueTask RequestAsync(ImageNode node, Seeds seeds, VhdxCrashRun? run)
    {
        BlockRange range = seeds.Range(SizeBytes);
        bool isLong = seeds.Chance(30);
        range = new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, isLong ? SizeBytes : 20_000));
        switch (seeds.Next(4))
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

    private static async ValueTask<bool> FailsToCloseAsync(ImageNode node)
    {
        try
        {
            await node.DisposeAsync();
            return false;
        }
        catch (BlockException failure)
        {
            Assert.Equal(BlockErrors.IoFailed, failure.Kind);
            return true;
        }
    }

    // The parent is a file, because chains open files.
    private async ValueTask<string> CreateParentAsync(Seeds seeds)
    {
        string path = _folder.NewFile(".vhdx");
        await Image.CreateAsync(path, VhdxImages.Options(SizeBytes, BlockBytes));
        await using ImageNode node = VhdxImages.Open(path);
        await node.WriteAsync(BlockBytes / 2, seeds.Bytes(2 * BlockBytes), WriteFlags.None, CancellationToken.None);
        return path;
    }

    private static byte[] Empty(string? parentPath)
    {
        if (parentPath is null)
        {
            return VhdxImages.Empty(SizeBytes, BlockBytes);
        }

        string childPath = Path.ChangeExtension(parentPath, ".avhdx");
        if (!File.Exists(childPath))
        {
            VhdxImages.CreateChildAsync(childPath, parentPath, BlockBytes).AsTask().GetAwaiter().GetResult();
        }

        return File.ReadAllBytes(childPath);
    }

    // The child's file is in memory; its parent is found in its own folder.
    private static ImageNode Open(IContainerFile file, string? parentPath) => parentPath is null
        ? VhdxImages.Open(file)
        : (ImageNode)new VhdxDriver().Open(
            new PlacedContainer(file, Path.ChangeExtension(parentPath, ".avhdx")),
            new ImageOpenOptions { IsReadOnly = file.IsReadOnly },
            new ImageChain(Path.ChangeExtension(parentPath, ".avhdx"), ImageDrivers.Find));
}
