// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;

namespace Fleece.Block;

/// <summary>Counts requests in flight and can hold new ones back until those have drained.</summary>
/// <remarks>
/// <para>Entering costs one interlocked increment on a counter of the current processor and one read. Each of the two
/// parties writes its own word, then reads the other's behind a full fence: a request raises its counter and then
/// reads the state, the drainer sets the state and then reads the counters. So a request either is counted or sees
/// that the gate is shut; it can't slip between.</para>
/// <para>Threading. All members are safe from any thread; one drain at a time.</para>
/// </remarks>
internal sealed class RequestGate
{
    private const int Open = 0;
    private const int Held = 1;
    private const int Closed = 2;

    private readonly PaddedCounter[] _inFlight;
    private readonly Lock _lock = new();
    private volatile int _state = Open;
    private TaskCompletionSource? _drained;
    private TaskCompletionSource? _reopened;

    public RequestGate()
    {
        uint processors = (uint)Math.Min(Environment.ProcessorCount, 64);
        int stripes = (int)System.Numerics.BitOperations.RoundUpToPowerOf2(processors);
        _inFlight = new PaddedCounter[stripes];
    }

    /// <summary>True from the moment <see cref="CloseAsync"/> is called.</summary>
    public bool IsClosed => _state == Closed;

    /// <summary>Enters without waiting. On success the request must call <see cref="Exit"/> with the ticket.</summary>
    public bool TryEnter(out int ticket)
    {
        ticket = Thread.GetCurrentProcessorId() & (_inFlight.Length - 1);
        Interlocked.Increment(ref _inFlight[ticket].Count);
        if (_state == Open)
        {
            return true;
        }

        Exit(ticket);
        return false;
    }

    /// <summary>Waits while the gate is held and enters; returns -1 when it is closed.</summary>
    public async ValueTask<int> EnterAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (TryEnter(out int ticket))
            {
                return ticket;
            }

            Task reopened;
            lock (_lock)
            {
                if (_state == Closed)
                {
                    return -1;
                }

                if (_state == Open)
                {
                    continue;
                }

                reopened = _reopened!.Task;
            }

            await reopened.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Ends a request that entered.</summary>
    public void Exit(int ticket)
    {
        Interlocked.Decrement(ref _inFlight[ticket].Count);
        if (_state != Open)
        {
            CompleteDrainWhenEmpty();
        }
    }

    /// <summary>Holds new requests back and completes when none is in flight. False when the gate is closed.</summary>
    /// <param name="patience">How long requests in flight may take; new ones go on when they take longer.</param>
    /// <param name="cancellationToken">Gives up; new requests go on.</param>
    /// <exception cref="TimeoutException">The patience is over.</exception>
    public async ValueTask<bool> HoldAsync(TimeSpan patience, CancellationToken cancellationToken)
    {
        Task drained;
        lock (_lock)
        {
            if (_state == Closed)
            {
                return false;
            }

            Invariant.Require(_state == Open, "R6", "a disk is quiesced by one party at a time");
            _reopened = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            drained = BeginDrain(Held);
        }

        // Closing while this waited shares the drain; whoever closed disposes the chain, so nobody may change it now.
        try
        {
            await drained.WaitAsync(patience, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            Release();
            throw;
        }

        return _state == Held;
    }

    /// <summary>Lets held requests go on.</summary>
    public void Release()
    {
        TaskCompletionSource? reopened;
        lock (_lock)
        {
            if (_state == Held)
            {
                _state = Open;
            }

            reopened = _reopened;
            _reopened = null;
        }

        reopened?.TrySetResult();
    }

    /// <summary>Refuses new requests for good and completes when none is in flight.</summary>
    public Task CloseAsync()
    {
        TaskCompletionSource? reopened;
        Task drained;
        lock (_lock)
        {
            reopened = _reopened;
            _reopened = null;
            drained = BeginDrain(Closed);
        }

        reopened?.TrySetResult();
        return drained;
    }

    private Task BeginDrain(int state)
    {
        _drained ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task drained = _drained.Task;
        _state = state;
        Interlocked.MemoryBarrier();
        CompleteDrainWhenEmpty();
        return drained;
    }

    private void CompleteDrainWhenEmpty()
    {
        lock (_lock)
        {
            for (int i = 0; i < _inFlight.Length; i++)
            {
                if (Volatile.Read(ref _inFlight[i].Count) != 0)
                {
                    return;
                }
            }

            _drained?.TrySetResult();
            _drained = null;
        }
    }

    // 128 bytes apart, so that two processors never share a line, nor the pair that the prefetcher takes together.
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct PaddedCounter
    {
        [FieldOffset(64)]
        public long Count;
    }
}
