// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>States of blocks: how each reads, what a write, zeroing and a discard make of it, and what is used again.</summary>
public sealed class VhdxStateTests
{
    private const int MiB = VhdxImages.MiB;
    private const int SizeBytes = 8 * MiB;

    // An offset is left in the entry and old bytes stand there: they must not come back.
    [Theory]
    [InlineData(0, BlockStatus.Unallocated)]
    [InlineData(1, BlockStatus.Unallocated)]
    [InlineData(2, BlockStatus.Zero)]
    [InlineData(3, BlockStatus.Unallocated)]
    [InlineData(5, BlockStatus.Unallocated)]
    public async Task A_block_that_stores_nothing_reads_as_zeros_and_a_write_into_it_shows_no_old_bytes(int state, BlockStatus status)
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + MiB);
        image.AsSpan(4 * MiB).Fill(0xEE);
        VhdxImages.Put(image, VhdxImages.BatOffsetBytes, 8, new BatEntry((BlockState)state, 4 * MiB).Value);
        MemoryContainer container = new(image);
        ImageNode node = VhdxImages.Open(container);
        ReferenceDisk disk = new(SizeBytes);
        await disk.CheckAllAsync(node);
        BlockStatusRun run = await node.GetStatusAsync(0, MiB, CancellationToken.None);
        Assert.Equal((status, (long)MiB), (run.Status, run.LengthBytes));

        byte[] data = new Seeds(1).Bytes(4096);
        await node.WriteAsync(8192, data, WriteFlags.None, CancellationToken.None);

        disk.Write(8192, data);
        await disk.CheckAllAsync(node);
        await node.DisposeAsync();
        disk.Check(0, VhdxImages.Content(container.Content));
        Assert.True(VhdxImages.Check(container.Content).IsClean);
    }

    [Fact]
    public async Task Zeroed_and_discarded_blocks_lose_their_offset_and_the_file_its_end()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        ImageNode node = VhdxImages.Open(container);
        await node.WriteAsync(0, new Seeds(1).Bytes(SizeBytes), WriteFlags.None, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);

        await node.WriteZeroesAsync(6 * MiB, MiB, WriteFlags.None, CancellationToken.None);
        await node.DiscardAsync(7 * MiB, MiB, CancellationToken.None);
        await node.DisposeAsync();

        Assert.Equal(new BatEntry(BlockState.Zero, 0), VhdxImages.Bat(container.Content, 6));
        Assert.Equal(new BatEntry(BlockState.Unmapped, 0), VhdxImages.Bat(container.Content, 7));
        Assert.Equal((4 + 6) * MiB, container.Content.Length);
        Assert.True(VhdxImages.Check(container.Content).IsClean);
    }

    [Fact]
    public async Task Freed_blocks_are_used_again_in_the_same_session_and_in_the_next()
    {
        Seeds seeds = Seeds.FromEnvironment();
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        ImageNode node = VhdxImages.Open(container);
        ReferenceDisk disk = new(SizeBytes);
        for (int round = 0; round < 6; round++)
        {
            byte[] data = seeds.Bytes(2 * MiB);
            long atBytes = round % 3 * 2 * MiB;
            await node.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
            disk.Write(atBytes, data);
            await node.FlushAsync(CancellationToken.None);
            await node.WriteZeroesAsync(atBytes, 2 * MiB, WriteFlags.None, CancellationToken.None);
            disk.WriteZeroes(new BlockRange(atBytes, 2 * MiB));
            await node.FlushAsync(CancellationToken.None);
        }

        byte[] last = seeds.Bytes(4 * MiB);
        await node.WriteAsync(MiB, last, WriteFlags.None, CancellationToken.None);
        disk.Write(MiB, last);
        await disk.CheckAllAsync(node);
        await node.WriteZeroesAsync(MiB, 2 * MiB, WriteFlags.None, CancellationToken.None);
        disk.WriteZeroes(new BlockRange(MiB, 2 * MiB));
        await node.DisposeAsync();
        Assert.InRange(container.Content.Length, 0, (4 + 6) * MiB);

        int lengthBytes = container.Content.Length;
        node = VhdxImages.Open(container);
        await node.WriteAsync(6 * MiB, last.AsMemory(0, MiB), WriteFlags.None, CancellationToken.None);
        disk.Write(6 * MiB, last.AsSpan(0, MiB));
        await node.WriteAsync(512, last.AsMemory(0, 512), WriteFlags.None, CancellationToken.None);
        disk.Write(512, last.AsSpan(0, 512));
        await disk.CheckAllAsync(node);
        await node.DisposeAsync();
        Assert.Equal(lengthBytes, container.Content.Length);
        disk.Check(0, VhdxImages.Content(container.Content));
    }

    [Fact]
    public async Task A_discard_inside_a_block_zeroes_whole_pages_and_nothing_else()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        await using ImageNode node = VhdxImages.Open(container);
        byte[] data = new Seeds(3).Bytes(MiB);
        await node.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);

        await node.DiscardAsync(1000, 20_000, CancellationToken.None);

        data.AsSpan(4096, 16384).Clear();
        byte[] read = new byte[MiB];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(data, read);
    }

    [Fact]
    public async Task Blocks_of_a_fixed_image_stay_where_they_are()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes, isFixed: true));
        int lengthBytes = container.Content.Length;
        ImageNode node = VhdxImages.Open(container);
        await node.WriteAsync(0, new Seeds(1).Bytes(SizeBytes), WriteFlags.None, CancellationToken.None);
        await node.WriteZeroesAsync(0, 3 * MiB, WriteFlags.None, CancellationToken.None);
        await node.DiscardAsync(4 * MiB, MiB, CancellationToken.None);
        await node.DisposeAsync();

        Assert.Equal(lengthBytes, container.Content.Length);
        Assert.Equal(new BatEntry(BlockState.FullyPresent, (4 + 5) * MiB), VhdxImages.Bat(container.Content, 5));
        Assert.False(VhdxImages.Content(container.Content).AsSpan(0, 3 * MiB).ContainsAnyExcept((byte)0));
    }

    // The entry of a sector bitmap stands behind those of a chunk: 16 blocks of 256 MiB.
    [Fact]
    public async Task The_entries_of_sector_bitmaps_are_stepped_over()
    {
        const long BlockBytes = 256L * MiB;
        using TempFolder folder = new();
        string path = folder.File("disk.vhdx");
        await Image.CreateAsync(path, VhdxImages.Options(20 * BlockBytes, (int)BlockBytes));
        await using (ImageNode node = VhdxImages.Open(path))
        {
            for (int block = 14; block < 19; block++)
            {
                await node.WriteAsync(block * BlockBytes, new[] { (byte)block }, WriteFlags.None, CancellationToken.None);
            }
        }

        byte[] bat = new byte[8 * 22];
        await using (FileStream file = File.OpenRead(path))
        {
            file.Position = VhdxImages.BatOffsetBytes;
            file.ReadExactly(bat);
        }

        Assert.Equal(0UL, VhdxImages.Word(bat, 16 * 8));
        Assert.Equal(BlockState.FullyPresent, new BatEntry(VhdxImages.Word(bat, 17 * 8)).State);
        await using ImageNode again = VhdxImages.Open(path, isReadOnly: true);
        byte[] read = new byte[1];
        for (int block = 14; block < 19; block++)
        {
            await again.ReadAsync(block * BlockBytes, read, CancellationToken.None);
            Assert.Equal(block, read[0]);
        }
    }

    [Fact]
    public async Task Opening_and_reading_change_nothing_and_the_first_write_changes_both_guids_in_both_headers()
    {
        MemoryContainer container = new(VhdxImages.Empty(SizeBytes));
        VhdxHeader before = VhdxHeaders.Read(container).Current;
        ImageNode node = VhdxImages.Open(container);
        node.Read(0, new byte[512]);
        await node.FlushAsync(CancellationToken.None);
        Assert.Equal(before, VhdxHeaders.Read(container).Current);

        await node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None);

        foreach (long offsetBytes in VhdxFormat.HeaderOffsetsBytes)
        {
            VhdxHeader header = VhdxHeader.TryRead(container, offsetBytes)!;
            Assert.NotEqual(before.FileWriteGuid, header.FileWriteGuid);
            Assert.NotEqual(before.DataWriteGuid, header.DataWriteGuid);
        }
    }

    [Fact]
    public async Task A_file_that_does_not_end_on_a_MiB_is_read_and_written()
    {
        byte[] image = VhdxImages.Empty(SizeBytes);
        Array.Resize(ref image, image.Length + 512);
        image.AsSpan(4 * MiB).Fill(0xEE);
        MemoryContainer container = new(image);
        ImageNode node = VhdxImages.Open(container);
        ReferenceDisk disk = new(SizeBytes);
        await disk.CheckAllAsync(node);
        await node.WriteAsync(700, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
        disk.Write(700, [9]);
        await disk.CheckAllAsync(node);
        await node.DisposeAsync();

        disk.Check(0, VhdxImages.Content(container.Content));
    }

    // More pages change than one log entry takes: commits run in between, and the ring wraps.
    [Fact]
    public async Task Changes_of_more_pages_than_the_log_holds_are_all_kept()
    {
        const long BlockBytes = MiB;
        using TempFolder folder = new();
        string path = folder.File("disk.vhdx");
        const long DiskBytes = 400L * 512 * BlockBytes;
        await Image.CreateAsync(path, VhdxImages.Options(DiskBytes, MiB));
        await using (ImageNode node = VhdxImages.Open(path))
        {
            for (int page = 0; page < 400; page++)
            {
                await node.WriteAsync(page * 512L * BlockBytes, new[] { (byte)(page + 1) }, WriteFlags.None, CancellationToken.None);
            }
        }

        await using ImageNode again = VhdxImages.Open(path, isReadOnly: true);
        byte[] read = new byte[1];
        for (int page = 0; page < 400; page++)
        {
            await again.ReadAsync(page * 512L * BlockBytes, read, CancellationToken.None);
            Assert.Equal((byte)(page + 1), read[0]);
        }
    }
}
