// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>The requests of one connection that are not answered, how far each has come, and which writes a flush has covered.</summary>
/// <remarks>
/// <para>A connection that has failed takes no more answers. So the count of its acknowledged writes is final when it is asked which of
/// them no flush has covered.</para>
/// <para>Threading. Safe for concurrent use. One caller at a time has the turn to send. The lock may be taken while that of
/// <see cref="ConnectionSet"/> is held, never the other way round. A request may be completed under it, because its caller goes on
/// elsewhere.</para>
/// </remarks>
internal sealed class OutstandingRequests
{
    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, NbdRequest> _unanswered = [];
    private readonly Queue<NbdRequest> _toSend = new();
    private BlockException? _failure;
    private TaskCompletionSource? _sendingEnded;
    private ulong _nextCookie = 1;
    private long _acknowledgedWrites;
    private long _coveredWrites;
    private int _load;
    private int _largeReads;
    private bool _isSending;
    private bool _hasAnswered;

    /// <summary>How many there are.</summary>
    public int Load => Volatile.Read(ref _load);

    /// <summary>True while a long payload may come.</summary>
    public bool ExpectsLargeReads => Volatile.Read(ref _largeReads) != 0;

    /// <summary>Why the connection ended; null while it lives.</summary>
    public BlockException? Failure => Volatile.Read(ref _failure);

    /// <summary>True once the server has answered a request.</summary>
    public bool HasAnswered => Volatile.Read(ref _hasAnswered);

    /// <summary>True when the server has acknowledged writes over this connection that no flush has covered.</summary>
    public bool HasUnflushedWrites
    {
        get
        {
            lock (_gate)
            {
                return _acknowledgedWrites > _coveredWrites;
            }
        }
    }

    /// <summary>Takes a request over for its connection.</summary>
    /// <param name="request">The request.</param>
    /// <param name="connection">The connection, which these are the requests of.</param>
    /// <param name="hasTurn">True when no send runs, and the caller has the turn to send.</param>
    /// <returns>False when the connection has ended; the request stays the caller's.</returns>
    public bool TryAdd(NbdRequest request, NbdConnection connection, out bool hasTurn)
    {
        lock (_gate)
        {
            hasTurn = _failure is null && !_isSending;
            if (_failure is not null)
            {
                return false;
            }

            request.Place(connection, _nextCookie++);
            if (request.IsCancelRequested)
            {
                hasTurn = false;
                request.Complete(null);
                return true;
            }

            _unanswered.Add(request.Cookie, request);
            _load++;
            _largeReads += request.IsLargeRead ? 1 : 0;
            request.CoversThrough = _acknowledgedWrites;
            _toSend.Enqueue(request);
            _isSending = true;
            return true;
        }
    }

    /// <summary>Moves requests from the queue into the buffer; false, and the turn to send has ended, when there are none.</summary>
    /// <param name="buffer">Takes headers and short payloads.</param>
    /// <param name="large">The last request of them, when more of its payload must follow. <see cref="TryEndSending"/> must, too.</param>
    /// <param name="rest">The payload that must follow.</param>
    public bool TryFill(SendBuffer buffer, out NbdRequest? large, out ReadOnlyMemory<byte> rest)
    {
        buffer.Clear();
        large = null;
        rest = default;
        lock (_gate)
        {
            while (_failure is null && large is null && _toSend.TryPeek(out NbdRequest? request) && buffer.HasRoomFor(request))
            {
                _toSend.Dequeue();
                if (request.IsCancelRequested)
                {
                    Remove(request);
                    request.Complete(null);
                    continue;
                }

                rest = buffer.Add(request);
                request.IsSent = true;
                if (!rest.IsEmpty)
                {
                    request.IsBeingSent = true;
                    large = request;
                }
            }

            if (buffer.Filled.IsEmpty)
            {
                StopSending();
            }

            return !buffer.Filled.IsEmpty;
        }
    }

