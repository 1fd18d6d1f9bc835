// SPDX-License-Identifier: MIT
using Fleece.Block.Buffers;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Block.Tests.Buffers;

/// <summary>What the pool gives, and what it holds when nothing is used.</summary>
public sealed class PagePoolTests
{
    private const int MiB = 1024 * 1024;

    private readonly ManualTime _time = new();

    // The lengths meet on both sides of each class's ends.
    [Fact]
    public void A_buffer_is_never_shorter_than_asked_also_when_it_was_used_before()
    {
        PagePool pool = new(256L * MiB, _time);
        for (int round = 0; round < 2; round++)
        {
            for (int bytes = 1; bytes <= 64 * MiB; bytes *= 2)
            {
                foreach (int lengthBytes in new[] { bytes - 1, bytes, bytes + 1, bytes + 40, bytes + 4096, bytes + 4097 })
                {
                    PageBuffer buffer = pool.Rent(lengthBytes);
                    Assert.InRange(lengthBytes, 0, buffer.LengthBytes);
                    Assert.Equal(PagePool.LengthOf(lengthBytes), buffer.LengthBytes);
                    buffer.GetSpan()[^1] = 1;
                    pool.Return(buffer);
                }
            }
        }
    }

    [Fact]
    public void A_buffer_that_is_used_again_and_again_is_the_same()
    {
        PagePool pool = new(64 * MiB, _time);
        PageBuffer first = pool.Rent(MiB);
        pool.Return(first);

        Assert.Same(first, pool.Rent(MiB));
        Assert.Equal(0, pool.KeptBytes);
    }

    [Fact]
    public void No_more_is_kept_than_allowed()
    {
        PagePool pool = new(3 * MiB, _time);
        PageBuffer[] buffers = [.. Enumerable.Range(0, 16).Select(_ => pool.Rent(512 * 1024))];

        Array.ForEach(buffers, pool.Return);

        Assert.Equal(3 * MiB, pool.KeptBytes);
    }

    [Fact]
    public void Buffers_that_nobody_needs_go_back_to_the_system_and_the_others_stay()
    {
        PagePool pool = new(64 * MiB, _time);
        PageBuffer[] buffers = [.. Enumerable.Range(0, 4).Select(_ => pool.Rent(512 * 1024))];
        Array.ForEach(buffers, pool.Return);

        _time.Advance(TimeSpan.FromSeconds(2));
        PageBuffer used = pool.Rent(512 * 1024);
        pool.Return(used);
        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(512 * 1024, pool.KeptBytes);

        _time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(0, pool.KeptBytes);
        Assert.Throws<ObjectDisposedException>(() => used.Memory);
    }

    [Fact]
    public void A_pool_that_was_empty_gives_back_again()
    {
        PagePool pool = new(64 * MiB, _time);
        for (int round = 0; round < 2; round++)
        {
            pool.Return(pool.Rent(MiB));
            _time.Advance(TimeSpan.FromSeconds(2));
            _time.Advance(TimeSpan.FromSeconds(2));
            Assert.Equal(0, pool.KeptBytes);
        }
    }

    [Fact]
    public void A_buffer_can_be_returned_once()
    {
        PagePool pool = new(64 * MiB, _time);
        PageBuffer buffer = pool.Rent(1);
        pool.Return(buffer);

        Assert.Throws<InvalidOperationException>(() => pool.Return(buffer));
    }
}
