// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Qcow2;
using Fleece.Images.Qcow2.Checking;
using Fleece.Images.Qcow2.Headers;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Qcow2;

/// <summary>What single damages are called, and that a repair can be interrupted anywhere.</summary>
public sealed class CheckRepairTests
{
    private const int ClusterBytes = 512;
    private const int SizeBytes = 320 * 1024;

    [Fact]
    public async Task A_leak_is_given_back_and_nothing_else_is_touched()
    {
        byte[] sound = await ImageAsync(Seeds.FromEnvironment());
        byte[] leaking = [.. sound, .. new byte[ClusterBytes]];
        SetRefcount(leaking, sound.Length / ClusterBytes, 1);
        MemoryContainer container = new(leaking);

        ImageReport found = Check(container, ImageRepair.None);
        Assert.Equal((1L, 0L, (long)ClusterBytes, false), (found.LeakCount, found.CorruptionCount, found.LeakedBytes, found.IsClean));
        Assert.Equal(0, container.ChangeCount);

        ImageReport repaired = Check(container, ImageRepair.Leaks);
        Assert.Equal((0L, 1L, true), (repaired.LeakCount, repaired.RepairedLeakCount, repaired.IsClean));
        Assert.True(Assert.Single(repaired.Findings).IsRepaired);
        Assert.Equal(sound, container.Content[..sound.Length]);
    }

    [Fact]
    public async Task What_looks_unused_because_a_table_is_lost_is_not_given_away_as_a_leak()
    {
        byte[] damaged = await ImageAsync(Seeds.FromEnvironment());
        int l1 = (int)BinaryPrimitives.ReadInt64BigEndian(damaged.AsSpan(40));
        BinaryPrimitives.WriteUInt64BigEndian(damaged.AsSpan(l1), (ulong)damaged.Length + (64 * ClusterBytes));
        MemoryContainer container = new(damaged);

        ImageReport report = Check(container, ImageRepair.Leaks);

        Assert.NotEqual(0, report.LeakCount);
        Assert.Equal(0, report.RepairedLeakCount);
        Assert.Equal(0, container.ChangeCount);
        ImageFinding found = Assert.Single(report.Findings, finding => finding.OffsetBytes == l1);
        Assert.Contains("beyond the end", found.Message, StringComparison.Ordinal);
    }

    // A bitmap of no bytes has no table: what stands in the place of its offset leads nowhere and is not counted.
    [Fact]
    public async Task A_bitmap_without_a_table_uses_no_cluster()
    {
        byte[] sound = await ImageAsync(Seeds.FromEnvironment());
        byte[] image = [.. sound, .. new byte[ClusterBytes]];
        SetRefcount(image, sound.Length / ClusterBytes, 1);
        BinaryPrimitives.WriteUInt64BigEndian(image.AsSpan(sound.Length), 0x0c00_0100_0000_0062);
        image[Qcow2Header.AutoclearField + 7] |= 1;
        Span<byte> extension = image.AsSpan(BinaryPrimitives.ReadInt32BigEndian(image.AsSpan(100)), 40);
        extension.Clear();
        BinaryPrimitives.WriteUInt32BigEndian(extension, 0x2385_2875);
        BinaryPrimitives.WriteUInt32BigEndian(extension[4..], 24);
        BinaryPrimitives.WriteUInt32BigEndian(extension[8..], 1);
        BinaryPrimitives.WriteUInt64BigEndian(extension[16..], 24);
        BinaryPrimitives.WriteUInt64BigEndian(extension[24..], (ulong)sound.Length);
        MemoryContainer container = new(image);

        Assert.Empty(Check(container, ImageRepair.None).Findings);
        Assert.True(Check(container, ImageRepair.All).IsClean);
        Assert.Equal(0, container.ChangeCount);
    }

    [Fact]
    public async Task Marks_in_the_header_are_found_and_cleared_only_by_a_whole_repair()
    {
        byte[] marked = await ImageAsync(Seeds.FromEnvironment());
        marked[CheckedHeader.IncompatibleField + 7] |= (byte)(Qcow2Header.DirtyBit | Qcow2Header.CorruptBit);
        MemoryContainer container = new(marked);

        Assert.Equal(2, Check(container, ImageRepair.Leaks).CorruptionCount);
        Assert.Equal(0, container.ChangeCount);
        Assert.True(Check(container, ImageRepair.All).IsClean);
        Assert.Equal(0, container.Content[CheckedHeader.IncompatibleField + 7]);
    }

