// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>One connection in its transmission phase: requests go out, replies come back in any order.</summary>
/// <remarks>
/// <para>Whoever finds nobody sending sends, for all who come meanwhile; <see cref="RunAsync"/> reads replies until the connection
/// ends, and only then, with nobody reading or sending, hands back what was not answered. So no buffer is touched after its request
/// has completed.</para>
/// <para>From the moment it fails it takes no more answers. What it has acknowledged is settled then, which is what the accounting
/// of writes without a flush needs.</para>
/// <para>Threading. Safe for concurrent use. Its lock may be taken while that of <see cref="ConnectionSet"/> is held, never the other
/// way round.</para>
/// </remarks>
internal sealed partial class NbdConnection(NbdLink link, NbdUri uri, NbdNodeOptions options, ConnectionSet owner)
{
    // Enough for a server to end the connection after it has been told to; closing must not hang.
    private static readonly TimeSpan FarewellLimit = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<ulong, NbdRequest> _unanswered = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private BlockException? _failure;
    private ulong _nextCookie = 1;
    private int _load;
    private int _largeReads;
    private long _acknowledgedWrites;
    private long _coveredWrites;
    private bool _hasAnswered;

    /// <summary>What was agreed with the server.</summary>
    public AgreedExport Export => link.Export;

    /// <summary>Requests that are not answered.</summary>
    public int Load => Volatile.Read(ref _load);

    /// <summary>True while a long payload may come.</summary>
    public bool ExpectsLargeReads => Volatile.Read(ref _largeReads) != 0;

    /// <summary>Why it ended; null while it lives.</summary>
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

    /// <summary>Takes a request over.</summary>
    /// <returns>False when the connection has ended; the request stays the caller's.</returns>
    public bool TrySubmit(NbdRequest request)
    {
        bool isCancelled;
        lock (_gate)
        {
            if (_failure is not null)
            {
                return false;
            }

            request.Place(this, _nextCookie++);
            isCancelled = request.IsCancelRequested;
            if (!isCancelled)
            {
                _unanswered.Add(request.Cookie, request);
                _load++;
                _largeReads += request.IsLargeRead ? 1 : 0;
                request.CoversThrough = _acknowledgedWrites;
                _toSend.Enqueue(request);
                if (_isSending)
                {
                    return true;
                }

                _isSending = true;
            }
        }

        if (isCancelled)
        {
            request.Complete(null);
        }
        else
        {
            _ = SendQueuedAsync();
        }

        return true;
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
    public void Finish(NbdRequest request)
    {
        lock (_gate)
        {
            if (_failure is not null)
            {
                return;
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
            if (request.IsBeingSent)
            {
                return;
            }

            Remove(request);
        }

        Complete(request);
    }

    /// <summary>Counts all acknowledged writes as covered, for a server that has no flush.</summary>
    public void CoverWrites()
    {
        lock (_gate)
        {
            _coveredWrites = _acknowledgedWrites;
        }
    }

    /// <summary>The caller no longer wants a request: it ends with its reply, or else with the connection.</summary>
    public void Cancel(NbdRequest request)
    {
        ulong cookie = request.Cookie;
        lock (_gate)
        {
            if (_failure is not null || !_unanswered.TryGetValue(cookie, out NbdRequest? held) || held != request)
            {
                return;
            }
        }

        _ = EndUnlessAnsweredAsync(cookie);
    }

    /// <summary>Ends the connection; what is unanswered goes back to the owner as soon as nothing touches it any more.</summary>
    public void Close(BlockException failure)
    {
        lock (_gate)
        {
            if (_failure is not null)
            {
                return;
            }

            _failure = failure;
        }

        link.Socket.Dispose();
        owner.Retire(this);
    }

    /// <summary>Reads replies until the connection ends. Never throws.</summary>
    public async Task RunAsync()
    {
        ReplyReader reader = new(link.Stream, uri, link.Export, this);
        try
        {
            while (true)
            {
                await reader.ReadOneAsync().ConfigureAwait(false);
            }
        }
        catch (BlockException violation)
        {
            Close(violation);
        }
        catch (Exception cause)
        {
            // Streams end in many ways: sockets, TLS and the disposal of either have each their own exceptions.
            Close(ServerErrors.ConnectionLost(uri, cause.Message, cause));
        }

        await SendingEndedAsync().ConfigureAwait(false);
        await link.DisposeAsync().ConfigureAwait(false);
        _ended.SetResult();
        HandBack();
    }

    /// <summary>Says goodbye and closes, within two seconds whatever the server does.</summary>
    public async ValueTask DisconnectAsync(BlockException failure)
    {
        using (CancellationTokenSource limit = new(FarewellLimit, options.Time))
        {
            if (await TrySendDisconnectAsync(limit.Token).ConfigureAwait(false))
            {
                await WaitForEndAsync().ConfigureAwait(false);
            }
        }

        Close(failure);
        await WaitForEndAsync().ConfigureAwait(false);
    }

    private async ValueTask WaitForEndAsync()
    {
        try
        {
            await _ended.Task.WaitAsync(FarewellLimit, options.Time).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // Whoever waits goes on without the server's goodbye.
        }
    }

    private async Task EndUnlessAnsweredAsync(ulong cookie)
    {
        await Task.WhenAny(_ended.Task, Task.Delay(options.CancelGrace, options.Time)).ConfigureAwait(false);
        bool isUnanswered;
        lock (_gate)
        {
            isUnanswered = _unanswered.ContainsKey(cookie);
        }

        if (isUnanswered)
        {
            Close(ServerErrors.ConnectionLost(
                uri, $"it was given up because a cancelled request stayed unanswered for {options.CancelGrace.TotalSeconds:0.#} seconds."));
        }
    }

    private void HandBack()
    {
        NbdRequest[] rest;
        lock (_gate)
        {
            rest = [.. _unanswered.Values];
            _unanswered.Clear();
            _toSend.Clear();
        }

        foreach (NbdRequest request in rest)
        {
            if (request.IsAnswered)
            {
                Complete(request);
            }
            else
            {
                owner.Resubmit(request);
            }
        }
    }

    // Under the lock.
    private void Remove(NbdRequest request)
    {
        _unanswered.Remove(request.Cookie);
        _load--;
        _largeReads -= request.IsLargeRead ? 1 : 0;
    }

    private void Complete(NbdRequest request) =>
        request.Complete(
            request.Error == NbdError.None ? null : ServerErrors.RequestFailed(uri, request, request.Error, request.ErrorText));
}
