// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

/// <summary>The slots of snapshot reads on the active disk. Their orders are the interleaving tests' matter.</summary>
public sealed class FrozenReadsTests
{
    private const long Last = Granules.MaximumCount;
    private const long Longest = FrozenReads.MaximumGranulesPerRead;

    private readonly FrozenReads _reads = new();

    // The packed word must keep 40 bits of index and 24 of count apart, at every end of both.
    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 2)]
    [InlineData(0, Longest)]
    [InlineData(Longest, 2 * Longest)]
    [InlineData(Last - 1, Last)]
    [InlineData(Last - Longest, Last)]
    [InlineData(Last / 2, Last / 2 + 1)]
    [InlineData(Last / 2 - 1, Last / 2 + Longest - 1)]
    public void A_frozen_run_overlaps_its_granules_and_no_others(long start, long end)
    {
        _reads.Enter(new GranuleRun(start, end));

        Assert.True(_reads.Overlap(new GranuleRun(start, start + 1)));
        Assert.True(_reads.Overlap(new GranuleRun(end - 1, end)));
        Assert.True(_reads.Overlap(new GranuleRun(0, Last)));
        Assert.False(_reads.Overlap(new GranuleRun(end, end + 1)));
        Assert.False(start > 0 && _reads.Overlap(new GranuleRun(start - 1, start)));
    }

    [Fact]
    public void A_read_that_left_overlaps_nothing()
    {
        FrozenReads.Ticket ticket = _reads.Enter(new GranuleRun(3, 5));

        _reads.Exit(ticket);

        Assert.False(_reads.Overlap(new GranuleRun(0, Last)));
    }

    [Fact]
    public void An_empty_run_is_refused()
    {
        BlockException refused = Assert.Throws<BlockException>(() => _reads.Enter(new GranuleRun(0, 0)));

        Assert.Equal(BlockErrors.InvariantBroken, refused.Kind);
    }

    [Fact]
    public void A_shrunken_read_overlaps_only_its_head()
    {
        FrozenReads.Ticket ticket = _reads.Enter(new GranuleRun(3, 9));

        _reads.Shrink(ticket, new GranuleRun(3, 5));

        Assert.True(_reads.Overlap(new GranuleRun(4, 5)));
        Assert.False(_reads.Overlap(new GranuleRun(5, 9)));
    }

    // More reads than one segment has slots: none is lost, and each leaves only its own slot.
    [Fact]
    public void Two_hundred_reads_at_once_are_all_seen()
    {
        FrozenReads.Ticket[] tickets =
            [.. Enumerable.Range(0, 200).Select(i => _reads.Enter(new GranuleRun(2 * i, 2 * i + 1)))];
        for (int i = 0; i < 200; i++)
        {
            Assert.True(_reads.Overlap(new GranuleRun(2 * i, 2 * i + 1)));
            Assert.False(_reads.Overlap(new GranuleRun(2 * i + 1, 2 * i + 2)));
            _reads.Exit(tickets[i]);
            Assert.False(_reads.Overlap(new GranuleRun(2 * i, 2 * i + 1)));
        }
    }

    [Fact]
    public void The_lowest_free_slot_is_taken_again()
    {
        FrozenReads.Ticket first = _reads.Enter(new GranuleRun(0, 1));
        _reads.Enter(new GranuleRun(1, 2));
        _reads.Exit(first);

        Assert.Equal(first, _reads.Enter(new GranuleRun(5, 6)));
    }

    [Fact]
    public void Nobody_waits_where_nothing_is_frozen()
    {
        _reads.Enter(new GranuleRun(0, 2));

        Assert.True(WaitAsync(new GranuleRun(2, 4)).IsCompletedSuccessfully);
        Assert.Equal(0, _reads.WaitCount);
    }

    [Fact]
    public async Task A_wait_ends_when_the_last_overlapping_read_leaves()
    {
        FrozenReads.Ticket first = _reads.Enter(new GranuleRun(0, 2));
        FrozenReads.Ticket second = _reads.Enter(new GranuleRun(1, 3));
        Task wait = WaitAsync(new GranuleRun(1, 2));

        _reads.Exit(first);
        Assert.False(wait.IsCompleted);
        _reads.Exit(second);

        await wait;
        Assert.Equal(1, _reads.WaitCount);
    }

    [Fact]
    public async Task A_wait_ends_when_the_read_shrinks_away_from_it()
    {
        FrozenReads.Ticket ticket = _reads.Enter(new GranuleRun(0, 4));
        Task wait = WaitAsync(new GranuleRun(2, 4));

        _reads.Shrink(ticket, new GranuleRun(0, 2));

        await wait;
    }

    [Fact]
    public async Task A_cancelled_wait_ends_at_once_and_harms_no_other()
    {
        FrozenReads.Ticket ticket = _reads.Enter(new GranuleRun(0, 1));
        using CancellationTokenSource source = new();
        Task cancelled = _reads.WaitUntilClearAsync(new GranuleRun(0, 1), source.Token).AsTask();
        Task other = WaitAsync(new GranuleRun(0, 1));

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Assert.False(other.IsCompleted);
        _reads.Exit(ticket);
        await other;
    }

    [Fact]
    public async Task Abandoning_lets_everybody_go_now_and_later()
    {
        _reads.Enter(new GranuleRun(0, 1));
        Task wait = WaitAsync(new GranuleRun(0, 1));

        _reads.Abandon();

        await wait;
        Assert.True(WaitAsync(new GranuleRun(0, 1)).IsCompletedSuccessfully);
    }

    private Task WaitAsync(GranuleRun run) => _reads.WaitUntilClearAsync(run, CancellationToken.None).AsTask();
}
