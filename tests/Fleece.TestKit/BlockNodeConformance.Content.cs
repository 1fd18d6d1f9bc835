// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <content>What reads return after writes, zeroes and discards.</content>
public abstract partial class BlockNodeConformance
{
    [Fact]
    public async Task A_node_has_the_size_it_was_made_with()
    {
        await using IBlockNode node = await CreateAsync(DiskBytes);

        Assert.Equal(DiskBytes, node.Geometry.LengthBytes);
        Assert.True(int.IsPow2(node.Geometry.RequestAlignmentBytes));
        Assert.False(node.Geometry.IsReadOnly);
    }

    [Fact]
    public async Task A_fresh_disk_reads_as_zeros()
    {
        Assert.SkipUnless(IsZeroAtFirst, "The node starts with content.");
        await using IBlockNode node = await CreateAsync(DiskBytes);

        byte[] bytes = await ReadAsync(node, new BlockRange(0, DiskBytes));

        Assert.False(bytes.AsSpan().ContainsAnyExcept((byte)0));
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task A_read_returns_what_was_written(long offsetBytes, int lengthBytes)
    {
        Seeds seeds = Seeds.FromEnvironment();
        await using IBlockNode node = await CreateAsync(DiskBytes);
        BlockRange range = Fit(node, offsetBytes, lengthBytes);
        byte[] data = seeds.Bytes(range.LengthBytes);

        await node.WriteAsync(range.OffsetBytes, data, WriteFlags.None, CancellationToken.None);

        Assert.Equal(data, await ReadAsync(node, range));
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task Reading_ahead_changes_no_byte(long offsetBytes, int lengthBytes)
    {
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(Seeds.FromEnvironment());
        await using IBlockNode owned = node;
        BlockRange range = Fit(node, offsetBytes, lengthBytes);

        node.ReadAhead(range.OffsetBytes, range.LengthBytes);

        await disk.CheckAllAsync(node);
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task A_write_changes_its_range_and_nothing_else(long offsetBytes, int lengthBytes)
    {
        Seeds seeds = Seeds.FromEnvironment();
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(seeds);
        await using IBlockNode owned = node;

        await WriteAsync(node, disk, Fit(node, offsetBytes, lengthBytes), seeds);

        await disk.CheckAllAsync(node);
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task Zeroing_clears_its_range_and_nothing_else(long offsetBytes, int lengthBytes)
    {
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(Seeds.FromEnvironment());
        await using IBlockNode owned = node;
        BlockRange range = Fit(node, offsetBytes, lengthBytes);

        await node.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);

        disk.WriteZeroes(range);
        await disk.CheckAllAsync(node);
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task A_discard_leaves_old_bytes_or_zeros_and_nothing_else_changes(long offsetBytes, int lengthBytes)
    {
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(Seeds.FromEnvironment());
        await using IBlockNode owned = node;
        BlockRange range = Fit(node, offsetBytes, lengthBytes);

        await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);

        disk.Discard(range);
        await disk.CheckAllAsync(node);
        await disk.CheckStatusAsync(node);
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task A_discard_zeroes_the_whole_units_and_keeps_the_rest(long offsetBytes, int lengthBytes)
    {
        Assert.SkipWhen(DiscardUnitBytes == 0, "The node does not promise what a discard zeroes.");
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(Seeds.FromEnvironment());
        await using IBlockNode owned = node;
        BlockRange range = Fit(node, offsetBytes, lengthBytes);

        await node.DiscardAsync(range.OffsetBytes, range.LengthBytes, CancellationToken.None);

        long maskBytes = DiscardUnitBytes - 1;
        disk.WriteZeroes(
            BlockRange.FromEnds((range.OffsetBytes + maskBytes) & ~maskBytes, range.EndBytes & ~maskBytes));
        await disk.CheckAllAsync(node);
    }

    [Theory]
    [MemberData(nameof(AwkwardRanges))]
    public async Task A_write_after_a_discard_is_kept(long offsetBytes, int lengthBytes)
    {
        Seeds seeds = Seeds.FromEnvironment();
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(seeds);
        await using IBlockNode owned = node;
        BlockRange range = Fit(node, offsetBytes, lengthBytes);
        await node.DiscardAsync(0, DiskBytes, CancellationToken.None);
        disk.Discard(new BlockRange(0, DiskBytes));

        await WriteAsync(node, disk, range, seeds);

        await disk.CheckAllAsync(node);
        await disk.CheckStatusAsync(node);
    }

    [Fact]
    public async Task Requests_of_no_bytes_succeed_anywhere_up_to_the_end()
    {
        Seeds seeds = Seeds.FromEnvironment();
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(seeds);
        await using IBlockNode owned = node;
        foreach (long atBytes in (long[])[0, 4096, DiskBytes])
        {
            await node.ReadAsync(atBytes, Memory<byte>.Empty, CancellationToken.None);
            await node.WriteAsync(atBytes, ReadOnlyMemory<byte>.Empty, WriteFlags.None, CancellationToken.None);
            await node.WriteZeroesAsync(atBytes, 0, WriteFlags.None, CancellationToken.None);
            await node.DiscardAsync(atBytes, 0, CancellationToken.None);
            Assert.Equal(0, (await node.GetStatusAsync(atBytes, 0, CancellationToken.None)).LengthBytes);
        }

        await disk.CheckAllAsync(node);
    }

    [Fact]
    public async Task Content_survives_a_flush_and_forced_writes()
    {
        Seeds seeds = Seeds.FromEnvironment();
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(seeds);
        await using IBlockNode owned = node;

        await node.FlushAsync(CancellationToken.None);
        byte[] data = seeds.Bytes(65536);
        await node.WriteAsync(65536, data, WriteFlags.ForceUnitAccess, CancellationToken.None);
        disk.Write(65536, data);
        await node.WriteZeroesAsync(4096, 4096, WriteFlags.ForceUnitAccess, CancellationToken.None);
        disk.WriteZeroes(new BlockRange(4096, 4096));
        await node.FlushAsync(CancellationToken.None);

        await disk.CheckAllAsync(node);
    }
}