    /// <summary>All of a long payload was sent, or never will be.</summary>
    /// <returns>True when the request is answered and the caller is to complete it.</returns>
    public bool TryEndSending(NbdRequest request)
    {
        lock (_gate)
        {
            request.IsBeingSent = false;
            return _failure is null && TryRemove(request);
        }
    }

    /// <summary>Gives the turn to send back.</summary>
    public void StopSending()
    {
        lock (_gate)
        {
            _isSending = false;
            _sendingEnded?.TrySetResult();
            _sendingEnded = null;
        }
    }

    /// <summary>Completes when no send runs.</summary>
    public Task SendingEndedAsync()
    {
        lock (_gate)
        {
            if (!_isSending)
            {
                return Task.CompletedTask;
            }

            _sendingEnded ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _sendingEnded.Task;
        }
    }

    /// <summary>Waits for the turn to send. The last sender may still have it, although all replies are there.</summary>
    /// <returns>False when the connection has ended.</returns>
    public async ValueTask<bool> TryBeginSendingAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            Task sendingEnded;
            lock (_gate)
            {
                if (_failure is not null)
                {
                    return false;
                }

                if (!_isSending)
                {
                    _isSending = true;
                    return true;
                }

                sendingEnded = SendingEndedAsync();
            }

            await sendingEnded.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The request of a cookie; null when it was answered or the connection has ended.</summary>
    public NbdRequest? Find(ulong cookie)
    {
        lock (_gate)
        {
            return _failure is null ? _unanswered.GetValueOrDefault(cookie) : null;
        }
    }

    /// <summary>The request of a cookie, when it was sent and a reply may come.</summary>
    public NbdRequest? FindSent(ulong cookie)
    {
        lock (_gate)
        {
            return _unanswered.TryGetValue(cookie, out NbdRequest? request) && request is { IsSent: true, IsAnswered: false }
                ? request
                : null;
        }
    }

    /// <summary>The reply to a request is complete.</summary>
    /// <returns>True when the caller is to complete the request; false while its data is being sent, and when the connection has
    /// ended.</returns>
    public bool TryFinish(NbdRequest request)
    {
        lock (_gate)
        {
            if (_failure is not null)
            {
                return false;
            }

            _hasAnswered = true;
            if (request.Error == NbdError.None && request.NeedsFlush)
            {
                _acknowledgedWrites++;
            }
            else if (request.Error == NbdError.None && request.Command == NbdCommand.Flush)
            {
                _coveredWrites = Math.Max(_coveredWrites, request.CoversThrough);
            }

            request.IsAnswered = true;
            return TryRemove(request);
        }
    }

    /// <summary>Counts all acknowledged writes as covered, for a server that has no flush.</summary>
    public void CoverWrites()
    {
        lock (_gate)
        {
            _coveredWrites = _acknowledgedWrites;
        }
    }

    /// <summary>Takes no more requests and no more answers; false when that was so before.</summary>
    public bool TryFail(BlockException failure)
    {
        lock (_gate)
        {
            if (_failure is not null)
            {
                return false;
            }

            _failure = failure;
            return true;
        }
    }

    /// <summary>Gives up all requests that are left after a failure, answered or not.</summary>
    public NbdRequest[] TakeAll()
    {
        lock (_gate)
        {
            NbdRequest[] rest = [.. _unanswered.Values];
            _unanswered.Clear();
            _toSend.Clear();
            return rest;
        }
    }

    // Under the lock, as the next.
    private bool TryRemove(NbdRequest request)
    {
        bool isOver = request is { IsAnswered: true, IsBeingSent: false };
        if (isOver)
        {
            Remove(request);
        }

        return isOver;
    }

    private void Remove(NbdRequest request)
    {
        _unanswered.Remove(request.Cookie);
        _load--;
        _largeReads -= request.IsLargeRead ? 1 : 0;
    }
}