    [Fact]
    public async Task The_refcounts_of_a_dirty_image_are_counted_anew_and_damage_beyond_them_is_refused()
    {
        byte[] dirty = await ImageAsync(Seeds.FromEnvironment());
        dirty[CheckedHeader.IncompatibleField + 7] |= (byte)Qcow2Header.DirtyBit;
        for (int cluster = 5; cluster < 60; cluster++)
        {
            SetRefcount(dirty, cluster, 0);
        }

        MemoryContainer container = new((byte[])dirty.Clone());
        Qcow2Check.RebuildRefcounts(container);
        Assert.True(Check(container, ImageRepair.None).IsClean);

        int l1 = (int)BinaryPrimitives.ReadInt64BigEndian(dirty.AsSpan(40));
        dirty[l1 + 7] |= 1;
        MemoryContainer damaged = new(dirty);
        BlockException refusal = Assert.Throws<BlockException>(() => Qcow2Check.RebuildRefcounts(damaged));
        Assert.Equal((ImageErrors.Corrupt, 0), (refusal.Kind, damaged.ChangeCount));
    }

    [Fact]
    public async Task A_cancelled_check_ends_and_changes_nothing()
    {
        MemoryContainer container = new(await ImageAsync(Seeds.FromEnvironment()));

        Assert.ThrowsAny<OperationCanceledException>(
            () => new Qcow2Driver().Check(container, ImageRepair.All, new CancellationToken(canceled: true)));
        Assert.Equal(0, container.ChangeCount);
    }

    // Method: several fields are damaged; during the repair, before every flush and at its end, images are put together from
    // what was flushed and a random part of what was not. Each must be repairable, and what the fields did not lead to must
    // read as before.
    [Fact]
    public async Task A_crash_anywhere_in_a_repair_leaves_an_image_that_can_be_repaired()
    {
        Seeds seeds = Seeds.FromEnvironment();
        byte[] sound = await ImageAsync(seeds);
        byte[] content = await ContentAsync(sound);
        int crashes = 0;
        for (int round = 0; round < 60; round++)
        {
            DamagedImage damaged = new(sound);
            for (int i = 0; i < 4; i++)
            {
                damaged.Damage(seeds);
            }

            MemoryContainer container = new((byte[])damaged.Bytes.Clone());
            List<byte[]> images = [];
            container.BeforeFlush = () =>
            {
                for (int i = 0; i < 4; i++)
                {
                    int percent = seeds.Pick(0, 30, 70, 100);
                    images.Add(container.Crash(() => seeds.Chance(percent)));
                }
            };
            Check(container, ImageRepair.All);
            images.Add(container.Content);
            crashes += images.Count;
            foreach (byte[] image in images)
            {
                MemoryContainer crashed = new(image);
                ImageReport report = Check(crashed, ImageRepair.All);
                string story = $"round {round}, seed {seeds.Seed}: {damaged.Story}";
                Assert.True(report.IsClean, $"{story}\n{string.Join('\n', report.Findings)}");
                byte[] now = await ContentAsync(crashed.Content);
                for (int at = 0; at < content.Length; at += ClusterBytes)
                {
                    Assert.True(
                        damaged.Suffers(at) || content.AsSpan(at, ClusterBytes).SequenceEqual(now.AsSpan(at, ClusterBytes)),
                        $"the disk differs at {at}. {story}");
                }
            }
        }

        Assert.True(crashes > 500, $"{crashes} crashes");
    }

    private static ImageReport Check(MemoryContainer container, ImageRepair repair) =>
        new Qcow2Driver().Check(container, repair, CancellationToken.None);

    private static async Task<byte[]> ImageAsync(Seeds seeds)
    {
        MemoryContainer container = new(Images.Empty(SizeBytes, ClusterBytes));
        ImageNode node = Qcow2Map.Open(container);
        await node.WriteAsync(0, seeds.Bytes(100_000), WriteFlags.None, CancellationToken.None);
        await node.WriteAsync(200_000, seeds.Bytes(50_000), WriteFlags.None, CancellationToken.None);
        await node.WriteZeroesAsync(20_480, 10_240, WriteFlags.None, CancellationToken.None);
        await node.DisposeAsync();
        return container.Content;
    }

    // An entry that was made to look compressed leads to bytes that inflate to nothing: such a cluster is unlike any other.
    private static async Task<byte[]> ContentAsync(byte[] image)
    {
        byte[] content = new byte[SizeBytes];
        await using ImageNode node = Qcow2Map.Open(new MemoryContainer(image, isReadOnly: true));
        for (int at = 0; at < SizeBytes; at += ClusterBytes)
        {
            Memory<byte> cluster = content.AsMemory(at, Math.Min(ClusterBytes, SizeBytes - at));
            try
            {
                await node.ReadAsync(at, cluster, CancellationToken.None);
            }
            catch (BlockException failure) when (failure.Kind == ImageErrors.Corrupt)
            {
                cluster.Span.Fill(0xEE);
            }
        }

        return content;
    }

    // 16-bit refcounts, 256 of them in a block.
    private static void SetRefcount(byte[] image, int cluster, ushort refcount)
    {
        int table = (int)BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(48));
        int block = (int)BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(table + (cluster / 256 * 8)));
        BinaryPrimitives.WriteUInt16BigEndian(image.AsSpan(block + (cluster % 256 * 2)), refcount);
    }
}
