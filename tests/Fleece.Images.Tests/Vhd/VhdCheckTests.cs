// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>What a check finds and repairs, and what becomes of damaged footers.</summary>
public sealed class VhdCheckTests
{
    private const int SizeBytes = 640 * 1024;
    private const int BlockBytes = 65536;

    [Fact]
    public async Task A_whole_image_is_clean_and_counted()
    {
        ImageReport report = Check(await MakeAsync(), ImageRepair.None);

        Assert.True(report.IsClean);
        Assert.Empty(report.Findings);
        Assert.Equal(10, report.TotalBlockCount);
        Assert.Equal(6, report.AllocatedBlockCount);
        Assert.Equal(0, report.FragmentedBlockCount);
        Assert.True(Check(new MemoryContainer(VhdImages.Empty(VhdDiskType.Fixed, SizeBytes)), ImageRepair.None).IsClean);
    }

    [Fact]
    public async Task A_damaged_footer_at_the_end_is_found_read_around_and_written_again()
    {
        MemoryContainer container = await MakeAsync();
        byte[] content = new VhdReader(container.Content).Read();
        container.Content.AsSpan(container.Content.Length - 512).Fill(0xaa);
        byte[] damaged = [.. container.Content];
        await using (ImageNode node = VhdImages.Open(new MemoryContainer(damaged, isReadOnly: true)))
        {
            Assert.Equal(content, await VhdImages.ReadAllAsync(node));
        }

        ImageReport found = Check(new MemoryContainer(damaged), ImageRepair.Leaks);
        Assert.Equal((1, 0), (found.CorruptionCount, found.RepairedCorruptionCount));
        Assert.Contains("no cookie", Assert.Single(found.Findings).Message, StringComparison.Ordinal);
        ImageReport repaired = Check(container, ImageRepair.All);
        Assert.True(repaired.IsClean);
        Assert.Equal(1, repaired.RepairedCorruptionCount);
        Assert.True(Check(container, ImageRepair.None).IsClean);
        VhdReader reader = new(container.Content);
        reader.Audit("repaired");
        Assert.Equal(content, reader.Read());
    }

    // A program that died while the image grew has left a block over the footer: the first write puts a footer behind it.
    [Fact]
    public async Task An_image_without_a_footer_at_its_end_is_changed_by_nothing_but_the_first_write()
    {
        MemoryContainer container = await MakeAsync();
        byte[] content = new VhdReader(container.Content).Read();
        container.Content.AsSpan(container.Content.Length - 512).Fill(0xaa);
        ImageNode node = VhdImages.Open(container);
        Assert.Equal(content, await VhdImages.ReadAllAsync(node));
        Assert.Equal(0, container.WriteCount);

        await node.WriteAsync(5 * BlockBytes, new byte[] { 7 }, WriteFlags.None, CancellationToken.None);
        await node.DisposeAsync();

        content[5 * BlockBytes] = 7;
        VhdReader reader = new(container.Content);
        reader.Audit("after a write");
        Assert.Equal(content, reader.Read());
        Assert.Equal(0, Check(container, ImageRepair.None).CorruptionCount);
    }

    [Fact]
    public async Task A_damaged_copy_of_the_footer_is_found_and_written_again_by_a_check_or_the_first_write()
    {
        MemoryContainer container = await MakeAsync();
        container.Content[3] = 0;
        byte[] damaged = [.. container.Content];
        Assert.Equal(1, Check(new MemoryContainer(damaged, isReadOnly: true), ImageRepair.None).CorruptionCount);

        Assert.True(Check(container, ImageRepair.All).IsClean);
        new VhdReader(container.Content).Audit("repaired by the check");
        MemoryContainer written = new(damaged);
        await using (ImageNode node = VhdImages.Open(written))
        {
            Assert.Equal(0, written.WriteCount);
            await node.WriteAsync(0, new byte[] { 7 }, WriteFlags.None, CancellationToken.None);
        }

        new VhdReader(written.Content).Audit("repaired by a write");
    }

