// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>Images that contradict themselves: a clear error that names the field, and never a write.</summary>
public sealed class VhdRefusalTests : IDisposable
{
    private const int SizeBytes = 640 * 1024;
    private const int BlockBytes = 65536;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>What is wrong with a header's field, and what the message says of it.</summary>
    public static TheoryData<int, uint, string, string> BadHeaders => new()
    {
        { 16, 0x8000_0000, ImageErrors.Corrupt, "table offset is 9223372036854777344" },
        { 16, 0x7fff_ffff, ImageErrors.Corrupt, "table offset" },
        { 20, 1537, ImageErrors.Corrupt, "table offset is 1537" },
        { 20, 0, ImageErrors.Corrupt, "table offset is 0" },
        { 20, 1024, ImageErrors.Corrupt, "table offset is 1024" },
        { 20, 0x4000_0000, BlockErrors.Truncated, "table offset is 1073741824" },
        { 24, 0x0002_0000, BlockErrors.Unsupported, "header version is 0x00020000" },
        { 28, 0, ImageErrors.Corrupt, "max table entries is 0" },
        { 28, 9, ImageErrors.Corrupt, "max table entries is 9" },
        { 28, uint.MaxValue, BlockErrors.Truncated, "4294967295 entries" },
        { 32, 0, ImageErrors.Corrupt, "block size is 0" },
        { 32, 256, ImageErrors.Corrupt, "block size is 256" },
        { 32, 65535, ImageErrors.Corrupt, "block size is 65535" },
        { 32, 1u << 31, ImageErrors.Corrupt, "block size is 2147483648" },
    };

    [Theory]
    [MemberData(nameof(BadHeaders))]
    public async Task A_header_that_cannot_be_is_refused_by_field_and_value(int field, uint value, string kind, string says)
    {
        byte[] image = await FullAsync();
        VhdImages.PatchHeader(image, header => BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(field), value));

