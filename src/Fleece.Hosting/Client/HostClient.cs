// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Client;

/// <summary>The calls of this process to one host, over a connection that is made anew when it is lost.</summary>
/// <remarks>
/// <para>A call that only asks is made again on the next connection. One that changes something fails with HostErrors.CallInterrupted,
/// since it may have been done. Where the process holds something by its lease (<see cref="Hold"/>), a lost connection is made anew at
/// once, and tried for as long as the host keeps the lease.</para>
/// <para>Threading. All members are safe from any thread. Ownership. It owns its connection.</para>
/// </remarks>
internal sealed class HostClient : IAsyncDisposable
{
    // A host that dies of a call must not be killed by it for ever.
    private const int MostAttempts = 3;

    private static readonly TimeSpan ShortestPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly HostAddress _address;
    private readonly SemaphoreSlim _dialing = new(1, 1);
    private readonly CancellationTokenSource _closing = new();
    private volatile HostLink? _link;
    private string? _leaseToken;
    private long _lostAt; // 0 while nothing is lost.
    private int _holds;

    /// <summary>Makes no connection yet.</summary>
    public HostClient(HostAddress address) => _address = address;

    /// <summary>The control socket.</summary>
    public string SocketPath => _address.SocketPath;

    /// <summary>Asks for something, and again where the connection is lost meanwhile.</summary>
    /// <param name="method">The method's name.</param>
    /// <param name="arguments">An object with the arguments.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="BlockException">The host's error; HostErrors.CallInterrupted: the connection was lost each time.</exception>
    public async ValueTask<T> AskAsync<T>(string method, object arguments, CancellationToken cancellationToken)
    {
        for (int attempt = 1; ; attempt++)
        {
            HostLink link = await ConnectAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                return await link.Rpc.CallAsync<T>(method, arguments, cancellationToken).ConfigureAwait(false);
            }
            catch (BlockException cause) when (cause.Kind == HostErrors.CallInterrupted)
            {
                Lose(link);
                if (attempt == MostAttempts)
                {
                    throw Interrupted(method, $"It only asks, was made {MostAttempts} times, and changed nothing.", cause);
                }
            }
        }
    }

    /// <summary>Changes something, once.</summary>
    /// <param name="method">The method's name.</param>
    /// <param name="arguments">An object with the arguments.</param>
    /// <param name="cancellationToken">Asks the host to give up, and waits until it has.</param>
    /// <param name="findOutcome">Looks on a new connection at what became of a call that was interrupted: a sentence.</param>
    /// <exception cref="BlockException">The host's error; HostErrors.CallInterrupted: the connection was lost.</exception>
    public async ValueTask<T> ChangeAsync<T>(
        string method, object arguments, CancellationToken cancellationToken, Func<ValueTask<string>>? findOutcome = null)
    {
        HostLink link = await ConnectAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await link.Rpc.CallAsync<T>(method, arguments, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException cause) when (cause.Kind == HostErrors.CallInterrupted)
        {
            Lose(link);
            throw Interrupted(method, await FindOutcomeAsync(findOutcome).ConfigureAwait(false), cause);
        }
    }

    /// <summary>Refuses a request that the host does not know.</summary>
    /// <param name="version">The version of the protocol that has it.</param>
    /// <param name="request">The request, as the end of a sentence.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.VersionMismatch"/>, or as <see cref="ConnectAsync"/>.</exception>
    public async ValueTask RequireAsync(int version, string request, CancellationToken cancellationToken)
    {
        HostLink link = await ConnectAsync(cancellationToken).ConfigureAwait(false);
        if (link.Welcome.ProtocolVersion < version)
        {
            throw HostProtocol.NotInHost(SocketPath, link.Welcome.ModuleVersion, request);
        }
    }

    /// <summary>Says that the process holds something by its lease, until the result is disposed.</summary>
    public IDisposable Hold()
    {
        Interlocked.Increment(ref _holds);
        return new HeldLease(this);
    }

    /// <summary>Connects, where no connection is open.</summary>
    /// <exception cref="BlockException">As <see cref="HostLink.DialAsync"/>. A host that was there a moment ago is waited for.</exception>
    public async ValueTask<HostLink> ConnectAsync(CancellationToken cancellationToken)
    {
        if (_link is { IsOpen: true } open)
        {
            return open;
        }

        using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _closing.Token);
        try
        {
            return await DialInTurnAsync(either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new BlockException(BlockErrors.Closed, $"This PowerShell has left the Fleece host at '{SocketPath}'.", SocketPath);
        }
    }

    /// <summary>Ends the connection; what the lease holds ends with it. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        await _dialing.WaitAsync().ConfigureAwait(false);
        try
        {
            if (_link is { } link)
            {
                await link.Rpc.DisposeAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            _dialing.Release();
        }
    }

    private async ValueTask<HostLink> DialInTurnAsync(CancellationToken cancellationToken)
    {
        await _dialing.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (_link is { IsOpen: true } other)
            {
                return other;
            }

            HostLink link = await DialPatientlyAsync(cancellationToken).ConfigureAwait(false);
            _leaseToken = link.Welcome.LeaseToken;
            Volatile.Write(ref _lostAt, 0);
            _link = link;
            _ = WatchAsync(link);
            return link;
        }
        finally
        {
            _dialing.Release();
        }
    }

    private async ValueTask<HostLink> DialPatientlyAsync(CancellationToken cancellationToken)
    {
        for (TimeSpan pause = ShortestPause; ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            try
            {
                return await HostLink.DialAsync(_address, _leaseToken, cancellationToken).ConfigureAwait(false);
            }
            catch (BlockException e) when (e.Kind is HostErrors.NotRunning or HostErrors.Overloaded && IsRestarting(pause))
            {
                await Task.Delay(pause, _address.Time, cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private bool IsRestarting(TimeSpan pause) =>
        Volatile.Read(ref _lostAt) is var lostAt and not 0 && _address.Time.GetElapsedTime(lostAt) + pause < _address.RestartTimeout;

    // Never fails: nothing waits for it.
    private async Task WatchAsync(HostLink link)
    {
        await link.Rpc.Ended.ConfigureAwait(false);
        Lose(link);
        await link.Rpc.DisposeAsync().ConfigureAwait(false);
        if (Volatile.Read(ref _holds) != 0)
        {
            await KeepLeaseAsync().ConfigureAwait(false);
        }
    }

    // A host that is back has the lease as long as its time is not over; later on, calls find out by themselves.
    private async Task KeepLeaseAsync()
    {
        long startedAt = _address.Time.GetTimestamp();
        try
        {
            while (_address.Time.GetElapsedTime(startedAt) < HostProtocol.LeaseTime)
            {
                try
                {
                    await ConnectAsync(_closing.Token).ConfigureAwait(false);
                    return;
                }
                catch (BlockException)
                {
                    await Task.Delay(LongestPause, _address.Time, _closing.Token).ConfigureAwait(false);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The client is closed, and its lease is over.
        }
    }

    private void Lose(HostLink link)
    {
        if (Interlocked.CompareExchange(ref _link, null, link) == link)
        {
            Volatile.Write(ref _lostAt, _address.Time.GetTimestamp());
        }
    }

    private static async ValueTask<string> FindOutcomeAsync(Func<ValueTask<string>>? find)
    {
        const string Unknown = "It may have been done or not; the Get- cmdlets show what there is.";
        try
        {
            return find is null ? Unknown : await find().ConfigureAwait(false);
        }
        catch (BlockException e)
        {
            return $"{Unknown} Asking again failed: {e.Message}";
        }
    }

    private BlockException Interrupted(string method, string outcome, Exception cause) => new(
        HostErrors.CallInterrupted,
        $"The connection to the Fleece host at '{SocketPath}' ended during the call {method}. {outcome}",
        SocketPath,
        operation: "call",
        cause: cause);

    private sealed class HeldLease(HostClient client) : IDisposable
    {
        private int _isReleased;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isReleased, 1) == 0)
            {
                Interlocked.Decrement(ref client._holds);
            }
        }
    }
}
