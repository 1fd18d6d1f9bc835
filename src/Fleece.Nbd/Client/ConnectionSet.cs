// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <summary>The connections of a node: which one takes a request, and what happens to requests when one is lost.</summary>
/// <remarks>Threading. Safe for concurrent use.</remarks>
internal sealed class ConnectionSet(NbdUri uri, NbdNodeOptions options) : IAsyncDisposable
{
    private readonly Lock _gate = new();
    private readonly Dialer _dialer = new(uri, options);
    private readonly Reconnector _reconnector = new(uri, options);
    private readonly CancellationTokenSource _closing = new();
    private readonly List<NbdConnection> _open = [];
    private readonly List<NbdRequest> _waiting = [];
    private AgreedExport? _export;
    private BlockException? _failure;
    private bool _isClosed;
    private bool _isReconnecting;
    private bool _isOpeningAnother;
    private bool _mayOpenAnother;

    /// <summary>Writes that may have been lost.</summary>
    public LossRecord Losses { get; } = new(uri);

    /// <summary>Why all requests fail from now on; null while they do not.</summary>
    public BlockException? Failure
    {
        get
        {
            lock (_gate)
            {
                return _failure;
            }
        }
    }

    /// <summary>Connects for the first time.</summary>
    /// <returns>What was agreed; later connections offer no less.</returns>
    public async ValueTask<AgreedExport> OpenAsync(CancellationToken cancellationToken)
    {
        NbdLink link = await _dialer.DialAsync(options.ConnectTimeout, cancellationToken).ConfigureAwait(false);
        NbdConnection connection = new(link, uri, options, this);
        lock (_gate)
        {
            _export = link.Export;
            _mayOpenAnother = link.Export.Offers(TransmissionFlags.CanMultiConn);
            _open.Add(connection);
        }

        _ = connection.RunAsync();
        return link.Export;
    }

    /// <summary>Gives a request to the connection with the least to do, or lets it wait for one, or fails it.</summary>
    public void Submit(NbdRequest request)
    {
        while (Place(request) is NbdConnection connection && !connection.TrySubmit(request))
        {
            // It has ended and has not said so yet.
            Retire(connection);
        }
    }

    /// <summary>The caller no longer wants a request.</summary>
    public void Cancel(NbdRequest request)
    {
        bool wasWaiting;
        lock (_gate)
        {
            wasWaiting = _waiting.Remove(request);
        }

        if (wasWaiting)
        {
            request.Complete(null);
        }
        else
        {
            request.Connection?.Cancel(request);
        }
    }

    /// <summary>The connections whose acknowledged writes the next flush must cover.</summary>
    /// <remarks>
    /// A flush over one connection covers the writes of all (CAN_MULTI_CONN), but only of the same server: a connection that was
    /// opened later may have met its successor before the loss of the older ones shows. So each one gets its own flush.
    /// </remarks>
    public NbdConnection[] FindUnflushed()
    {
        lock (_gate)
        {
            return [.. _open.Where(connection => connection.Requests.HasUnflushedWrites)];
        }
    }

    /// <summary>A connection has ended: it gets no more requests, and its writes that no flush covered count as lost.</summary>
    public void Retire(NbdConnection connection)
    {
        NbdConnection[] others = [];
        BlockException failure = connection.Failure!;
        lock (_gate)
        {
            if (!_open.Remove(connection) || _isClosed)
            {
                return;
            }

            if (connection.Requests.HasUnflushedWrites)
            {
                Losses.Add();
            }

            _reconnector.NoteLoss(failure, connection.Requests.HasAnswered);
            if (failure.Kind != NbdErrors.ConnectionLost || options.ReconnectTimeout == TimeSpan.Zero)
            {
                _failure ??= failure;
                others = [.. _open];
            }
        }

        foreach (NbdConnection other in others)
        {
            other.Close(failure);
        }
    }

