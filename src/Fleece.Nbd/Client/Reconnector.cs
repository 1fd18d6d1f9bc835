// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Client;

/// <content>What happens when a connection is lost.</content>
internal sealed partial class ConnectionSet
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(5);

    private bool _isReconnecting;
    private int _fruitlessAttempts;
    private BlockException? _lastLoss;

    private bool NeverGivesUp => options.ReconnectTimeout == Timeout.InfiniteTimeSpan;

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

            if (connection.HasUnflushedWrites)
            {
                Losses.Add();
            }

            _lastLoss = failure;
            if (connection.HasAnswered)
            {
                _fruitlessAttempts = 0;
            }

            if (failure.Kind != BlockErrorKind.ConnectionLost || options.ReconnectTimeout == TimeSpan.Zero)
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
        if (!NeverGivesUp && options.Time.GetElapsedTime(request.InterruptedAt.Value) > options.ReconnectTimeout && Failure() is null)
        {
            // A server that comes back each time and dies of the request must not keep it for ever.
            request.Complete(GaveUp());
        }
        else
        {
            Submit(request);
        }
    }

    private async Task ReconnectAsync()
    {
        long startedAt = options.Time.GetTimestamp();
        try
        {
            while (true)
            {
                TimeSpan pause = NextPause();
                TimeSpan left = NeverGivesUp ? TimeSpan.MaxValue : options.ReconnectTimeout - options.Time.GetElapsedTime(startedAt);
                if (pause >= left)
                {
                    EndWaiting(GaveUp());
                    return;
                }

                await Task.Delay(pause, options.Time, _closing.Token).ConfigureAwait(false);
                if (await TryReconnectAsync(left - pause).ConfigureAwait(false))
                {
                    return;
                }
            }
        }
        catch (OperationCanceledException) when (_closing.IsCancellationRequested)
        {
            // Closing has failed those who waited.
        }
        catch (Exception cause)
        {
            // What no attempt expects must not leave requests waiting.
            EndForGood(ServerErrors.ConnectionLost(uri, cause.Message, cause));
        }
    }

    /// <summary>True when there is no more to try.</summary>
    private async ValueTask<bool> TryReconnectAsync(TimeSpan left)
    {
        NbdLink link;
        try
        {
            TimeSpan timeout = left < options.ConnectTimeout ? left : options.ConnectTimeout;
            link = await _dialer.DialAsync(timeout, _closing.Token).ConfigureAwait(false);
        }
        catch (BlockException failure) when (IsFinal(failure))
        {
            EndForGood(failure);
            return true;
        }
        catch (BlockException failure)
        {
            lock (_gate)
            {
                _lastLoss = failure;
            }

            return false;
        }

        if (link.Export.CanStandInFor(_export!))
        {
            Use(link);
            return true;
        }

        await link.DisposeAsync().ConfigureAwait(false);
        EndForGood(new BlockException(
            BlockErrorKind.ConnectionLost,
            $"The server at '{uri}' came back with another export: {Describe(link.Export)} in place of {Describe(_export!)}" +
            $"{DescribeIdentity(link.Export, _export!)}. " +
            "Nothing more is read from it or written to it; open it anew.",
            uri.ToString()));
        return true;
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
        if (Failure() is BlockException failure)
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
            _fruitlessAttempts = 0;
            waiting = TakeWaiting();
        }

        FailAll(waiting, failure);
    }

    /// <summary>Nothing before the first attempt; then 100 ms, doubling to 5 s, of which up to half is left out by chance so that
    /// many clients do not come back at once.</summary>
    private TimeSpan NextPause()
    {
        int attempt;
        lock (_gate)
        {
            attempt = _fruitlessAttempts++;
        }

        double longest = FirstPause.TotalMilliseconds * Math.Pow(2, attempt - 1);
        return attempt == 0
            ? TimeSpan.Zero
            : TimeSpan.FromMilliseconds(Math.Min(longest, LongestPause.TotalMilliseconds) * (0.5 + Random.Shared.NextDouble() / 2));
    }

    // What another attempt would meet again. A connection that ended during TLS may also have met a server that went down.
    private static bool IsFinal(BlockException failure) =>
        failure.Kind == BlockErrorKind.ProtocolViolated ||
        (failure.Kind == BlockErrorKind.TlsFailed && failure.InnerException is not IOException);

    private BlockException? Failure()
    {
        lock (_gate)
        {
            return _failure;
        }
    }

    private BlockException GaveUp()
    {
        BlockException? last;
        lock (_gate)
        {
            last = _lastLoss;
        }

        return ServerErrors.ConnectionLost(
            uri,
            $"it did not come back within {options.ReconnectTimeout.TotalSeconds:0.#} seconds. The last attempt: {last?.Message}",
            last);
    }

    private static string DescribeIdentity(AgreedExport export, AgreedExport first) =>
        IdentityQuery.FindDifference(export.Identity, first.Identity) is { Length: not 0 } keys
            ? $", with another identity ({string.Join(", ", keys)})"
            : string.Empty;

    private static string Describe(AgreedExport export) =>
        $"{export.LengthBytes} bytes{(export.IsReadOnly ? " read-only" : string.Empty)}, flags 0x{(ushort)export.Flags:x4}, " +
        $"{export.Form} replies, blocks of {export.AlignmentBytes} bytes";
}