    [Fact]
    public async Task Contradictory_footers_are_settled_by_the_one_at_the_end()
    {
        MemoryContainer container = await MakeAsync();
        VhdImages.Patch(container.Content.AsSpan(0, 512), 64, footer => BinaryPrimitives.WriteUInt32BigEndian(footer.AsSpan(52), 512));

        Assert.Equal(1, Check(container, ImageRepair.None).CorruptionCount);
        Assert.True(Check(container, ImageRepair.All).IsClean);
        Assert.True(container.Content.AsSpan(0, 512).SequenceEqual(container.Content.AsSpan(container.Content.Length - 512)));
    }

    // Footers of Virtual PC before 2004 lack their last byte, which is a reserved zero.
    [Fact]
    public async Task A_footer_of_511_bytes_is_a_footer()
    {
        MemoryContainer whole = await MakeAsync();
        byte[] content = new VhdReader(whole.Content).Read();
        MemoryContainer container = new(whole.Content[..^1]);
        Assert.True(Check(container, ImageRepair.None).IsClean);
        await using (ImageNode node = VhdImages.Open(container))
        {
            Assert.Equal(content, await VhdImages.ReadAllAsync(node));
            await node.WriteAsync(9 * BlockBytes, new byte[] { 7 }, WriteFlags.None, CancellationToken.None);
        }

        content[9 * BlockBytes] = 7;
        VhdReader reader = new(container.Content);
        reader.Audit("with a new footer");
        Assert.Equal(content, reader.Read());
        MemoryContainer fixedImage = new(VhdImages.Empty(VhdDiskType.Fixed, SizeBytes)[..^1]);
        await using ImageNode fixedNode = new(fixedImage, new FixedVhdMap(fixedImage, VhdFooters.Read(fixedImage)), parent: null);
        Assert.Equal(SizeBytes, fixedNode.Geometry.LengthBytes);
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(0xffff_fff0u)]
    public async Task A_table_entry_that_points_outside_is_dropped_and_said_to_be(uint sector)
    {
        MemoryContainer container = await MakeAsync();
        byte[] content = new VhdReader(container.Content).Read();
        BinaryPrimitives.WriteUInt32BigEndian(VhdImages.Entry(container.Content, 1), sector);
        Assert.Equal(1, Check(container, ImageRepair.Leaks).CorruptionCount);
        Assert.Equal(0, container.WriteCount);

        ImageReport report = Check(container, ImageRepair.All);

        Assert.Equal((0, 1), (report.CorruptionCount, report.RepairedCorruptionCount));
        Assert.Contains(report.Findings, finding => finding.IsRepaired
            && finding.Message.Contains($"Entry 1 of the block allocation table is {sector} ", StringComparison.Ordinal)
            && finding.Message.Contains("dropped", StringComparison.Ordinal));
        content.AsSpan(BlockBytes, BlockBytes).Clear();
        await using ImageNode node = VhdImages.Open(container);
        Assert.Equal(content, await VhdImages.ReadAllAsync(node));
    }

    [Fact]
    public async Task Blocks_that_overlap_stay_as_they_are()
    {
        MemoryContainer container = await MakeAsync();
        VhdImages.Entry(container.Content, 0).CopyTo(VhdImages.Entry(container.Content, 4));
        byte[] before = [.. container.Content];

        ImageReport report = Check(container, ImageRepair.All);

        Assert.Equal(2, report.CorruptionCount);
        Assert.Equal(before, container.Content);
    }

    [Fact]
    public async Task Unused_space_at_the_end_is_cut_off()
    {
        MemoryContainer container = await MakeAsync();
        byte[] whole = [.. container.Content];
        container.Write(whole.Length - 512 + 100_352, whole.AsSpan(whole.Length - 512));
        container.Flush();
        ImageReport found = Check(container, ImageRepair.None);
        Assert.Equal((1, 100_352), (found.LeakCount, found.LeakedBytes));

        ImageReport report = Check(container, ImageRepair.Leaks);

        Assert.True(report.IsClean);
        Assert.Equal((1, 0), (report.RepairedLeakCount, report.LeakedBytes));
        Assert.Equal(whole, container.Content);
    }

