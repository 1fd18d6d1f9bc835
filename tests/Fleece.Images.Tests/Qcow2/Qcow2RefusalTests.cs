// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2;
using Fleece.Images.Qcow2.Headers;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Headers and tables that are damaged, hostile or beyond this driver: a named error, little memory, no
/// write.</summary>
public sealed class Qcow2RefusalTests
{
    private const int ClusterBytes = 4096;
    private const int SizeBytes = 4 * 1024 * 1024;

    // Goal: each bad field is refused by its kind, and the message names it. Method: one field of a good image changed.
    [Theory]
    [InlineData(4, 4, 4UL, BlockErrors.Unsupported, "version is 4")]
    [InlineData(8, 8, 0x2000UL, ImageErrors.Corrupt, "backing_file_offset is 8192")]
    [InlineData(8, 8, 8UL, ImageErrors.Corrupt, "backing_file_offset is 8,")]
    [InlineData(20, 4, 8UL, ImageErrors.Corrupt, "cluster_bits is 8")]
    [InlineData(20, 4, 22UL, ImageErrors.Corrupt, "cluster_bits is 22")]
    [InlineData(20, 4, 0xffffffffUL, ImageErrors.Corrupt, "cluster_bits")]
    [InlineData(24, 8, 0UL, ImageErrors.EmptyImage, "size is 0")]
    [InlineData(24, 8, 1000UL, ImageErrors.BadImageSize, "1000 bytes")]
    [InlineData(24, 8, 0x7fff_ffff_ffff_fe00UL, ImageErrors.Corrupt, "l1_size")]
    [InlineData(24, 8, ulong.MaxValue, ImageErrors.Corrupt, "size is")]
    [InlineData(32, 4, 1UL, BlockErrors.Unsupported, "encrypted")]
    [InlineData(32, 4, 2UL, BlockErrors.Unsupported, "encrypted")]
    [InlineData(36, 4, 0UL, ImageErrors.Corrupt, "l1_size is 0")]
    [InlineData(36, 4, 0xffffffffUL, ImageErrors.Corrupt, "l1_size")]
    [InlineData(36, 4, 0x3fffffUL, BlockErrors.Truncated, "l1_table_offset")]
    [InlineData(40, 8, 0UL, ImageErrors.Corrupt, "l1_table_offset")]
    [InlineData(40, 8, 1UL, ImageErrors.Corrupt, "l1_table_offset is 1,")]
    [InlineData(40, 8, 0x10000000UL, BlockErrors.Truncated, "l1_table_offset")]
    [InlineData(40, 8, 0x7ffffffffffff000UL, ImageErrors.Corrupt, "l1_table_offset")]
    [InlineData(48, 8, 0UL, ImageErrors.Corrupt, "refcount_table_offset")]
    [InlineData(48, 8, 0x10000000UL, BlockErrors.Truncated, "refcount_table_offset")]
    [InlineData(56, 4, 0UL, ImageErrors.Corrupt, "refcount_table_clusters is 0")]
    [InlineData(56, 4, 0xffffffffUL, ImageErrors.Corrupt, "refcount_table_clusters")]
    [InlineData(56, 4, 1000UL, BlockErrors.Truncated, "refcount_table_offset")]
    [InlineData(60, 4, 0xffffffffUL, ImageErrors.Corrupt, "nb_snapshots")]
    [InlineData(60, 4, 3UL, ImageErrors.Corrupt, "snapshot 0's")]
    [InlineData(64, 8, ulong.MaxValue, ImageErrors.Corrupt, "snapshots_offset")]
    [InlineData(72, 8, 2UL, ImageErrors.Corrupt, "marked corrupt")]
    [InlineData(72, 8, 4UL, BlockErrors.Unsupported, "external data file")]
    [InlineData(72, 8, 8UL, ImageErrors.Corrupt, "compression_type is 0")]
    [InlineData(104, 1, 1UL, ImageErrors.Corrupt, "compression_type is 1")]
    [InlineData(72, 8, 16UL, ImageErrors.Corrupt, "cluster_bits is 12, with extended L2")]
    [InlineData(72, 8, 32UL, BlockErrors.Unsupported, "feature bit 5")]
    [InlineData(72, 8, 1UL << 63, BlockErrors.Unsupported, "feature bit 63")]
    [InlineData(96, 4, 7UL, ImageErrors.Corrupt, "refcount_order is 7")]
    [InlineData(100, 4, 72UL, ImageErrors.Corrupt, "header_length is 72")]
    [InlineData(100, 4, 0xffffffffUL, ImageErrors.Corrupt, "header_length")]
    public void A_bad_header_field_is_refused_by_name(int at, int width, ulong value, string kind, string part)
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        Put(image, at, width, value);

