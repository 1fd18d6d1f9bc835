// SPDX-License-Identifier: MIT
using Xunit;

namespace Fleece.Block.Tests;

/// <summary>Who does work that may keep its thread.</summary>
public sealed class WorkThreadsTests
{
    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Work_that_is_to_begin_now_is_refused_when_all_threads_are_busy()
    {
        WorkThreads threads = new("test", maximumThreads: 1);
        Work busy = new();
        Work refused = new();
        Assert.True(threads.TryBegin(busy));
        await busy.Begun.WaitAsync(Token);

        Assert.False(threads.TryBegin(refused));

        busy.MayEnd.Set();
        Assert.False(refused.Begun.IsCompleted);
    }

    [Fact]
    public async Task Work_that_may_wait_is_done_by_the_thread_that_gets_free()
    {
        WorkThreads threads = new("test", maximumThreads: 1);
        Work first = new();
        Work second = new();
        threads.Post(first);
        await first.Begun.WaitAsync(Token);
        threads.Post(second);
        Assert.False(second.Begun.IsCompleted);

        first.MayEnd.Set();

        Assert.Equal(await first.Begun, await second.Begun.WaitAsync(Token));
        second.MayEnd.Set();
    }

    [Fact]
    public async Task Work_that_is_to_begin_now_gets_a_thread_beside_those_that_are_busy()
    {
        WorkThreads threads = new("test", maximumThreads: int.MaxValue);
        Work[] works = [.. Enumerable.Range(0, 40).Select(_ => new Work())];
        Assert.All(works, work => Assert.True(threads.TryBegin(work)));

        int[] ids = await Task.WhenAll(works.Select(work => work.Begun)).WaitAsync(Token);

        Assert.Equal(works.Length, ids.Distinct().Count());
        Assert.All(works, work => work.MayEnd.Set());
    }

    private sealed class Work : IThreadWork
    {
        private readonly TaskCompletionSource<int> _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>The thread that does it.</summary>
        public Task<int> Begun => _begun.Task;

        public ManualResetEventSlim MayEnd { get; } = new();

        public void Execute()
        {
            _begun.SetResult(Environment.CurrentManagedThreadId);
            MayEnd.Wait();
        }
    }
}
