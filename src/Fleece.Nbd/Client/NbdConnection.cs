// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>One connection in its transmission phase: requests go out, replies come back in any order.</summary>
/// <remarks>
/// <para>A caller that finds no send running sends its request, and those that come meanwhile. <see cref="RunAsync"/> reads replies until
/// the connection ends. When neither runs any more, it hands back the requests that were not answered, so no buffer is touched after its
/// request has completed.</para>
/// <para>Threading. Safe for concurrent use.</para>
/// </remarks>
internal sealed class NbdConnection(NbdLink link, NbdUri uri, NbdNodeOptions options, ConnectionSet owner)
{
    // Enough for a server to end the connection after it has been told to; closing must not hang.
    private static readonly TimeSpan FarewellLimit = TimeSpan.FromSeconds(1);

    private readonly OutstandingRequests _requests = new();
    private readonly SendBuffer _toSend = new(link.Export.IsExtended);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The requests that it has under way.</summary>
    public OutstandingRequests Requests => _requests;

    /// <summary>Why it ended; null while it lives.</summary>
    public BlockException? Failure => _requests.Failure;

    /// <summary>Takes a request over.</summary>
    /// <returns>False when the connection has ended; the request stays the caller's.</returns>
    public bool TrySubmit(NbdRequest request)
    {
        bool isTaken = _requests.TryAdd(request, this, out bool hasTurn);
        if (hasTurn)
        {
            _ = SendQueuedAsync();
        }

        return isTaken;
    }

    /// <summary>The reply to a request is complete.</summary>
    public void Finish(NbdRequest request)
    {
        if (_requests.TryFinish(request))
        {
            Complete(request);
        }
    }

    /// <summary>The caller no longer wants a request: it ends with its reply, or else with the connection.</summary>
    public void Cancel(NbdRequest request)
    {
        ulong cookie = request.Cookie;
        if (_requests.Find(cookie) == request)
        {
            _ = EndUnlessAnsweredAsync(cookie);
        }
    }

    /// <summary>Ends the connection; what is unanswered goes back to the owner as soon as nothing touches it any more.</summary>
    public void Close(BlockException failure)
    {
        if (_requests.TryFail(failure))
        {
            link.Socket.Dispose();
            owner.Retire(this);
        }
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
            Close(RequestErrors.ConnectionLost(uri, cause.Message, cause));
        }

        await _requests.SendingEndedAsync().ConfigureAwait(false);
        await link.DisposeAsync().ConfigureAwait(false);
        _ended.SetResult();

        // A send that met the end first may not have said so yet, and what is handed back must not go to a connection that is about to end:
        // without reconnecting, no request is ever sent twice.
        owner.Retire(this);
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

    // Never throws; a failure closes the connection.
    private async Task SendQueuedAsync()
    {
        NbdRequest? large = null;
        try
        {
            while (_requests.TryFill(_toSend, out large, out ReadOnlyMemory<byte> rest))
            {
                await link.Stream.WriteAsync(_toSend.Filled).ConfigureAwait(false);
                if (large is not null)
                {
                    await link.Stream.WriteAsync(rest).ConfigureAwait(false);
                    EndSending(large);
                    large = null;
                }
            }
        }
        catch (Exception cause)
        {
            Close(RequestErrors.ConnectionLost(uri, cause.Message, cause));
            if (large is not null)
            {
                EndSending(large);
            }

            _requests.StopSending();
        }
    }

    private void EndSending(NbdRequest request)
    {
        if (_requests.TryEndSending(request))
        {
            Complete(request);
        }
    }

    private async ValueTask<bool> TrySendDisconnectAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!await _requests.TryBeginSendingAsync(cancellationToken).ConfigureAwait(false))
            {
                return false;
            }
        }
        catch (OperationCanceledException)
        {
            return false;
        }

        try
        {
            _toSend.Clear();
            _toSend.AddHeader(new RequestHeader(CommandFlags.None, NbdCommand.Disconnect, 0, 0, 0));
            await link.Stream.WriteAsync(_toSend.Filled, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (Exception cause) when (cause is IOException or ObjectDisposedException or OperationCanceledException)
        {
            return false;
        }
        finally
        {
            _requests.StopSending();
        }
    }

    private async ValueTask WaitForEndAsync()
    {
        try
        {
            await _ended.Task.WaitAsync(FarewellLimit, options.Time).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // The caller goes on without the server's goodbye.
        }
    }

    private async Task EndUnlessAnsweredAsync(ulong cookie)
    {
        await Task.WhenAny(_ended.Task, Task.Delay(options.CancelGrace, options.Time)).ConfigureAwait(false);
        if (_requests.Find(cookie) is not null)
        {
            Close(RequestErrors.ConnectionLost(
                uri, $"it was given up because a cancelled request stayed unanswered for {options.CancelGrace.TotalSeconds:0.#} seconds."));
        }
    }

    private void HandBack()
    {
        foreach (NbdRequest request in _requests.TakeAll())
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

    private void Complete(NbdRequest request) =>
        request.Complete(
            request.Error == NbdError.None ? null : RequestErrors.RequestFailed(
                uri, request, request.Error, request.ErrorText, options));
}