        BlockException failure = OpenFails(image);

        Assert.Equal(kind, failure.Kind);
        Assert.Contains(part, failure.Message, StringComparison.Ordinal);
        Assert.Contains("memory.qcow2", failure.Message, StringComparison.Ordinal);
    }

    // Signed, these lie before the file; the first was found by a fuzzer.
    [Theory]
    [InlineData(0x93E4_0000_0000_0000UL)]
    [InlineData(1UL << 63)]
    [InlineData(ulong.MaxValue - ClusterBytes + 1)]
    [InlineData(1UL << 56)]
    public void A_snapshot_whose_l1_table_is_in_no_file_is_refused_as_damage(ulong offsetBytes)
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        int tableAt = image.Length;
        Array.Resize(ref image, tableAt + ClusterBytes);
        Put(image, 60, 4, 1);
        Put(image, 64, 8, (ulong)tableAt);
        Put(image, tableAt, 8, offsetBytes);
        Put(image, tableAt + 8, 4, 1);

        BlockException failure = OpenFails(image);

        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
        Assert.Contains($"snapshot 0's L1 table offset is {offsetBytes}", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1UL)]
    [InlineData(2UL)]
    [InlineData(3UL)]
    public async Task Dirty_and_corrupt_images_are_readable(ulong bits)
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        Put(image, 72, 8, bits);
        MemoryContainer container = new(image, isReadOnly: true);
        await using ImageNode node = Qcow2Map.Open(container);

        await node.ReadAsync(0, new byte[512], CancellationToken.None);

        Assert.Equal(0, container.ChangeCount);
    }

    // Goal: what a program leaves that writes refcounts late is counted anew before the first write. Method: the refcounts
    // of two clusters are taken away, as if they had never been written.
    [Fact]
    public async Task A_dirty_image_gets_its_refcounts_before_it_is_written()
    {
        (byte[] image, int tableBytes) = await WithTwoClustersAsync();
        int block = (int)Field(image, ClusterBytes);
        for (int i = 0; i < 2; i++)
        {
            int dataCluster = (int)(Field(image, tableBytes + (8 * i)) & 0xffffffff) / ClusterBytes;
            Put(image, block + (2 * dataCluster), 2, 0);
        }

        Put(image, 72, 8, Qcow2Header.DirtyBit);
        MemoryContainer container = new(image);
        await using (ImageNode node = Qcow2Map.Open(container))
        {
            await node.WriteAsync(9 * ClusterBytes, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
            byte[] read = new byte[2 * ClusterBytes];
            await node.ReadAsync(0, read, CancellationToken.None);
            Assert.Equal(1, read[0]);
            Assert.Equal(2, read[^1]);
        }

        Assert.Equal(0UL, Field(container.Content, 72));
        ImageAudit.LeaksAtMost(container.Content, "after the rebuild");
    }

    [Fact]
    public async Task A_dirty_image_with_more_wrong_than_refcounts_is_not_opened_for_writing()
    {
        (byte[] image, int tableBytes) = await WithTwoClustersAsync();
        Put(image, tableBytes, 8, 0x8000_0000_1000_0000UL);
        Put(image, 72, 8, Qcow2Header.DirtyBit);

        BlockException failure = OpenFails(image);

        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
        Assert.Contains("Test-FleeceImage", failure.Message, StringComparison.Ordinal);
    }

    // Goal: clusters in use that are not counted are never handed out again, so nothing is written beside them either.
    [Fact]
    public async Task Nothing_is_written_through_a_table_whose_clusters_are_not_counted()
    {
        (byte[] image, int tableBytes) = await WithTwoClustersAsync();
        int dataCluster = (int)(Field(image, tableBytes) & 0xffffffff) / ClusterBytes;
        Put(image, (int)Field(image, ClusterBytes) + (2 * dataCluster), 2, 0);
        MemoryContainer container = new(image);
        await using ImageNode node = Qcow2Map.Open(container);
        byte[] data = new byte[ClusterBytes];
        await node.ReadAsync(0, data, CancellationToken.None);
        Assert.Equal(1, data[0]);
        foreach (int cluster in new[] { 0, 1, 5 })
        {
            BlockException failure = await Images.FailsAsync(
                ImageErrors.Corrupt,
                () => node.WriteAsync(cluster * ClusterBytes, data, WriteFlags.None, CancellationToken.None).AsTask());
            Assert.Contains("has refcount 0", failure.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, container.WriteCount);
    }

    [Fact]
    public void An_L2_table_that_is_the_L1_table_is_refused()
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        Put(image, (int)Field(image, 40), 8, 0x8000_0000_0000_0000UL + Field(image, 40));

        Assert.Contains("two metadata tables share", OpenFails(image).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_extension_longer_than_its_place_is_refused_by_its_type()
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        Put(image, 112, 4, 0x12345678);
        Put(image, 116, 4, 0x7fffffff);

        Assert.Contains("0x12345678", OpenFails(image).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_unknown_feature_is_called_by_the_name_the_image_gives_it()
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        Put(image, 72, 8, 1UL << 40);
        Put(image, 112, 4, 0x6803f857);
        Put(image, 116, 4, 48);
        image[121] = 40;
        Encoding.ASCII.GetBytes("teleport\u001bation").CopyTo(image, 122);

        BlockException failure = OpenFails(image);

        Assert.Equal(BlockErrors.Unsupported, failure.Kind);
        Assert.Contains("bit 40 ('teleport?ation')", failure.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(10)]
    [InlineData(100)]
    [InlineData(5000)]
    [InlineData(9000)]
    public void A_file_cut_short_is_refused(int lengthBytes)
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes)[..lengthBytes];

        Assert.Equal(BlockErrors.Truncated, OpenFails(image).Kind);
    }

    [Theory]
    [InlineData(0x1000_0000UL)]
    [InlineData(0x0000_0001UL)]
    [InlineData(0x4000_0000_0000_1000UL)]
    [InlineData(0x8000_0000_0000_0000UL)]
    [InlineData(0x8000_0000_0000_0000UL + (2 * ClusterBytes))]
    public void An_L1_entry_that_points_nowhere_or_at_a_table_is_refused(ulong entry)
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        Put(image, (int)Field(image, 40), 8, entry);

        Assert.Equal(ImageErrors.Corrupt, OpenFails(image).Kind);
    }

    [Fact]
    public void A_refcount_table_entry_behind_the_end_is_refused()
    {
        byte[] image = Images.Empty(SizeBytes, ClusterBytes);
        Put(image, ClusterBytes + 8, 8, 0x1000_0000);

        Assert.Equal(ImageErrors.Corrupt, OpenFails(image).Kind);
    }

    // The entry of disk offset 0 is made bad; the cluster after it must stay usable.
    [Theory]
    [InlineData(0x8000_0000_1000_0000UL)]
    [InlineData(0x8000_0000_0000_0000UL)]
    [InlineData(0x8000_0000_0000_1000UL)]
    [InlineData(0x8000_0000_0000_0200UL)]
    [InlineData(0x8000_0000_0000_0002UL)]
    [InlineData(ulong.MaxValue & ~(1UL << 62))]
    [InlineData(0UL)]
    public async Task A_bad_L2_entry_spoils_its_own_cluster_only(ulong entry)
    {
        (byte[] image, int tableBytes) = await WithTwoClustersAsync();
        Put(image, tableBytes, 8, entry == 0 ? 0x8000_0000_0000_0000UL + (ulong)tableBytes : entry);
        MemoryContainer container = new(image);
        byte[] data = new byte[ClusterBytes];
        await using (ImageNode node = Qcow2Map.Open(container))
        {
            await Images.FailsAsync(
                ImageErrors.Corrupt, () => node.ReadAsync(0, data, CancellationToken.None).AsTask());
            await Images.FailsAsync(
                ImageErrors.Corrupt,
                () => node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None).AsTask());
            await Images.FailsAsync(
                ImageErrors.Corrupt, () => node.DiscardAsync(0, ClusterBytes, CancellationToken.None).AsTask());
            await Images.FailsAsync(
                ImageErrors.Corrupt, () => node.GetStatusAsync(0, ClusterBytes, CancellationToken.None).AsTask());
            Assert.Equal(0, container.WriteCount);
            await node.ReadAsync(ClusterBytes, data, CancellationToken.None);
            Assert.Equal(2, data[0]);
            await node.WriteAsync(2 * ClusterBytes, data, WriteFlags.None, CancellationToken.None);
        }

        ulong kept = BinaryPrimitives.ReadUInt64BigEndian(container.Content.AsSpan(tableBytes));
        Assert.Equal(entry == 0 ? 0x8000_0000_0000_0000UL + (ulong)tableBytes : entry, kept);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task A_cluster_with_a_wrong_refcount_is_not_freed(int refcount)
    {
        (byte[] image, int tableBytes) = await WithTwoClustersAsync();
        int dataCluster = (int)(Field(image, tableBytes) & 0xffffffff) / ClusterBytes;
        int block = (int)Field(image, ClusterBytes);
        Put(image, block + (2 * dataCluster), 2, (ulong)refcount);
        MemoryContainer container = new(image);
        await using ImageNode node = Qcow2Map.Open(container);

        BlockException failure = await Images.FailsAsync(
            ImageErrors.Corrupt, () => node.DiscardAsync(0, ClusterBytes, CancellationToken.None).AsTask());

        Assert.Contains($"refcount {refcount}", failure.Message, StringComparison.Ordinal);
        Assert.Equal(0, container.WriteCount);
    }

    // Goal: no damage makes anything but an engine error, or takes much memory. Method: random bytes of the metadata
    // changed, then requests all over the disk.
    [Fact]
    public async Task Random_damage_gives_engine_errors_and_nothing_else()
    {
        Seeds seeds = Seeds.FromEnvironment();
        (byte[] good, _) = await WithTwoClustersAsync();
        byte[] buffer = new byte[SizeBytes];
        long mostBytes = 0;
        for (int round = 0; round < 1500; round++)
        {
            byte[] image = (byte[])good.Clone();
            for (int i = seeds.Next(6); i >= 0; i--)
            {
                int at = seeds.Chance(40) ? seeds.Next(112) : seeds.Next(image.Length);
                image[at] = seeds.Chance(50) ? (byte)(image[at] ^ (1 << seeds.Next(8))) : (byte)seeds.Next(256);
            }

            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                ImageNode node = Qcow2Map.Open(new MemoryContainer(image));
                long lengthBytes = Math.Min(node.Geometry.LengthBytes, buffer.Length);
                await node.ReadAsync(0, buffer.AsMemory(0, (int)lengthBytes), CancellationToken.None);
                await node.WriteAsync(0, buffer.AsMemory(0, 9000), WriteFlags.None, CancellationToken.None);
                await node.DiscardAsync(0, lengthBytes, CancellationToken.None);
                await node.FlushAsync(CancellationToken.None);
                await node.DisposeAsync();
            }
            catch (BlockException)
            {
                // Any engine error will do; which one depends on what was hit.
            }

            mostBytes = Math.Max(mostBytes, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.InRange(mostBytes, 0, 512L << 20);
    }

    private static async ValueTask<(byte[] Image, int TableBytes)> WithTwoClustersAsync()
    {
        MemoryContainer container = new(Images.Empty(SizeBytes, ClusterBytes));
        await using (ImageNode node = Qcow2Map.Open(container))
        {
            byte[] data = new byte[ClusterBytes];
            data.AsSpan().Fill(1);
            await node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);
            data.AsSpan().Fill(2);
            await node.WriteAsync(ClusterBytes, data, WriteFlags.None, CancellationToken.None);
        }

        byte[] image = container.Content;
        return (image, (int)(Field(image, (int)Field(image, 40)) & 0xffffffff));
    }

    private static BlockException OpenFails(byte[] image)
    {
        MemoryContainer container = new(image);
        BlockException failure = Assert.Throws<BlockException>(() => Qcow2Map.Open(container));
        Assert.Equal(0, container.ChangeCount);
        return failure;
    }

    private static ulong Field(byte[] image, int at) => BinaryPrimitives.ReadUInt64BigEndian(image.AsSpan(at));

    private static void Put(byte[] image, int at, int width, ulong value)
    {
        for (int i = width - 1; i >= 0; i--)
        {
            image[at + i] = (byte)value;
            value >>= 8;
        }
    }
}
