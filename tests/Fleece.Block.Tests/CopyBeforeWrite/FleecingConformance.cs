// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>Cases F1 to F5 and F7 of the conformance list, with its exact ranges on a 64 MiB disk.</summary>
/// <remarks>F1 names the modes; in this process they are a full session and one limited by a bitmap. F6 needs a job and
/// is a test of the sessions.</remarks>
public sealed class FleecingConformance
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task F1_F2_the_reader_sees_the_four_patterns_before_the_guest_writes(bool hasBitmap)
    {
        Fleecing fleecing = new(hasBitmap);

        await AssertPatternsAsync(fleecing.Snapshot);
    }

    [Fact]
    public async Task F2_the_reader_sees_zeros_in_the_three_spots_never_written()
    {
        Fleecing fleecing = new(hasBitmap: false);

        await AssertZerosAsync(fleecing.Snapshot);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task F3_the_guest_sees_its_overwrites(bool hasBitmap)
    {
        Fleecing fleecing = new(hasBitmap);

        fleecing.Overwrite();

        await AssertOverwrittenAsync(fleecing.Point.Filter);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task F4_after_overwrites_the_reader_still_sees_the_instant(bool hasBitmap)
    {
        Fleecing fleecing = new(hasBitmap);

        fleecing.Overwrite();

        await AssertPatternsAsync(fleecing.Snapshot);
    }

    [Fact]
    public async Task F4_after_overwrites_the_reader_still_sees_zeros_where_nothing_was()
    {
        Fleecing fleecing = new(hasBitmap: false);

        fleecing.Overwrite();

        await AssertZerosAsync(fleecing.Snapshot);
    }

    // One request over copied and untouched granules, in both directions of the border.
    [Fact]
    public async Task F4_one_read_across_the_border_of_an_overwrite_sees_the_instant()
    {
        Fleecing fleecing = new(hasBitmap: false);
        fleecing.Overwrite();
        byte[] read = new byte[3 * 65536];

        await fleecing.Snapshot.ReadAsync(0x2000000 - 65536, read, CancellationToken.None);

        Assert.Equal(Enumerable.Repeat((byte)0, 65536), read[..65536]);
        Assert.Equal(Enumerable.Repeat((byte)0x33, 65536), read[65536..^65536]);
        Assert.Equal(Enumerable.Repeat((byte)0, 65536), read[^65536..]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task F5_with_a_bitmap_the_three_spots_outside_are_denied(bool isOverwritten)
    {
        Fleecing fleecing = new(hasBitmap: true);
        if (isOverwritten)
        {
            fleecing.Overwrite();
        }

        foreach (BlockRange spot in Fleecing.NeverWritten)
        {
            await Fleecing.AssertRefusedAsync(BlockErrors.Denied, fleecing.Snapshot, spot);
        }
    }

    // The refusal is per request, and one that reaches only a byte beyond what is allowed is refused as well.
    [Fact]
    public async Task F5_a_read_that_starts_inside_the_bitmap_and_ends_outside_is_denied()
    {
        Fleecing fleecing = new(hasBitmap: true);

        await Fleecing.AssertRefusedAsync(BlockErrors.Denied, fleecing.Snapshot, new BlockRange(0, 65537));
    }

    [Fact]
    public async Task F5_nothing_outside_the_bitmap_is_copied()
    {
        Fleecing fleecing = new(hasBitmap: true);

        fleecing.Overwrite();

        Assert.All(
            fleecing.Temp.Operations.Where(o => o.IsChange),
            o => Assert.Contains(Fleecing.Data, data => data.Range.Contains(o.Range)));
        await AssertPatternsAsync(fleecing.Snapshot);
    }

    [Fact]
    public async Task F7_after_the_end_the_base_holds_the_new_data_and_the_untouched_remainder()
    {
        Fleecing fleecing = new(hasBitmap: false);
        fleecing.Overwrite();

        fleecing.Point.Stop();
        await fleecing.Point.Filter.DisposeAsync();
        await fleecing.Temp.DisposeAsync();

        await AssertOverwrittenAsync(fleecing.Disk);
        foreach ((BlockRange range, byte value) in Fleecing.Remainder)
        {
            await Fleecing.AssertHoldsAsync(fleecing.Disk, range, value);
        }
    }

    [Fact]
    public async Task F7_a_reader_left_over_gets_an_error_and_the_guest_writes_on()
    {
        Fleecing fleecing = new(hasBitmap: false);
        fleecing.Point.Stop();

        await Fleecing.AssertRefusedAsync(BlockErrors.Stopped, fleecing.Snapshot, new BlockRange(0, 1));
        fleecing.Overwrite();
        Assert.Equal(SessionState.Stopped, fleecing.Point.State);
        Assert.DoesNotContain(fleecing.Temp.Operations, o => o.IsChange);
    }

    private static async Task AssertPatternsAsync(IBlockNode node)
    {
        foreach ((BlockRange range, byte value) in Fleecing.Data)
        {
            await Fleecing.AssertHoldsAsync(node, range, value);
        }
    }

    private static async Task AssertZerosAsync(IBlockNode node)
    {
        foreach (BlockRange range in Fleecing.NeverWritten)
        {
            await Fleecing.AssertHoldsAsync(node, range, 0);
        }
    }

    private static async Task AssertOverwrittenAsync(IBlockNode node)
    {
        foreach ((BlockRange range, byte value) in Fleecing.Overwrites)
        {
            await Fleecing.AssertHoldsAsync(node, range, value);
        }
    }
}