        await RefusesAsync(image, kind, says, isAlsoRefusedReadOnly: true);
    }

    [Theory]
    [InlineData(12, 0x0002_0000u, ImageErrors.Corrupt, "file format version 0x00020000")]
    [InlineData(20, 0u, ImageErrors.Corrupt, "data offset is 0")]
    [InlineData(20, 513u, ImageErrors.Corrupt, "data offset is 513")]
    [InlineData(20, 0x4000_0000u, BlockErrors.Truncated, "data offset is 1073741824")]
    [InlineData(16, 0x8000_0000u, ImageErrors.Corrupt, "data offset is 9223372036854776320")]
    [InlineData(48, 0x8000_0000u, BlockErrors.Unsupported, "current size is")]
    [InlineData(48, 0x0000_0200u, BlockErrors.Unsupported, "2040 GiB")]
    [InlineData(52, 0u, ImageErrors.EmptyImage, "current size 0")]
    [InlineData(60, 6u, ImageErrors.Corrupt, "disk type 6")]
    public async Task A_footer_that_cannot_be_is_refused_by_field_and_value(int field, uint value, string kind, string says)
    {
        byte[] image = await FullAsync();
        VhdImages.PatchFooters(image, footer => BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(field), value));

        await RefusesAsync(image, kind, says, isAlsoRefusedReadOnly: true);
    }

    [Fact]
    public async Task A_header_whose_bytes_do_not_add_up_is_refused()
    {
        byte[] image = await FullAsync();
        image[512 + 800] ^= 1;

        await RefusesAsync(image, ImageErrors.Corrupt, "the header has the checksum", isAlsoRefusedReadOnly: true);
        image[512] = 0;
        await RefusesAsync(image, ImageErrors.Corrupt, "no cookie 'cxsparse'", isAlsoRefusedReadOnly: true);
    }

    [Fact]
    public async Task Footers_whose_bytes_do_not_add_up_are_refused_when_both_are_damaged()
    {
        byte[] image = await FullAsync();
        image[100] ^= 1;
        image[^100] ^= 1;

        await RefusesAsync(image, ImageErrors.Corrupt, "the footer at the end has the checksum", isAlsoRefusedReadOnly: true);
        byte[] fixedImage = VhdImages.Empty(VhdDiskType.Fixed, SizeBytes);
        fixedImage[^100] ^= 1;
        await RefusesAsync(fixedImage, ImageErrors.Corrupt, "has the checksum", isAlsoRefusedReadOnly: true);
    }

    [Fact]
    public async Task Footers_that_contradict_each_other_are_read_by_the_one_at_the_end_and_not_written()
    {
        byte[] image = await FullAsync();
        VhdImages.Patch(image.AsSpan(0, 512), 64, footer => BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(52), SizeBytes - 512));

        await RefusesAsync(image, ImageErrors.Corrupt, $"a disk of {SizeBytes - 512} bytes, not {SizeBytes}");
    }

    // An entry, and what the message says of it. Blocks are 65,536 bytes and a bitmap of 512.
    [Theory]
    [InlineData(0u, "own header")]
    [InlineData(1u, "own header")]
    [InlineData(3u, "own header")]
    [InlineData(0xffff_fffeu, "does not end before")]
    [InlineData(0x0010_0000u, "does not end before")]
    public async Task A_table_entry_that_points_nowhere_is_refused_for_writing_and_its_block_for_reading(uint sector, string says)
    {
        byte[] image = await FullAsync();
        BinaryPrimitives.WriteUInt32BigEndian(VhdImages.Entry(image, 3), sector);

        await RefusesAsync(image, ImageErrors.Corrupt, $"entry 3 of the block allocation table is {sector} ");
        BlockException failure = await RefusesAsync(image, ImageErrors.Corrupt, says);
        Assert.Equal(1536 + 12, failure.OffsetBytes);
        await using ImageNode node = VhdImages.Open(new MemoryContainer(image, isReadOnly: true));
        await node.ReadAsync(0, new byte[3 * BlockBytes], CancellationToken.None);
        await Images.FailsAsync(
            ImageErrors.Corrupt, () => node.ReadAsync(4 * BlockBytes - 1, new byte[1], CancellationToken.None).AsTask());
        await Images.FailsAsync(
            ImageErrors.Corrupt, () => node.GetStatusAsync(3 * BlockBytes, 1, CancellationToken.None).AsTask());
        await node.ReadAsync(4 * BlockBytes, new byte[BlockBytes], CancellationToken.None);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(128)]
    [InlineData(-128)]
    public async Task Blocks_that_overlap_are_refused_for_writing_and_both_for_reading(int bySectors)
    {
        byte[] image = await FullAsync();
        uint sector = BinaryPrimitives.ReadUInt32BigEndian(VhdImages.Entry(image, 5));
        BinaryPrimitives.WriteUInt32BigEndian(VhdImages.Entry(image, 2), (uint)(sector + bySectors));

        await RefusesAsync(image, ImageErrors.Corrupt, "where another block lies too");
        await using ImageNode node = VhdImages.Open(new MemoryContainer(image, isReadOnly: true));
        foreach (int block in (int[])[2, 5])
        {
            await Images.FailsAsync(
                ImageErrors.Corrupt, () => node.ReadAsync(block * BlockBytes, new byte[1], CancellationToken.None).AsTask());
        }
    }

    [Fact]
    public async Task A_file_that_was_cut_short_anywhere_is_read_where_it_is_whole_and_never_wrong()
    {
        byte[] image = await FullAsync();
        byte[] content = new VhdReader(image).Read();
        for (int lengthBytes = image.Length - 1; lengthBytes > 0; lengthBytes -= 7919)
        {
            byte[] cut = image[..lengthBytes];
            try
            {
                await using ImageNode node = VhdImages.Open(new MemoryContainer(cut, isReadOnly: true));
                for (int block = 0; block < SizeBytes / BlockBytes; block++)
                {
                    byte[] read = new byte[BlockBytes];
                    try
                    {
                        await node.ReadAsync(block * BlockBytes, read, CancellationToken.None);
                        Assert.True(content.AsSpan(block * BlockBytes, BlockBytes).SequenceEqual(read), $"cut at {lengthBytes}");
                    }
                    catch (BlockException failure)
                    {
                        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
                    }
                }
            }
            catch (BlockException failure)
            {
                Assert.Contains(
                    failure.Kind, (string[])[ImageErrors.Corrupt, BlockErrors.Truncated, ImageErrors.WrongFormat]);
            }

            // All blocks are in use, the last up to the footer: without a part of a block it is not written to.
            MemoryContainer writable = new(cut);
            if (lengthBytes < image.Length - 512)
            {
                Assert.ThrowsAny<BlockException>(() => VhdImages.Open(writable));
            }

            Assert.Equal(0, writable.ChangeCount);
        }
    }

    [Fact]
    public async Task A_fixed_image_that_was_cut_short_is_refused()
    {
        byte[] image = VhdImages.Empty(VhdDiskType.Fixed, SizeBytes);
        string path = _folder.NewFile(".vhd");
        await File.WriteAllBytesAsync(path, image[512..]);

        BlockException failure = await Images.FailsAsync(
            BlockErrors.Truncated, async () => await VhdImages.OpenAsync(path));
        Assert.Contains($"{SizeBytes} bytes, and only {SizeBytes - 512}", failure.Message, StringComparison.Ordinal);
    }

    // Any byte changed: the image opens and reads the right bytes, or is refused, or only blocks of changed entries differ.
    [Fact]
    public async Task Metadata_with_any_byte_changed_is_refused_or_read_in_bounded_time()
    {
        Seeds seeds = Seeds.FromEnvironment();
        byte[] image = await FullAsync();
        Stopwatch watch = Stopwatch.StartNew();
        for (int i = 0; i < 1500; i++)
        {
            byte[] changed = [.. image];
            int count = 1 + seeds.Next(3);
            for (int change = 0; change < count; change++)
            {
                int at = seeds.Chance(50) ? seeds.Next(1700) : changed.Length - 512 + seeds.Next(512);
                changed[at] = (byte)seeds.Next(256);
            }

            if (seeds.Chance(50))
            {
                VhdImages.PatchHeader(changed, _ => { });
                VhdImages.PatchFooters(changed, _ => { });
            }

            MemoryContainer container = new(changed);
            try
            {
                _ = VhdImages.Open(container);
                _ = new VhdDriver().Check(container, ImageRepair.None, CancellationToken.None);
            }
            catch (BlockException)
            {
                // Which field it was is the business of the other tests.
            }

            Assert.True(container.ChangeCount == 0, $"written to, seed {seeds.Seed}");
        }

        Assert.True(watch.Elapsed < TimeSpan.FromMinutes(1), $"{watch.Elapsed}");
    }

    [Theory]
    [InlineData(VhdLimits.MaxSizeBytes + 512, null, false)]
    [InlineData(1L << 62, null, false)]
    [InlineData(1 << 20, 4096, false)]
    [InlineData(1 << 20, 1 << 20, false)]
    [InlineData(1 << 20, VhdLimits.DefaultBlockBytes, true)]
    public async Task What_the_format_cannot_be_is_not_made(long sizeBytes, int? blockBytes, bool isFixed)
    {
        string path = _folder.NewFile(".vhd");

        await Images.FailsAsync(BlockErrors.InvalidArgument, () => Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Vhd,
            SizeBytes = sizeBytes,
            BlockSizeBytes = blockBytes,
            IsFixed = isFixed,
        }).AsTask());

        Assert.False(File.Exists(path));
    }

    private static async ValueTask<byte[]> FullAsync()
    {
        MemoryContainer container = new(VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes, BlockBytes));
        await using (ImageNode node = VhdImages.Open(container))
        {
            await node.WriteAsync(0, new Seeds(1).Bytes(SizeBytes), WriteFlags.None, CancellationToken.None);
        }

        return container.Content;
    }

    // Opened for writing it is refused, with a message, and nothing is written; for reading it is refused when asked so.
    private static async ValueTask<BlockException> RefusesAsync(
        byte[] image, string kind, string says, bool isAlsoRefusedReadOnly = false)
    {
        byte[] before = [.. image];
        MemoryContainer container = new(image);
        BlockException failure = await Images.FailsAsync(kind, async () => await OpenAnyAsync(container));
        Assert.Contains(says, failure.Message, StringComparison.Ordinal);
        Assert.Equal(0, container.ChangeCount);
        Assert.True(before.AsSpan().SequenceEqual(container.Content));
        MemoryContainer forReading = new(image, isReadOnly: true);
        if (isAlsoRefusedReadOnly)
        {
            await Images.FailsAsync(kind, async () => await OpenAnyAsync(forReading));
        }
        else
        {
            await OpenAnyAsync(forReading);
        }

        return failure;
    }

    private static ValueTask OpenAnyAsync(MemoryContainer container)
    {
        VhdFooters footers = VhdFooters.Read(container);
        _ = footers.Footer.Type == VhdDiskType.Fixed
            ? (object)new ImageNode(container, new FixedVhdMap(container, footers), parent: null)
            : VhdMap.Open(container, footers, VhdLimits.MetadataCacheBytes, null);
        return default;
    }
}