    /// <summary>Sends a request again whose connection was lost before it was answered.</summary>
    public void Resubmit(NbdRequest request)
    {
        request.InterruptedAt ??= options.Time.GetTimestamp();
        if (_reconnector.IsTooLate(request.InterruptedAt.Value) && Failure is null)
        {
            // A server that comes back each time and dies of the request must not keep it for ever.
            request.Complete(_reconnector.GaveUp());
        }
        else
        {
            Submit(request);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        BlockException failure = new(BlockErrors.Closed, $"The disk '{uri}' has been closed. Open it again to use it.", uri.ToString());
        NbdConnection[] open;
        NbdRequest[] waiting;
        lock (_gate)
        {
            if (_isClosed)
            {
                return;
            }

            _isClosed = true;
            _failure = failure;
            open = [.. _open];
            waiting = TakeWaiting();
        }

        await _closing.CancelAsync().ConfigureAwait(false);
        FailAll(waiting, failure);
        await Task.WhenAll(open.Select(connection => connection.DisconnectAsync(failure).AsTask())).ConfigureAwait(false);
    }

    /// <summary>The connection that is to send a request; null when it waits for one or has been completed.</summary>
    private NbdConnection? Place(NbdRequest request)
    {
        NbdConnection? connection = null;
        BlockException? failure;
        bool isOver;
        bool beginsReconnecting = false;
        bool beginsAnother = false;
        lock (_gate)
        {
            // Cancelling looks among those that wait under this lock: it finds the request there, or is seen here.
            failure = _failure;
            isOver = failure is not null || request.IsCancelRequested;
            connection = isOver ? null : Choose(request);
            if (connection is not null)
            {
                beginsAnother = connection.Requests.Load != 0 && _mayOpenAnother && !_isOpeningAnother &&
                    _open.Count < options.MaximumConnections;
                _isOpeningAnother |= beginsAnother;
            }
            else if (!isOver)
            {
                _waiting.Add(request);
                beginsReconnecting = !_isReconnecting;
                _isReconnecting = true;
            }
        }

        // A request that waits is no longer ours.
        if (isOver)
        {
            request.Complete(failure is null ? null : Again(failure));
        }
        else if (beginsReconnecting)
        {
            _ = ReconnectAsync();
        }
        else if (beginsAnother)
        {
            _ = OpenAnotherAsync();
        }

        return connection;
    }

    // This and the next run under the lock.
    private NbdConnection? Choose(NbdRequest request)
    {
        if (request.Preferred is not null && _open.Contains(request.Preferred))
        {
            return request.Preferred;
        }

        NbdConnection? least = null;
        foreach (NbdConnection connection in _open)
        {
            least = least is null || connection.Requests.Load < least.Requests.Load ? connection : least;
        }

        return least;
    }

    private NbdRequest[] TakeWaiting()
    {
        NbdRequest[] waiting = [.. _waiting];
        _waiting.Clear();
        return waiting;
    }

    private async Task ReconnectAsync()
    {
        try
        {
            if (await _reconnector.DialAsync(_export!, _closing.Token).ConfigureAwait(false) is { } link)
            {
                Use(link);
            }
            else
            {
                EndWaiting(_reconnector.GaveUp());
            }
        }
        catch (OperationCanceledException) when (_closing.IsCancellationRequested)
        {
            // Closing has failed the requests that waited.
        }
        catch (BlockException failure)
        {
            EndForGood(failure);
        }
        catch (Exception cause)
        {
            // A failure that no attempt expects must not leave requests waiting.
            EndForGood(RequestErrors.ConnectionLost(uri, cause.Message, cause));
        }
    }

    private void Use(NbdLink link)
    {
        NbdConnection connection = new(link, uri, options, this);
        NbdRequest[] waiting;
        lock (_gate)
        {
            _isReconnecting = false;
            _mayOpenAnother = link.Export.Offers(TransmissionFlags.CanMultiConn);
            waiting = TakeWaiting();
            _open.Add(connection);
        }

        // After a dispose that came in between, this finds itself retired by the failure that is set.
        _ = connection.RunAsync();
        if (Failure is BlockException failure)
        {
            connection.Close(failure);
        }

        foreach (NbdRequest request in waiting)
        {
            Submit(request);
        }
    }

    private void EndForGood(BlockException failure)
    {
        lock (_gate)
        {
            _failure ??= failure;
        }

        EndWaiting(failure);
    }

    private void EndWaiting(BlockException failure)
    {
        NbdRequest[] waiting;
        lock (_gate)
        {
            _isReconnecting = false;
            waiting = TakeWaiting();
        }

        FailAll(waiting, failure);
    }

    private async Task OpenAnotherAsync()
    {
        NbdLink? link = null;
        try
        {
            link = await _dialer.DialAsync(options.ConnectTimeout, _closing.Token).ConfigureAwait(false);
        }
        catch (Exception)
        {
            // One connection does all the work then, whatever speaks against another.
        }

        NbdConnection? connection = link is null ? null : new NbdConnection(link, uri, options, this);
        lock (_gate)
        {
            _isOpeningAnother = false;
            bool isUsed = link is not null && _failure is null && _open.Count != 0 && link.Export.CanStandInFor(_export!);
            _mayOpenAnother &= isUsed;
            connection = isUsed ? connection : null;
            if (connection is not null)
            {
                _open.Add(connection);
            }
        }

        if (connection is not null)
        {
            await connection.RunAsync().ConfigureAwait(false);
        }
        else if (link is not null)
        {
            await link.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static void FailAll(NbdRequest[] requests, BlockException failure)
    {
        foreach (NbdRequest request in requests)
        {
            request.Complete(Again(failure));
        }
    }

    // An exception that several requests shared would mix up their stack traces.
    private static BlockException Again(BlockException failure) =>
        new(failure.Kind, failure.Message, failure.Path, cause: failure);
}
