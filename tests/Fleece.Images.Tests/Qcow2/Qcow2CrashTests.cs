// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2;
using Fleece.Images.Qcow2.Foundation;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>What a crash or a failing disk leaves behind: leaked clusters at most, and everything that was
/// flushed.</summary>
public sealed class Qcow2CrashTests : IDisposable
{
    private const int ClusterBytes = 512;
    private const int SizeBytes = 320 * 1024;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string> Sorts =>
    [
        "plain",
        "refcounts of 1 bit",
        "refcounts of 64 bits",
        "version 2",
        "over a parent",
        "version 2 over a parent",
        "subclusters",
        "subclusters over a parent",
        "snapshots",
        "snapshots and subclusters",
    ];

    // Method: at random moments, and before every flush inside a write-back, an image is put together from what was
    // flushed and a random part of what was not, in order. It is audited, and some by QEMU; every byte must have a
    // value it had at the last guest flush or got since.
    [Theory]
    [MemberData(nameof(Sorts))]
    public async Task A_crash_at_any_moment_leaves_leaks_at_most_and_keeps_what_was_flushed(string sort)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        for (int round = 0; round < (sort == "plain" ? 6 : 2); round++)
        {
            (byte[] image, byte[] content, Qcow2Attachments attachments) = Make(sort, seeds);
            MemoryContainer container = new(image);
            ImageNode node = Qcow2Map.Open(container, attachments);
            CrashRun run = new(content, container, seeds.Fork(), CheckLeaksAtMost, attachments);
            container.BeforeFlush = run.OnFlush;
            for (int request = 0; request < 100; request++)
            {
                await RequestAsync(node, seeds, run);
                if (seeds.Chance(15))
                {
                    await node.FlushAsync(CancellationToken.None);
                    run.Flushed();
                }

                if (seeds.Chance(8))
                {
                    run.Check($"{sort}, round {round}, request {request}");
                }
            }

            await node.DisposeAsync();
            CheckClean(container.Content);
        }
    }

    // Method: an image that only grows, through new L2 tables and new refcount blocks; before every flush of a
    // write-back many subsets of what is not flushed yet.
    [Fact]
    public async Task A_crash_inside_the_write_back_of_a_growing_image_leaves_leaks_at_most()
    {
        const int GrowingBytes = 1024 * 1024;
        Seeds seeds = Seeds.FromEnvironment();
        MemoryContainer container = new(Images.Empty(GrowingBytes, ClusterBytes));
        await using ImageNode node = Qcow2Map.Open(container);
        int blocks = node.Qcow2().Changes!.Refcounts.Table.Count(offset => offset != 0);
        container.BeforeFlush = () =>
        {
            for (int i = 0; i < 6; i++)
            {
                ImageAudit.LeaksAtMost(container.Crash(() => seeds.Chance(60)), $"try {i}, seed {seeds.Seed}");
            }
        };
        byte[] data = seeds.Bytes(32 * 1024);
        for (int offsetBytes = 0; offsetBytes < GrowingBytes; offsetBytes += data.Length)
        {
            await node.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
            await node.FlushAsync(CancellationToken.None);
        }

        Assert.True(node.Qcow2().Changes!.Refcounts.Table.Count(offset => offset != 0) > blocks + 5);
    }

    // The same over the moment in which the refcount table moves: 64 blocks of 64 refcounts count 2 MiB.
    [Fact]
    public async Task A_crash_while_the_refcount_table_moves_leaves_leaks_at_most()
    {
        Qemu.SkipWhenMissing();
        const int StartBytes = 1800 * 1024;
        const int EndBytes = 2200 * 1024;
        string path = _folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", path, "4M");
        Seeds seeds = Seeds.FromEnvironment();
        MemoryContainer container = new(File.ReadAllBytes(path));
        await using ImageNode node = Qcow2Map.Open(container);
        await node.WriteAsync(0, seeds.Bytes(StartBytes), WriteFlags.None, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);
        int clusters = node.Qcow2().Changes!.Refcounts.TableClusters;
        container.BeforeFlush = () =>
        {
            for (int i = 0; i < 6; i++)
            {
                ImageAudit.LeaksAtMost(container.Crash(() => seeds.Chance(60)), $"try {i}, seed {seeds.Seed}");
            }
        };
        for (int offsetBytes = StartBytes; offsetBytes < EndBytes; offsetBytes += 16 * 1024)
        {
            await node.WriteAsync(offsetBytes, seeds.Bytes(16 * 1024), WriteFlags.None, CancellationToken.None);
            await node.FlushAsync(CancellationToken.None);
        }

        Assert.True(node.Qcow2().Changes!.Refcounts.TableClusters > clusters);
    }

    [Fact]
    public async Task A_disk_failing_from_any_change_on_leaves_leaks_at_most()
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        for (int failFrom = 0; failFrom < 420; failFrom += failFrom < 60 ? 4 : 18)
        {
            Seeds own = new(seeds.Seed);
            MemoryContainer container = new(Images.Empty(SizeBytes, ClusterBytes)) { FailFrom = failFrom };
            ImageNode node = Qcow2Map.Open(container);
            BlockException? first = null;
            for (int request = 0; request < 60; request++)
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

            first ??= await DisposeAsync(node);
            string context = $"failing from change {failFrom}, seed {seeds.Seed}";
            ImageAudit.LeaksAtMost(container.Content, context);
            if (failFrom % 30 == 0)
            {
                CheckLeaksAtMost(container.Content, context);
            }

            Assert.True(first is not null || container.ChangeCount <= failFrom);
        }
    }

    [Fact]
    public async Task The_first_failed_metadata_write_stops_all_later_changes_and_no_reads()
    {
        MemoryContainer container = new(Images.Empty(SizeBytes, ClusterBytes));
        ImageNode node = Qcow2Map.Open(container);
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
        await Images.FailsAsync(
            BlockErrors.IoFailed, () => node.DiscardAsync(0, 512, CancellationToken.None).AsTask());
        byte[] read = new byte[4];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal([1, 2, 3, 0], read);
        await node.DisposeAsync();
        Assert.Equal(changes, container.ChangeCount);
    }

    [Fact]
    public async Task A_failed_write_of_guest_data_is_only_that_requests_failure()
    {
        MemoryContainer container = new(Images.Empty(SizeBytes, ClusterBytes));
        ImageNode node = Qcow2Map.Open(container);
        await node.WriteAsync(0, new byte[ClusterBytes], WriteFlags.None, CancellationToken.None);
        container.FailFrom = container.ChangeCount;
        await Images.FailsAsync(
            BlockErrors.IoFailed,
            () => node.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None).AsTask());
        container.FailFrom = int.MaxValue;

        await node.WriteAsync(0, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);
        await node.DisposeAsync();
    }

    // An image, what it reads as, and what it is opened with.
    private (byte[] Image, byte[] Content, Qcow2Attachments Attachments) Make(string sort, Seeds seeds)
    {
        if (sort.StartsWith("snapshots", StringComparison.Ordinal))
        {
            string path = _folder.NewFile(".qcow2");
            string options = sort.EndsWith("subclusters", StringComparison.Ordinal)
                ? "extended_l2=on,cluster_size=16384"
                : "cluster_size=512,refcount_bits=2";
            Qemu.Image("create", "-q", "-f", "qcow2", "-o", options, path, $"{SizeBytes}");
            Qemu.Io(path, "write -P 1 0 100k");
            Qemu.Image("snapshot", "-c", "one", path);
            Qemu.Io(path, "write -P 2 50k 100k");
            Qemu.Image("snapshot", "-c", "two", path);
            return (File.ReadAllBytes(path), Qemu.Content(path), Qcow2Attachments.None);
        }

        bool hasSubclusters = sort.StartsWith("subclusters", StringComparison.Ordinal);
        byte[] image = Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = SizeBytes,
            ClusterBits = hasSubclusters ? 14 : int.TrailingZeroCount(ClusterBytes),
            HasSubclusters = hasSubclusters,
            Version = sort.StartsWith("version 2", StringComparison.Ordinal) ? 2 : 3,
            RefcountOrder = sort switch
            {
                "refcounts of 1 bit" => 0,
                "refcounts of 64 bits" => 6,
                _ => Qcow2Limits.DefaultRefcountOrder,
            },
        });
        byte[] content = new byte[SizeBytes];
        if (!sort.EndsWith("parent", StringComparison.Ordinal))
        {
            return (image, content, Qcow2Attachments.None);
        }

        // The parent ends inside a cluster of its child.
        byte[] below = seeds.Bytes(SizeBytes - 20_000 - 512);
        below.CopyTo(content, 0);
        return (image, content, new Qcow2Attachments { Parent = new ParentImage(new MemoryLayer(below)) });
    }

    private static async ValueTask RequestAsync(ImageNode node, Seeds seeds, CrashRun? run)
    {
        BlockRange range = seeds.Range(SizeBytes);
        range = new BlockRange(range.OffsetBytes, Math.Min(range.LengthBytes, 20_000));
        switch (seeds.Next(4))
        {
            case 0:
                run?.Discarding(range);
                await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);
                break;
            case 1:
                run?.Writing(range.OffsetBytes, new byte[range.LengthBytes]);
                await node.WriteZeroesAsync(
                    range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);
                break;
            default:
                byte[] data = seeds.Bytes(range.LengthBytes);
                run?.Writing(range.OffsetBytes, data);
                await node.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None);
                break;
        }
    }

    private static async ValueTask<BlockException?> DisposeAsync(ImageNode node)
    {
        try
        {
            await node.DisposeAsync();
            return null;
        }
        catch (BlockException failure)
        {
            Assert.Equal(BlockErrors.IoFailed, failure.Kind);
            return failure;
        }
    }

    private string Store(byte[] content)
    {
        string path = _folder.NewFile(".qcow2");
        File.WriteAllBytes(path, content);
        return path;
    }

    private void CheckLeaksAtMost(byte[] content, string context)
    {
        string path = Store(content);
        Qemu.CheckLeaksAtMost(path, context);
        File.Delete(path);
    }

    private void CheckClean(byte[] content) => Qemu.CheckClean(Store(content));
}
