// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.TestKit;

/// <content>What a node refuses, and that a refusal changes nothing.</content>
public abstract partial class BlockNodeConformance
{
    // Multiples of 4096, so that they are wrong for being out of range and not for being misaligned.
    private const long LastOffsetBytes = long.MaxValue - 4095;

    /// <summary>Ranges that begin within the disk or behind it and end behind it.</summary>
    public static TheoryData<long, int> RangesBeyondTheEnd => new()
    {
        { DiskBytes, 4096 },
        { DiskBytes - 4096, 8192 },
        { 0, DiskBytes + 4096 },
        { 1L << 40, 4096 },
        { LastOffsetBytes - 4096, 4096 },
    };

    /// <summary>Ranges of which no disk has any.</summary>
    public static TheoryData<long, int> RangesThatAreNone => new()
    {
        { -4096, 4096 },
        { long.MinValue, 4096 },
        { LastOffsetBytes, 4096 },
        { long.MaxValue, 8192 },
    };

    [Theory]
    [MemberData(nameof(RangesBeyondTheEnd))]
    public async Task Requests_beyond_the_end_are_out_of_range_and_change_nothing(long offsetBytes, int lengthBytes) =>
        await CheckRefusedAsync(BlockErrors.OutOfRange, offsetBytes, lengthBytes);

    [Theory]
    [MemberData(nameof(RangesThatAreNone))]
    public async Task Ranges_that_are_none_are_refused_and_change_nothing(long offsetBytes, int lengthBytes) =>
        await CheckRefusedAsync(BlockErrors.InvalidRange, offsetBytes, lengthBytes);

    [Fact]
    public async Task Negative_lengths_are_refused()
    {
        await using IBlockNode node = await CreateAsync(DiskBytes);
        foreach (long lengthBytes in (long[])[-1, -4096, long.MinValue])
        {
            await ThrowsAsync(
                BlockErrors.InvalidRange,
                () => node.WriteZeroesAsync(0, lengthBytes, WriteFlags.None, CancellationToken.None));
            await ThrowsAsync(
                BlockErrors.InvalidRange, () => node.DiscardAsync(0, lengthBytes, CancellationToken.None));
            await ThrowsAsync(
                BlockErrors.InvalidRange, () => StatusAsync(node, 0, lengthBytes));
        }
    }

    [Fact]
    public async Task Zeroing_and_discarding_lengths_that_overflow_are_refused()
    {
        await using IBlockNode node = await CreateAsync(DiskBytes);

        await ThrowsAsync(
            BlockErrors.InvalidRange,
            () => node.WriteZeroesAsync(4096, long.MaxValue, WriteFlags.None, CancellationToken.None));
        await ThrowsAsync(
            BlockErrors.InvalidRange, () => node.DiscardAsync(4096, long.MaxValue, CancellationToken.None));
        await ThrowsAsync(BlockErrors.InvalidRange, () => StatusAsync(node, 4096, long.MaxValue));
    }

    [Fact]
    public async Task A_cancelled_request_ends_as_cancelled_or_done_and_spoils_nothing_else()
    {
        // Goal: a node may notice a cancelled token or not, and in no case damages what it was not asked to change.
        Seeds seeds = Seeds.FromEnvironment();
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(seeds);
        await using IBlockNode owned = node;
        CancellationToken cancelled = new(canceled: true);
        byte[] data = seeds.Bytes(8192);

        await CompletesAsync(() => node.ReadAsync(0, new byte[4096], cancelled));
        await CompletesAsync(() => node.FlushAsync(cancelled));
        await CompletesAsync(async () => await node.GetStatusAsync(0, 4096, cancelled));
        if (await CompletesAsync(() => node.WriteAsync(4096, data, WriteFlags.None, cancelled)))
        {
            disk.Write(4096, data);
        }

        if (await CompletesAsync(() => node.WriteZeroesAsync(65536, 4096, WriteFlags.None, cancelled)))
        {
            disk.WriteZeroes(new BlockRange(65536, 4096));
        }

        await CompletesAsync(() => node.DiscardAsync(131072, 65536, cancelled));
        disk.Discard(new BlockRange(131072, 65536));
        await disk.CheckAllAsync(node);
    }

    [Fact]
    public async Task Disposing_twice_does_no_harm()
    {
        IBlockNode node = await CreateAsync(DiskBytes);

        await node.DisposeAsync();
        await node.DisposeAsync();
    }

    private static async ValueTask StatusAsync(IBlockNode node, long offsetBytes, long lengthBytes) =>
        await node.GetStatusAsync(offsetBytes, lengthBytes, CancellationToken.None);

    private static async Task ThrowsAsync(string kind, Func<ValueTask> operation)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await operation());
        Assert.Equal(kind, exception.Kind);
    }

    // False when the request said that it was cancelled: its token was, before it began, so it has changed nothing.
    private static async Task<bool> CompletesAsync(Func<ValueTask> operation)
    {
        try
        {
            await operation();
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private async Task CheckRefusedAsync(string kind, long offsetBytes, int lengthBytes)
    {
        (IBlockNode node, ReferenceDisk disk) = await CreateFullAsync(Seeds.FromEnvironment());
        await using IBlockNode owned = node;
        await ThrowsAsync(kind, () => node.ReadAsync(offsetBytes, new byte[lengthBytes], CancellationToken.None));
        await ThrowsAsync(
            kind,
            () => node.WriteAsync(offsetBytes, new byte[lengthBytes], WriteFlags.None, CancellationToken.None));
        await ThrowsAsync(
            kind, () => node.WriteZeroesAsync(offsetBytes, lengthBytes, WriteFlags.None, CancellationToken.None));
        await ThrowsAsync(kind, () => node.DiscardAsync(offsetBytes, lengthBytes, CancellationToken.None));
        await ThrowsAsync(kind, () => StatusAsync(node, offsetBytes, lengthBytes));
        await disk.CheckAllAsync(node);
    }
}
