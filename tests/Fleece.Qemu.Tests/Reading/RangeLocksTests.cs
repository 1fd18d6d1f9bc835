// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Qemu.Reading;

namespace Fleece.Qemu.Tests.Reading;

public sealed class RangeLocksTests
{
    private readonly RangeLocks _locks = new();

    [Fact]
    public async Task A_range_that_is_free_is_had_at_once()
    {
        RangeLocks.Holder first = await _locks.EnterAsync(new GranuleRun(0, 4));

        Assert.True(_locks.EnterAsync(new GranuleRun(4, 8)).AsTask().IsCompletedSuccessfully);
        _locks.Exit(first);
        Assert.True(_locks.EnterAsync(new GranuleRun(0, 4)).AsTask().IsCompletedSuccessfully);
    }

    [Fact]
    public async Task A_request_waits_for_each_one_before_it_that_overlaps()
    {
        RangeLocks.Holder left = await _locks.EnterAsync(new GranuleRun(0, 4));
        RangeLocks.Holder right = await _locks.EnterAsync(new GranuleRun(4, 8));
        Task<RangeLocks.Holder> both = _locks.EnterAsync(new GranuleRun(3, 5)).AsTask();

        _locks.Exit(right);
        Assert.False(both.IsCompleted);
        _locks.Exit(left);

        await both;
    }

    [Fact]
    public async Task A_request_that_waits_is_not_overtaken_by_a_later_one_that_overlaps_it()
    {
        RangeLocks.Holder first = await _locks.EnterAsync(new GranuleRun(0, 2));
        Task<RangeLocks.Holder> wide = _locks.EnterAsync(new GranuleRun(0, 100)).AsTask();
        Task<RangeLocks.Holder> late = _locks.EnterAsync(new GranuleRun(50, 51)).AsTask();
        Assert.False(late.IsCompleted);

        _locks.Exit(first);
        _locks.Exit(await wide);

        await late;
    }
}
