// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Qcow2;
using Fleece.Images.Qcow2.Mapping;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Qcow2;

/// <summary>Compressed clusters in images: QEMU's read here, Fleece's read by QEMU, and what becomes of them.</summary>
public sealed class CompressionImageTests : IDisposable
{
    private const int SizeBytes = (3 * 1024 * 1024) + 512;

    private readonly TempFolder _folder = new();

    /// <summary>Codec, version, cluster size, refcount bits, subclusters.</summary>
    public static TheoryData<ImageCompression, int, int, int, bool> Kinds => new()
    {
        { ImageCompression.Zlib, 2, 512, 16, false },
        { ImageCompression.Zlib, 2, 65536, 16, false },
        { ImageCompression.Zlib, 3, 4096, 1, false },
        { ImageCompression.Zlib, 3, 32768, 16, true },
        { ImageCompression.Zlib, 3, 2097152, 16, false },
        { ImageCompression.Zstd, 3, 512, 64, false },
        { ImageCompression.Zstd, 3, 1024, 2, false },
        { ImageCompression.Zstd, 3, 16384, 16, true },
        { ImageCompression.Zstd, 3, 65536, 16, false },
        { ImageCompression.Zstd, 3, 1048576, 8, false },
    };

    public void Dispose() => _folder.Dispose();

    // Method: whole clusters that get smaller, some that don't and some of zeros, then parts; read back here in small pieces,
    // and whole by QEMU.
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task What_is_written_compressed_is_clean_and_the_same_for_QEMU(
        ImageCompression compression, int version, int clusterBytes, int refcountBits, bool hasSubclusters)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        string path = await CreateAsync(compression, version, clusterBytes, refcountBits, hasSubclusters);
        ReferenceDisk disk = new(SizeBytes);
        await using (IBlockNode node = await OpenAsync(path, compression))
        {
            int stepBytes = Math.Max(clusterBytes, 65536);
            for (int at = 0; at < SizeBytes; at += stepBytes)
            {
                byte[] data = Data(seeds, Math.Min(stepBytes, SizeBytes - at));
                await node.WriteAsync(at, data, WriteFlags.None, CancellationToken.None);
                disk.Write(at, data);
            }

            await WriteAsync(node, disk, 10_000, seeds.Bytes(3_000));
            for (int at = 0; at < SizeBytes; at += 4096)
            {
                byte[] read = new byte[Math.Min(4096, SizeBytes - at)];
                await node.ReadAsync(at, read, CancellationToken.None);
                disk.Check(at, read);
            }
        }

        ImageReport report = await Image.CheckAsync(path, ImageFormat.Qcow2, ImageRepair.None, CancellationToken.None);
        Assert.Empty(report.Findings);

        // Of two or three clusters one may hold what does not get smaller, one zeros, and one be written over.
        Assert.InRange(report.CompressedBlockCount, SizeBytes / clusterBytes > 4 ? 1 : 0, report.AllocatedBlockCount);
        Images.CheckWithQemu(path, disk);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task What_QEMU_compressed_reads_the_same_and_can_be_written_over(
        ImageCompression compression, int version, int clusterBytes, int refcountBits, bool hasSubclusters)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        string raw = _folder.NewFile();
        byte[] content = [.. Enumerable.Range(0, 49).SelectMany(_ => Data(seeds, 65536)).Take(SizeBytes)];
        await File.WriteAllBytesAsync(raw, content);
        string path = _folder.NewFile(".qcow2");
        string options = version == 2
            ? $"compat=0.10,cluster_size={clusterBytes}"
            : $"cluster_size={clusterBytes},refcount_bits={refcountBits},extended_l2={(hasSubclusters ? "on" : "off")}," +
              $"compression_type={(compression == ImageCompression.Zstd ? "zstd" : "zlib")}";
        Qemu.Image("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, raw, path);
        ReferenceDisk disk = new(SizeBytes);
        disk.Write(0, content);

        await using (IBlockNode node = await OpenAsync(path, null))
        {
            byte[] whole = new byte[SizeBytes];
            await node.ReadAsync(0, whole, CancellationToken.None);
            disk.Check(0, whole);
            BlockStatusRun run = await node.GetStatusAsync(0, 512, CancellationToken.None);
            Assert.True(run.Status is BlockStatus.Data or BlockStatus.Zero or BlockStatus.Unallocated);
            for (int i = 0; i < 120; i++)
            {
                await Images.RandomRequestAsync(node, disk, seeds, new BlockRange(0, SizeBytes));
            }
        }

        Images.CheckWithQemu(path, disk, $"seed {seeds.Seed}");
    }

