// SPDX-License-Identifier: MIT
using Fleece.Block.Files;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Files;

public sealed class SharedFlushTests : IDisposable
{
    private const int Waiting = 6;

    private readonly SemaphoreSlim _begun = new(0);
    private readonly SemaphoreSlim _mayEnd = new(0);
    private Exception? _failure;
    private int _count;

    public void Dispose()
    {
        _begun.Dispose();
        _mayEnd.Dispose();
    }

    [Fact]
    public async Task Those_that_wait_for_a_flush_share_the_next()
    {
        SharedFlush flush = new(Flush, "file");
        Task first = OwnThread.Run(flush.Run);
        await _begun.WaitAsync(TestContext.Current.CancellationToken);
        Task[] waiting = [.. Enumerable.Range(0, Waiting).Select(_ => OwnThread.Run(flush.Run))];
        Assert.True(SpinWait.SpinUntil(() => flush.AskedCount == 1 + Waiting, TimeSpan.FromMinutes(1)));

        _mayEnd.Release();
        await first;
        await _begun.WaitAsync(TestContext.Current.CancellationToken);

        // What asked while the first ran is not served by it.
        Assert.DoesNotContain(waiting, task => task.IsCompleted);
        _mayEnd.Release();
        await Task.WhenAll(waiting);
        Assert.Equal(2, _count);
    }

    [Fact]
    public async Task One_that_comes_alone_is_a_flush_of_its_own()
    {
        SharedFlush flush = new(Flush, "file");
        _mayEnd.Release(2);

        await OwnThread.Run(flush.Run);
        await OwnThread.Run(flush.Run);

        Assert.Equal(2, _count);
    }

    [Fact]
    public async Task A_failure_is_that_of_all_who_waited_and_of_all_later_ones()
    {
        SharedFlush flush = new(Flush, "file");
        _failure = new IOException("the disk is gone");
        Task first = OwnThread.Run(flush.Run);
        await _begun.WaitAsync(TestContext.Current.CancellationToken);
        Task waiting = OwnThread.Run(flush.Run);
        Assert.True(SpinWait.SpinUntil(() => flush.AskedCount == 2, TimeSpan.FromMinutes(1)));
        _mayEnd.Release();

        await Assert.ThrowsAsync<BlockException>(() => first);
        await Assert.ThrowsAsync<BlockException>(() => waiting);
        Assert.Throws<BlockException>(flush.Run);
        Assert.Equal(1, _count);
    }

    private void Flush()
    {
        Interlocked.Increment(ref _count);
        _begun.Release();
        _mayEnd.Wait();
        if (_failure is not null)
        {
            throw _failure;
        }
    }
}
