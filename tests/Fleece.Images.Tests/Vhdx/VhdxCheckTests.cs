// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhdx.Blocks;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>What a check finds, and what it repairs.</summary>
public sealed class VhdxCheckTests
{
    private const int MiB = VhdxImages.MiB;
    private const int SizeBytes = 8 * MiB;

    [Theory]
    [InlineData(65536 + 100)]
    [InlineData(131072 + 8)]
    [InlineData(196608 + 3000)]
    [InlineData(262144 + 4)]
    public void A_damaged_copy_is_written_again_from_the_good_one(int at)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        image[at] ^= 0xFF;
        byte[] before = (byte[])image.Clone();

        ImageReport found = VhdxImages.Check(image);
        MemoryContainer container = new(image);
        ImageReport leaks = VhdxImages.Check(container, ImageRepair.Leaks);
        Assert.Equal(before, container.Content);
        ImageReport repaired = VhdxImages.Check(container, ImageRepair.All);

        Assert.Equal(1, found.CorruptionCount);
        Assert.Equal(1, leaks.CorruptionCount);
        Assert.Equal(at / 65536 * 65536, Assert.Single(found.Findings).OffsetBytes);
        Assert.Equal((0L, 1L), (repaired.CorruptionCount, repaired.RepairedCorruptionCount));
        Assert.True(VhdxImages.Check(container.Content).IsClean);
    }

    [Fact]
    public void Unused_space_at_the_end_is_given_back()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + (3 * MiB));

        ImageReport found = VhdxImages.Check(image);
        MemoryContainer container = new(image);
        ImageReport repaired = VhdxImages.Check(container, ImageRepair.Leaks);

        Assert.Equal((1L, 3L * MiB), (found.LeakCount, found.LeakedBytes));
        Assert.True(repaired.IsClean);
        Assert.Equal(1, repaired.RepairedLeakCount);
        Assert.Equal(4 * MiB, container.Content.Length);
        Assert.True(VhdxImages.Check(container.Content).IsClean);
    }

    // The BAT of a child ends with a whole chunk, so it has entries behind the disk's last block.
    [Fact]
    public async Task A_block_behind_the_end_of_the_disk_is_a_finding()
    {
        using TempFolder folder = new();
        string parentPath = folder.File("parent.vhdx");
        string path = folder.File("child.vhdx");
        ImageCreateOptions options = new() { Format = ImageFormat.Vhdx, SizeBytes = SizeBytes, BlockSizeBytes = MiB };
        await Image.CreateAsync(parentPath, options);
        await Image.CreateAsync(path, options with { ParentPath = parentPath });
        using (FileStream file = File.OpenWrite(path))
        {
            file.Position = (3 * MiB) + (9 * sizeof(ulong));
            file.Write(BitConverter.GetBytes(new BatEntry(BlockState.FullyPresent, 4 * MiB).Value));
        }

        ImageReport report = await Image.CheckAsync(path, ImageFormat.Vhdx, ImageRepair.None, CancellationToken.None);
        BlockException failure = await Assert.ThrowsAsync<BlockException>(() => Image.OpenAsync(path).AsTask());

        Assert.Contains("BAT entry 9 of block 9", Assert.Single(report.Findings).Message, StringComparison.Ordinal);
        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
        Assert.Contains("the disk has 8 blocks", failure.Message, StringComparison.Ordinal);
    }

    // Whatever a repair changes, both headers are written first.
    [Theory]
    [InlineData(65536 + 100)]
    [InlineData(131072 + 8)]
    public void A_header_that_a_smaller_repair_has_written_anew_is_not_said_to_be_damaged_still(int at)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + (3 * MiB));
        image[at] ^= 0xFF;
        MemoryContainer container = new(image);

        ImageReport report = VhdxImages.Check(container, ImageRepair.Leaks);

        Assert.Equal((0L, 1L), (report.CorruptionCount, report.RepairedCorruptionCount));
        Assert.Equal((0L, 1L), (report.LeakCount, report.RepairedLeakCount));
        Assert.Contains(report.Findings, finding => finding.OffsetBytes == at / 65536 * 65536 && finding.IsRepaired);
        Assert.True(VhdxImages.Check(container.Content).IsClean);
    }

    [Fact]
    public async Task A_log_is_replayed_by_a_repair_and_judged_as_replayed_without()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        ImageNode node = VhdxImages.Open(container);
        await node.WriteAsync(0, new byte[] { 7 }, WriteFlags.ForceUnitAccess, CancellationToken.None);
        byte[] dirty = container.Crash(() => false);

        ImageReport found = VhdxImages.Check(dirty);
        MemoryContainer repaired = new(dirty);
        ImageReport report = VhdxImages.Check(repaired, ImageRepair.Leaks);

        Assert.Equal(0, found.CorruptionCount);
        Assert.Equal(1, found.AllocatedBlockCount);
        Assert.True(report.IsClean);
        Assert.Equal(Guid.Empty, VhdxImages.LogGuid(repaired.Content));
        Assert.Equal(5 * MiB, repaired.Content.Length);
        Assert.Equal(7, VhdxImages.Content(repaired.Content)[0]);
    }

    [Fact]
    public void A_lost_log_is_reported_and_cleared_only_when_all_is_repaired()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        _ = new CraftedLog(image);

        ImageReport found = VhdxImages.Check(image);
        MemoryContainer container = new(image);
        ImageReport repaired = VhdxImages.Check(container, ImageRepair.All);

        Assert.Contains("log_guid", Assert.Single(found.Findings).Message, StringComparison.Ordinal);
        Assert.True(repaired.IsClean);
        VhdxImages.Open(container);
    }

    [Fact]
    public void Every_bad_BAT_entry_is_a_finding_and_nothing_is_written()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + (3 * MiB));
        ulong good = new BatEntry(BlockState.FullyPresent, 4 * MiB).Value;
        ulong[] entries = [good, good, good | 8, 4, 7, new BatEntry(BlockState.FullyPresent, 100L * MiB).Value, 6, 0x10_0006];
        for (int i = 0; i < entries.Length; i++)
        {
            VhdxImages.Put(image, VhdxImages.BatOffsetBytes + (i * 8), 8, entries[i]);
        }

        MemoryContainer container = new(image);
        ImageReport report = VhdxImages.Check(container, ImageRepair.All);

        Assert.Equal(entries.Length - 1, report.CorruptionCount);
        Assert.Contains("overlaps another block", report.Findings[0].Message, StringComparison.Ordinal);
        Assert.Equal(VhdxImages.BatOffsetBytes + 8, report.Findings[0].OffsetBytes);
        Assert.Equal(0, container.ChangeCount);
    }

    [Fact]
    public async Task Blocks_are_counted()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        ImageNode node = VhdxImages.Open(container);
        foreach (int block in (int[])[0, 1, 5, 4])
        {
            await node.WriteAsync(block * MiB, new byte[512], WriteFlags.None, CancellationToken.None);
        }

        await node.DisposeAsync();
        ImageReport report = VhdxImages.Check(container.Content);

        Assert.Equal((8L, 4L, 2L), (report.TotalBlockCount, report.AllocatedBlockCount, report.FragmentedBlockCount));
    }
}
