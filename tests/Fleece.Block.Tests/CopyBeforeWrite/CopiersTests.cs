// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Xunit;

namespace Fleece.Block.Tests.CopyBeforeWrite;

public sealed class CopiersTests
{
    [Fact]
    public async Task Waking_twice_wakes_a_waiter_twice_and_it_waits_on_for_the_copy()
    {
        Copiers copiers = new();
        TaskCompletionSource end = new(TaskCreationOptions.RunContinuationsAsynchronously);
        copiers.Start(() => new ValueTask(end.Task));
        Task drained = copiers.DrainAsync().AsTask();

        copiers.Wake();
        copiers.Wake();

        Assert.False(drained.IsCompleted);
        end.SetResult();
        await drained;
    }

    [Fact]
    public async Task There_is_room_for_as_many_copies_as_may_run_and_for_another_when_one_has_ended()
    {
        Copiers copiers = new();
        TaskCompletionSource[] ends =
        [
            .. Enumerable.Range(0, Copiers.MaximumCopies)
                .Select(_ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)),
        ];
        foreach (TaskCompletionSource end in ends)
        {
            Assert.Null(copiers.WhenRoom());
            copiers.Start(() => new ValueTask(end.Task));
        }

        Task? room = copiers.WhenRoom();
        Assert.False(room?.IsCompleted);
        ends[0].SetResult();
        await room!;

        Assert.Null(copiers.WhenRoom());
        Array.ForEach(ends[1..], end => end.SetResult());
        await copiers.DrainAsync();
    }

    [Fact]
    public async Task A_copy_that_fails_is_one_that_has_ended()
    {
        Copiers copiers = new();

        copiers.Start(() => throw new InvalidOperationException());

        await copiers.DrainAsync();
        Assert.Null(copiers.WhenRoom());
    }
}