    // Method: four writers, each with a quarter of the disk and random requests on it, whole clusters among them.
    [Theory]
    [InlineData(ImageCompression.Zlib)]
    [InlineData(ImageCompression.Zstd)]
    public async Task Several_writers_compress_side_by_side_and_write_over_what_they_compressed(ImageCompression compression)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        string path = await CreateAsync(compression, 3, 4096, 16, false);
        const int PartBytes = 768 * 1024;
        ReferenceDisk disk = new(SizeBytes);
        await using (IBlockNode node = await OpenAsync(path, compression))
        {
            await Task.WhenAll(Enumerable.Range(0, 4).Select(part => (part, own: seeds.Fork())).Select(writer => Task.Run(async () =>
            {
                BlockRange range = new(writer.part * PartBytes, PartBytes);
                for (long at = range.OffsetBytes; at < range.EndBytes; at += 4096)
                {
                    await WriteAsync(node, disk, at, Data(writer.own, 4096));
                }

                for (int i = 0; i < 150; i++)
                {
                    await Images.RandomRequestAsync(node, disk, writer.own, range);
                }
            })));
        }

        ImageReport report = await Image.CheckAsync(path, ImageFormat.Qcow2, ImageRepair.None, CancellationToken.None);
        Assert.Empty(report.Findings);
        Images.CheckWithQemu(path, disk, $"seed {seeds.Seed}");
    }

    [Fact]
    public async Task Damaged_data_fails_the_requests_that_touch_it_and_no_others()
    {
        string path = await CreateAsync(ImageCompression.Zlib, 3, 65536, 16, false);
        await using (IBlockNode node = await OpenAsync(path, ImageCompression.Zlib))
        {
            await node.WriteAsync(0, Text(65536, 1), WriteFlags.None, CancellationToken.None);
            await node.WriteAsync(65536, Text(65536, 2), WriteFlags.None, CancellationToken.None);
        }

        byte[] image = await File.ReadAllBytesAsync(path);
        ulong entry = FirstL2Entry(image);
        image.AsSpan((int)CompressedExtent.FromEntry(entry, 16).OffsetBytes, 100).Fill(0xff);
        await File.WriteAllBytesAsync(path, image);

        await using IBlockNode damaged = await OpenAsync(path, null);
        BlockException whole = await Images.FailsAsync(
            ImageErrors.Corrupt, () => damaged.ReadAsync(0, new byte[65536], CancellationToken.None).AsTask());
        Assert.Equal(0, whole.OffsetBytes);
        BlockException part = await Images.FailsAsync(
            ImageErrors.Corrupt, () => damaged.ReadAsync(8192, new byte[512], CancellationToken.None).AsTask());
        Assert.Equal(8192, part.OffsetBytes);
        Assert.DoesNotContain("Test-FleeceImage", part.Message, StringComparison.Ordinal);
        Assert.Contains("from a backup", part.Message, StringComparison.Ordinal);
        byte[] other = new byte[65536];
        await damaged.ReadAsync(65536, other, CancellationToken.None);
        Assert.Equal(Text(65536, 2), other);
    }

    [Fact]
    public async Task A_compression_that_is_not_the_images_is_refused()
    {
        string path = await CreateAsync(ImageCompression.Zstd, 3, 65536, 16, false);

        BlockException refusal = await Images.FailsAsync(
            BlockErrors.InvalidArgument, async () => await OpenAsync(path, ImageCompression.Zlib));

        Assert.Contains("Zstd", refusal.Message, StringComparison.Ordinal);
    }

    // Method: whole clusters are written, zeroed and discarded; before every flush images are put together from what was
    // flushed and a random part of what was not. Each must leak at most, and hold what was flushed last.
    [Fact]
    public async Task A_crash_leaves_leaks_at_most_and_no_entry_without_its_data()
    {
        Seeds seeds = Seeds.FromEnvironment();
        const int ClusterBytes = 512;
        const int DiskBytes = 256 * 1024;
        MemoryContainer container = new(Images.Empty(DiskBytes, ClusterBytes));
        Qcow2Attachments attachments = new() { Compression = ImageCompression.Zlib };
        int crashes = 0;
        await using ImageNode node = Qcow2Map.Open(container, attachments);
        byte[] now = new byte[DiskBytes];
        byte[] flushed = new byte[DiskBytes];
        HashSet<int> touched = [];
        container.BeforeFlush = () =>
        {
            if (!seeds.Chance(60))
            {
                return;
            }

            int percent = seeds.Pick(0, 30, 70, 100);
            CheckCrash(container.Crash(() => seeds.Chance(percent)), flushed, touched, ClusterBytes, $"seed {seeds.Seed}");
            crashes++;
        };
        for (int i = 0; i < 500; i++)
        {
            int at = seeds.Next(DiskBytes / ClusterBytes) * ClusterBytes;
            touched.Add(at);
            byte[] data = seeds.Chance(20) ? new byte[ClusterBytes] : Text(ClusterBytes, seeds.Next(200));
            if (seeds.Chance(20))
            {
                await node.DiscardAsync(at, ClusterBytes, CancellationToken.None);
                data = new byte[ClusterBytes];
            }
            else
            {
                await node.WriteAsync(at, data, WriteFlags.None, CancellationToken.None);
            }

            data.CopyTo(now, at);
            if (seeds.Chance(10))
            {
                await node.FlushAsync(CancellationToken.None);
                now.CopyTo(flushed, 0);
                touched.Clear();
            }
        }

        Assert.True(crashes > 30, $"{crashes} crashes");
    }

    private static void CheckCrash(byte[] image, byte[] flushed, HashSet<int> touched, int clusterBytes, string context)
    {
        ImageReport report = new Qcow2Driver().Check(new MemoryContainer(image), ImageRepair.None, CancellationToken.None);
        Assert.True(report.CorruptionCount == 0, $"{context}\n{string.Join('\n', report.Findings.Take(5))}");
        using ImageNode node = Qcow2Map.Open(new MemoryContainer(image, isReadOnly: true));
        byte[] cluster = new byte[clusterBytes];
        for (int at = 0; at < flushed.Length; at += clusterBytes)
        {
            node.Read(at, cluster);
            Assert.True(touched.Contains(at) || flushed.AsSpan(at, clusterBytes).SequenceEqual(cluster), $"{at}, {context}");
        }
    }

    private static async Task WriteAsync(IBlockNode node, ReferenceDisk disk, long offsetBytes, byte[] data)
    {
        await node.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
        disk.Write(offsetBytes, data);
    }

    // Text, noise and zeros, as a disk has them.
    private static byte[] Data(Seeds seeds, int lengthBytes) => seeds.Next(6) switch
    {
        0 => new byte[lengthBytes],
        1 => seeds.Bytes(lengthBytes),
        _ => Text(lengthBytes, seeds.Next(1000)),
    };

    private static byte[] Text(int lengthBytes, int number)
    {
        byte[] text = new byte[lengthBytes];
        for (int i = 0; i < lengthBytes; i++)
        {
            text[i] = (byte)('a' + ((i / 7 * (number + 1)) % 23));
        }

        return text;
    }

    private static ulong FirstL2Entry(byte[] image)
    {
        long l1 = BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(40));
        long l2 = BinaryPrimitives.ReadInt64BigEndian(image.AsSpan((int)l1)) & 0x00ff_ffff_ffff_fe00;
        return BinaryPrimitives.ReadUInt64BigEndian(image.AsSpan((int)l2));
    }

    private static async Task<IBlockNode> OpenAsync(string path, ImageCompression? compression) =>
        (await Image.OpenAsync(path, new ImageOpenOptions { Format = ImageFormat.Qcow2, Compression = compression })).Node;

    private async Task<string> CreateAsync(
        ImageCompression compression, int version, int clusterBytes, int refcountBits, bool hasSubclusters)
    {
        string path = _folder.NewFile(".qcow2");
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = SizeBytes,
            BlockSizeBytes = clusterBytes,
            Compression = compression,
            Version = version,
            RefcountBits = refcountBits,
            HasSubclusters = hasSubclusters,
        });
        return path;
    }
}
