// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Vhdx;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>Structures that are damaged, hostile or beyond this driver: a named error, little memory, no write.</summary>
public sealed class VhdxRefusalTests
{
    private const int MiB = VhdxImages.MiB;
    private const int SizeBytes = 8 * MiB;
    private const int Items = VhdxImages.MetadataOffsetBytes + 65536;

    [Theory]
    [InlineData(66, 2, 2UL, BlockErrors.Unsupported, "version is 2")]
    [InlineData(64, 2, 1UL, BlockErrors.Unsupported, "log_version 1")]
    [InlineData(68, 4, 4096UL, ImageErrors.Corrupt, "log_length is 4096")]
    [InlineData(68, 4, 0xfff00000UL, ImageErrors.Corrupt, "log_length is 4293918720")]
    [InlineData(72, 8, 0UL, ImageErrors.Corrupt, "log_offset is 0")]
    [InlineData(72, 8, 0x7ffffffffff00000UL, ImageErrors.Corrupt, "log_offset")]
    [InlineData(72, 8, 2UL * MiB, ImageErrors.Corrupt, "overlaps the log")]
    public void A_bad_header_field_is_refused_by_name(int field, int width, ulong value, string kind, string part)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        VhdxImages.PutInHeaders(image, field, width, value);

        CheckRefused(image, kind, part);
    }

    [Theory]
    [InlineData(8, 4, 0UL, ImageErrors.Corrupt, "no BAT region")]
    [InlineData(8, 4, 2048UL, ImageErrors.Corrupt, "entry_count is 2048")]
    [InlineData(8, 4, 0xffffffffUL, ImageErrors.Corrupt, "entry_count")]
    [InlineData(8, 4, 1UL, ImageErrors.Corrupt, "no metadata region")]
    [InlineData(16, 8, 0x1122334455667788UL, BlockErrors.Unsupported, "required region 55667788-3344-1122")]
    [InlineData(32, 8, 0UL, ImageErrors.Corrupt, "file_offset of the BAT region is 0")]
    [InlineData(32, 8, 4096UL, ImageErrors.Corrupt, "file_offset of the BAT region is 4096")]
    [InlineData(32, 8, 0xfffffffffff00000UL, ImageErrors.Corrupt, "file_offset of the BAT region")]
    [InlineData(32, 8, 1UL * MiB, ImageErrors.Corrupt, "overlaps the log")]
    [InlineData(32, 8, 1UL << 40, BlockErrors.Truncated, "its regions reach up to")]
    [InlineData(40, 4, 0UL, ImageErrors.Corrupt, "length of the BAT region is 0")]
    [InlineData(40, 4, 5000UL, ImageErrors.Corrupt, "length of the BAT region is 5000")]
    [InlineData(64, 8, 3UL * MiB, ImageErrors.Corrupt, "overlaps the BAT region")]
    public void A_bad_region_is_refused_by_name(int field, int width, ulong value, string kind, string part)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        VhdxImages.PutInRegionTables(image, field, width, value);

        CheckRefused(image, kind, part);
    }

    [Theory]
    [InlineData(VhdxImages.MetadataOffsetBytes, 1, ImageErrors.Corrupt, "signature 'metadata'")]
    [InlineData(VhdxImages.MetadataOffsetBytes + 10, 0xffffUL, ImageErrors.Corrupt, "entry_count is 65535")]
    [InlineData(VhdxImages.MetadataOffsetBytes + 10, 1UL, ImageErrors.Corrupt, "no metadata item")]
    [InlineData(VhdxImages.MetadataOffsetBytes + 32, 1UL, BlockErrors.Unsupported, "required metadata item")]
    [InlineData(VhdxImages.MetadataOffsetBytes + 32 + 18, 0UL, ImageErrors.Corrupt, "has the offset 0")]
    [InlineData(VhdxImages.MetadataOffsetBytes + 32 + 18, 0xffffUL, ImageErrors.Corrupt, "not within the metadata region")]
    [InlineData(VhdxImages.MetadataOffsetBytes + 32 + 22, 0xffffUL, ImageErrors.Corrupt, "the length 4294901768")]
    [InlineData(VhdxImages.MetadataOffsetBytes + 32 + 20, 4UL, ImageErrors.Corrupt, "length of 4 bytes")]
    [InlineData(Items, 1UL, ImageErrors.Corrupt, "block_size is")]
    [InlineData(Items + 2, 0UL, ImageErrors.Corrupt, "block_size is 0")]
    [InlineData(Items + 2, 0x0018UL, ImageErrors.Corrupt, "block_size is 1572864")]
    [InlineData(Items + 2, 0x2000UL, ImageErrors.Corrupt, "block_size is 536870912")]
    [InlineData(Items + 4, 2UL, ImageErrors.Corrupt, "parent locator")]
    [InlineData(Items + 8, 100UL, ImageErrors.BadImageSize, "not a multiple")]
    [InlineData(Items + 10, 0UL, ImageErrors.EmptyImage, "virtual_disk_size is 0")]
    [InlineData(Items + 13, 0x4100UL, ImageErrors.Corrupt, "virtual_disk_size")]
    [InlineData(Items + 14, 0x8000UL, ImageErrors.Corrupt, "virtual_disk_size")]
    [InlineData(Items + 12, 0x0100UL, ImageErrors.Corrupt, "the BAT region has")]
    [InlineData(Items + 32, 520UL, ImageErrors.Corrupt, "logical_sector_size is 520")]
    [InlineData(Items + 36, 1UL, ImageErrors.Corrupt, "physical_sector_size is 1")]
    public void A_bad_metadata_item_is_refused_by_name(int at, ulong value, string kind, string part)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        VhdxImages.Put(image, at, 2, value);

        CheckRefused(image, kind, part);
    }

    [Theory]
    [InlineData(4)]
    [InlineData(600)]
    [InlineData(65536)]
    [InlineData(MiB)]
    [InlineData(3 * MiB)]
    [InlineData((3 * MiB) + 512)]
    [InlineData((4 * MiB) - 1)]
    public void A_file_cut_short_is_refused(int lengthBytes)
    {
        byte[] image = VhdxImages.Empty(SizeBytes)[..lengthBytes];

        BlockException failure = Assert.Throws<BlockException>(() => VhdxImages.Open(image));

        Assert.Contains(failure.Kind, (string[])[BlockErrors.Truncated, ImageErrors.WrongFormat, ImageErrors.Corrupt]);
    }

    [Fact]
    public async Task An_image_without_a_log_is_read_and_not_written()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        VhdxImages.PutInHeaders(image, 68, 4, 0);

        CheckRefused((byte[])image.Clone(), BlockErrors.Unsupported, "log_length is 0");

        await using ImageNode node = VhdxImages.Open(image, isReadOnly: true);
        Assert.Equal(SizeBytes, node.Geometry.LengthBytes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task One_damaged_header_is_enough_to_open_and_two_are_not(int damaged)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        image[(int)VhdxFormat.HeaderOffsetsBytes[damaged] + 20] ^= 1;
        await VhdxImages.Open((byte[])image.Clone()).DisposeAsync();

        image[(int)VhdxFormat.HeaderOffsetsBytes[1 - damaged] + 2000] ^= 1;

        CheckRefused(image, ImageErrors.Corrupt, "neither of its two headers");
    }

    [Theory]
    [InlineData(VhdxFormat.RegionTableOffsetBytes, VhdxFormat.RegionTableCopyOffsetBytes)]
    [InlineData(VhdxFormat.RegionTableCopyOffsetBytes, VhdxFormat.RegionTableOffsetBytes)]
    public async Task One_damaged_region_table_is_enough_to_open_and_two_are_not(long first, long second)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        image[first + 20] ^= 1;
        await VhdxImages.Open((byte[])image.Clone()).DisposeAsync();

        image[second + 60000] ^= 1;

        CheckRefused(image, ImageErrors.Corrupt, "neither of its two region tables");
    }

    [Fact]
    public void Two_headers_of_one_number_that_differ_are_refused()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        VhdxImages.PutInHeaders(image, 8, 8, 9);
        VhdxImages.Put(image, 65536 + 20, 1, 0xAB);
        VhdxFormat.Seal(image.AsSpan(65536, 4096));

        CheckRefused(image, ImageErrors.Corrupt, "sequence_number 9");
    }

    // A damaged BAT entry is refused where it is used, and the whole image when it is to be written to.
    [Theory]
    [InlineData(0x0000_0000_0000_0006UL, "not within the file")]
    [InlineData(0x0000_0000_0010_0006UL, "overlaps the image's own structures")]
    [InlineData(0x0000_0000_0030_0006UL, "overlaps the image's own structures")]
    [InlineData(0x0000_0000_0080_0006UL, "not within the file")]
    [InlineData(0xffff_ffff_fff0_0006UL, "not within the file")]
    [InlineData(0x7fff_ffff_fff0_0006UL, "not within the file")]
    [InlineData(0x0000_0000_0040_0007UL, "no parent", "no state")]
    [InlineData(0x0000_0000_0040_0004UL, "no state")]
    public void A_wild_BAT_entry_is_refused_by_its_number_and_value(ulong entry, string part, string? readPart = null)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + MiB);
        VhdxImages.Put(image, VhdxImages.BatOffsetBytes + 16, 8, entry);
        ImageNode node = VhdxImages.Open(image, isReadOnly: true);
        node.Read(0, new byte[2 * MiB]);

        BlockException read = Assert.Throws<BlockException>(() => node.Read(2 * MiB, new byte[1]));
        MemoryContainer container = new(image);
        BlockException open = Assert.Throws<BlockException>(() => VhdxImages.Open(container));

        Assert.Contains(readPart ?? part, read.Message, StringComparison.Ordinal);
        Assert.Contains(part, open.Message, StringComparison.Ordinal);
        Assert.Contains($"BAT entry 2 is 0x{entry:x16}", read.Message, StringComparison.Ordinal);
        Assert.Contains($"0x{entry:x16}", open.Message, StringComparison.Ordinal);
        Assert.Equal(0, container.ChangeCount);
    }

    [Fact]
    public void Two_blocks_in_one_place_are_refused_for_writing()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + MiB);
        VhdxImages.Put(image, VhdxImages.BatOffsetBytes, 8, new BatEntry(BlockState.FullyPresent, 4 * MiB).Value);
        VhdxImages.Put(image, VhdxImages.BatOffsetBytes + 8, 8, new BatEntry(BlockState.FullyPresent, 4 * MiB).Value);
        MemoryContainer container = new(image);

        BlockException failure = Assert.Throws<BlockException>(() => VhdxImages.Open(container));

        Assert.Contains("overlaps another block", failure.Message, StringComparison.Ordinal);
        Assert.Equal(0, container.ChangeCount);
    }

    [Fact]
    public async Task An_optional_region_that_nobody_knows_is_left_alone()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + MiB);
        image.AsSpan(4 * MiB).Fill(0xCC);
        VhdxImages.PutInRegionTables(image, 80, 8, 0x1234);
        VhdxImages.PutInRegionTables(image, 96, 8, 4 * MiB);
        VhdxImages.PutInRegionTables(image, 104, 4, MiB);
        VhdxImages.PutInRegionTables(image, 8, 4, 3);
        MemoryContainer container = new(image);
        ImageNode node = VhdxImages.Open(container);

        await node.WriteAsync(0, new byte[] { 1 }, WriteFlags.None, CancellationToken.None);
        await node.DisposeAsync();

        Assert.False(container.Content.AsSpan(4 * MiB, MiB).ContainsAnyExcept((byte)0xCC));
        Assert.True(VhdxImages.Check(container.Content).IsClean);
    }

    // Goal: reading a disk of the largest size costs little memory. Method: a sparse file whose BAT alone has 512 MiB.
    [Fact]
    public async Task The_cache_of_the_largest_disk_stays_within_its_budget()
    {
        using TempFolder folder = new();
        string path = folder.File("huge.vhdx");
        await Image.CreateAsync(path, VhdxImages.Options(64L << 40, MiB));
        (IBlockNode node, _) = await Image.OpenAsync(path, new ImageOpenOptions { MetadataCacheBytes = 4 * MiB });
        await using IBlockNode owned = node;
        for (long atBytes = 0; atBytes < 64L << 40; atBytes += (64L << 40) / 3000)
        {
            await node.ReadAsync(atBytes, new byte[512], CancellationToken.None);
        }

        await node.WriteAsync((64L << 40) - 512, new byte[] { 5 }, WriteFlags.ForceUnitAccess, CancellationToken.None);

        Assert.InRange(((VhdxMap)((ImageNode)node).Map).Pages.Cache.Resident.Count, 1, 1100);
    }

    private static void CheckRefused(byte[] image, string kind, string part)
    {
        MemoryContainer container = new(image);

        BlockException failure = Assert.Throws<BlockException>(() => VhdxImages.Open(container));

        Assert.True(kind == failure.Kind, failure.ToString());
        Assert.Contains(part, failure.Message, StringComparison.Ordinal);
        Assert.Contains(container.Path, failure.Message, StringComparison.Ordinal);
        Assert.Equal(0, container.ChangeCount);
    }
}
