// SPDX-License-Identifier: MIT
using Xunit;

namespace Fleece.Block.Tests;

public sealed class RequestGateTests
{
    private readonly RequestGate _gate = new();

    [Fact]
    public void An_open_gate_lets_requests_in_without_waiting()
    {
        Assert.True(_gate.TryEnter(out int first));
        Assert.True(_gate.TryEnter(out int second));
        _gate.Exit(second);
        _gate.Exit(first);
    }

    [Fact]
    public async Task An_idle_gate_is_held_at_once()
    {
        ValueTask<bool> held = _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None);

        Assert.True(held.IsCompleted);
        Assert.True(await held);
    }

    [Fact]
    public async Task Holding_waits_for_the_requests_that_are_in()
    {
        Assert.True(_gate.TryEnter(out int first));
        Assert.True(_gate.TryEnter(out int second));
        Task<bool> held = _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None).AsTask();
        Assert.False(held.IsCompleted);

        _gate.Exit(first);
        Assert.False(held.IsCompleted);
        _gate.Exit(second);

        Assert.True(await held);
    }

    [Fact]
    public async Task A_held_gate_keeps_new_requests_back_until_it_is_released()
    {
        await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None);

        Assert.False(_gate.TryEnter(out _));
        ValueTask<int> entering = _gate.EnterAsync(CancellationToken.None);
        Assert.False(entering.IsCompleted);
        _gate.Release();

        int ticket = await entering;
        Assert.True(ticket >= 0);
        _gate.Exit(ticket);
    }

    [Fact]
    public async Task A_hold_that_is_given_up_lets_requests_go_on_and_the_next_one_waits_for_the_same_request()
    {
        Assert.True(_gate.TryEnter(out int stuck));
        await Assert.ThrowsAsync<TimeoutException>(() => _gate.HoldAsync(TimeSpan.Zero, CancellationToken.None).AsTask());
        using CancellationTokenSource stop = new();
        Task<bool> held = _gate.HoldAsync(Timeout.InfiniteTimeSpan, stop.Token).AsTask();
        ValueTask<int> entering = _gate.EnterAsync(CancellationToken.None);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => held);

        _gate.Exit(await entering);
        held = _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None).AsTask();
        Assert.False(held.IsCompleted);
        _gate.Exit(stuck);
        Assert.True(await held);
    }

    [Fact]
    public async Task A_request_that_was_refused_entry_does_not_count_as_in_flight()
    {
        await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None);
        Assert.False(_gate.TryEnter(out _));
        _gate.Release();

        Assert.True(_gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None).AsTask().IsCompleted);
    }

    [Fact]
    public async Task A_waiting_request_can_be_cancelled()
    {
        await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None);
        using CancellationTokenSource source = new();
        ValueTask<int> entering = _gate.EnterAsync(source.Token);

        await source.CancelAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await entering);
        _gate.Release();
        Assert.True(_gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None).AsTask().IsCompleted);
    }

    [Fact]
    public async Task A_gate_can_be_held_again_and_again()
    {
        for (int round = 0; round < 100; round++)
        {
            Assert.True(_gate.TryEnter(out int ticket));
            Task<bool> held = _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None).AsTask();
            _gate.Exit(ticket);
            Assert.True(await held);
            _gate.Release();
        }
    }

    [Fact]
    public async Task A_second_party_can_not_hold_a_held_gate()
    {
        await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None);

        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None));

        Assert.Equal(BlockErrors.InvariantBroken, exception.Kind);
    }

    [Fact]
    public async Task Closing_waits_for_the_requests_that_are_in_and_refuses_new_ones()
    {
        Assert.True(_gate.TryEnter(out int ticket));
        Task closed = _gate.CloseAsync();

        Assert.True(_gate.IsClosed);
        Assert.False(closed.IsCompleted);
        Assert.False(_gate.TryEnter(out _));
        Assert.Equal(-1, await _gate.EnterAsync(CancellationToken.None));
        Assert.False(await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None));
        Assert.False(closed.IsCompleted);
        _gate.Exit(ticket);

        await closed;
    }

    [Fact]
    public async Task Closing_a_held_gate_turns_the_waiting_requests_away()
    {
        await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None);
        ValueTask<int> entering = _gate.EnterAsync(CancellationToken.None);

        await _gate.CloseAsync();

        Assert.Equal(-1, await entering);
        _gate.Release();
        Assert.False(_gate.TryEnter(out _));
    }

    [Fact]
    public async Task A_party_that_waits_to_hold_a_gate_learns_that_it_was_closed()
    {
        Assert.True(_gate.TryEnter(out int ticket));
        Task<bool> held = _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None).AsTask();
        Task closed = _gate.CloseAsync();

        _gate.Exit(ticket);

        Assert.False(await held);
        await closed;
    }

    [Fact]
    public async Task No_request_is_ever_in_while_the_gate_is_held()
    {
        // Goal: counting and holding do not race. Method: threads enter and leave as fast as they can and count
        // themselves in; whoever holds the gate looks at that count.
        const int ThreadCount = 4;
        const int Rounds = 1000;
        int inside = 0;
        using CancellationTokenSource stop = new();
        Task[] requests = new Task[ThreadCount];
        for (int i = 0; i < ThreadCount; i++)
        {
            requests[i] = Task.Run(async () =>
            {
                while (!stop.IsCancellationRequested)
                {
                    if (!_gate.TryEnter(out int ticket))
                    {
                        ticket = await _gate.EnterAsync(CancellationToken.None);
                    }

                    Interlocked.Increment(ref inside);
                    Interlocked.Decrement(ref inside);
                    _gate.Exit(ticket);
                }
            });
        }

        for (int round = 0; round < Rounds; round++)
        {
            Assert.True(await _gate.HoldAsync(Timeout.InfiniteTimeSpan, CancellationToken.None));
            Assert.Equal(0, Volatile.Read(ref inside));
            _gate.Release();
        }

        await stop.CancelAsync();
        await Task.WhenAll(requests);
        await _gate.CloseAsync();
    }
}