    // A disk of two blocks whose table has room for ten, with six of them allocated: as a program leaves it that shrinks a disk.
    [Fact]
    public async Task A_block_behind_the_disks_end_is_kept_with_its_table_entry()
    {
        MemoryContainer container = await MakeAsync();
        VhdImages.PatchFooters(container.Content, footer => BinaryPrimitives.WriteInt64BigEndian(footer.AsSpan(48), 2 * BlockBytes));
        byte[] before = [.. container.Content];

        ImageReport report = Check(container, ImageRepair.Leaks);

        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        Assert.Equal((2, 2), (report.TotalBlockCount, report.AllocatedBlockCount));
        Assert.Equal(before, container.Content);
        await CheckWithQemuAsync(container.Content);
    }

    [Fact]
    public async Task A_new_block_is_put_behind_those_that_lie_behind_the_disks_end()
    {
        MemoryContainer container = await MakeAsync();
        VhdImages.PatchFooters(container.Content, footer => BinaryPrimitives.WriteInt64BigEndian(footer.AsSpan(48), 2 * BlockBytes));
        VhdImages.Entry(container.Content, 1).Fill(0xff);
        byte[] surplus = VhdImages.Entry(container.Content, 5).ToArray();
        await using (ImageNode node = VhdImages.Open(container))
        {
            await node.WriteAsync(BlockBytes, new byte[] { 1 }, WriteFlags.None, CancellationToken.None);
        }

        uint last = BinaryPrimitives.ReadUInt32BigEndian(surplus);
        Assert.True(BinaryPrimitives.ReadUInt32BigEndian(VhdImages.Entry(container.Content, 1)) > last);
        Assert.Equal(surplus, VhdImages.Entry(container.Content, 5).ToArray());
        Assert.Equal(0, Check(container, ImageRepair.None).CorruptionCount);
        await CheckWithQemuAsync(container.Content);
    }

    [Fact]
    public async Task A_lost_block_between_others_is_a_leak_that_stays()
    {
        MemoryContainer container = await MakeAsync();
        VhdImages.Entry(container.Content, 2).Fill(0xff);
        byte[] before = [.. container.Content];

        ImageReport report = Check(container, ImageRepair.All);

        Assert.Equal((1, 0), (report.LeakCount, report.CorruptionCount));
        Assert.True(report.LeakedBytes >= BlockBytes + 512);
        Assert.Equal(before, container.Content);
    }

    [Fact]
    public void A_table_of_nothing_but_faults_is_reported_within_bounds()
    {
        const long HugeBytes = 2000L * BlockBytes;
        byte[] image = VhdImages.Empty(VhdDiskType.Dynamic, HugeBytes, BlockBytes);
        image.AsSpan(1536, 8000).Clear();

        ImageReport report = Check(new MemoryContainer(image, isReadOnly: true), ImageRepair.None);

        Assert.Equal(2000, report.CorruptionCount);
        Assert.Equal(ImageReport.MaximumFindings, report.Findings.Count);
    }

    [Fact]
    public async Task A_header_that_does_not_add_up_is_reported()
    {
        MemoryContainer container = await MakeAsync();
        container.Content[512 + 900] = 1;

        ImageReport report = Check(container, ImageRepair.All);

        Assert.Equal(1, report.CorruptionCount);
        Assert.Contains("checksum", Assert.Single(report.Findings).Message, StringComparison.Ordinal);
        Assert.Equal(0, container.WriteCount);
    }

    // Six of ten blocks; made anew for each test, because tests change it.
    private static async ValueTask<MemoryContainer> MakeAsync()
    {
        MemoryContainer container = new(VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes, BlockBytes));
        await using (ImageNode node = VhdImages.Open(container))
        {
            await node.WriteAsync(0, new Seeds(1).Bytes((5 * BlockBytes) + 10), WriteFlags.None, CancellationToken.None);
        }

        return new MemoryContainer(container.Content);
    }

    // QEMU refuses a file whose table names a block beyond its end.
    private static async Task CheckWithQemuAsync(byte[] image)
    {
        Peer.Need("qemu-img");
        using TempFolder folder = new();
        string path = folder.NewFile(".vhd");
        await File.WriteAllBytesAsync(path, image);
        Qemu.Image("info", "-f", "vpc", path);
    }

    private static ImageReport Check(MemoryContainer container, ImageRepair repair) =>
        new VhdDriver().Check(container, repair, CancellationToken.None);
}
