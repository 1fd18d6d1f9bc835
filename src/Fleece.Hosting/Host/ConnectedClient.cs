// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Hosting.Auditing;
using Fleece.Hosting.Logging;

namespace Fleece.Hosting.Host;

/// <summary>One client of the host, and the way of each of its requests: the checks that all share, and the line in the log.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class ConnectedClient(Peer peer, RunningRequests requests, HostLog log, AuditTrail trail)
{
    private readonly Lock _lock = new();
    private volatile Lease? _lease;
    private bool _hasEnded;

    /// <summary>The process at the other end.</summary>
    public Peer Peer => peer;

    /// <summary>The version of the protocol that it and the host speak; 0 before it was let in.</summary>
    public int ProtocolVersion { get; private set; }

    /// <summary>Lets it in, once.</summary>
    /// <param name="lease">Its lease.</param>
    /// <param name="protocolVersion">The version of the protocol that both speak.</param>
    /// <returns>False when the connection has ended: the caller gives the lease back.</returns>
    public bool TryWelcome(Lease lease, int protocolVersion)
    {
        lock (_lock)
        {
            ProtocolVersion = protocolVersion;
            _lease = _hasEnded ? _lease : lease;
            return !_hasEnded;
        }
    }

    /// <summary>The connection has ended; it is let in no more.</summary>
    /// <returns>The lease to give back; null where it was not let in, or has ended before.</returns>
    public Lease? End()
    {
        lock (_lock)
        {
            Lease? lease = _hasEnded ? null : _lease;
            _hasEnded = true;
            return lease;
        }
    }

    /// <summary>Writes a line about it.</summary>
    public void Say(string text) => log.Say($"{peer}: {text}");

    /// <summary>Adds an action of its to the audit trail.</summary>
    public void Note(AuditedAction action, AuditOutcome outcome, Exception? error = null) =>
        trail.Add(AuditEntry.Of(action, outcome, error, peer.User, peer.UserId, peer.ProcessId));

    /// <summary>A request that changes nothing.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.AccessRefused"/>: before Hello. <see cref="HostErrors.NotRunning"/>: the host
    /// is ending.</exception>
    public ValueTask<T> AskAsync<T>(Func<CancellationToken, ValueTask<T>> request, CancellationToken cancellationToken)
    {
        CheckWelcome();
        return requests.RunAsync(request, cancellationToken);
    }

    /// <summary>A request that changes something, with a line that says how it went.</summary>
    /// <param name="action">The action, for the line and the audit trail.</param>
    /// <param name="request">Does it.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <inheritdoc cref="AskAsync" path="/exception"/>
    public ValueTask<T> ChangeAsync<T>(
        AuditedAction action, Func<Lease, CancellationToken, ValueTask<T>> request, CancellationToken cancellationToken) =>
        ChangeAsync(action, request, static _ => ActionResult.Done, cancellationToken);

    /// <inheritdoc cref="ChangeAsync{T}(AuditedAction, Func{Lease, CancellationToken, ValueTask{T}}, CancellationToken)"/>
    /// <param name="action">The action, for the line and the audit trail.</param>
    /// <param name="request">Does it.</param>
    /// <param name="judge">How it went, by its answer.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public async ValueTask<T> ChangeAsync<T>(
        AuditedAction action,
        Func<Lease, CancellationToken, ValueTask<T>> request,
        Func<T, ActionResult> judge,
        CancellationToken cancellationToken)
    {
        try
        {
            Lease lease = CheckWelcome();
            T answer = await requests
                .RunAsync(token => request(lease, token), cancellationToken).ConfigureAwait(false);
            ActionResult result = judge(answer);
            Say($"{action.Text}: {result.Text}");
            Note(action, result.Outcome, result.Error);
            return answer;
        }
        catch (BlockException e)
        {
            Say($"{action.Text}: refused: {e.Message}");
            Note(action, AuditOutcome.Refused, e);
            throw;
        }
        catch (OperationCanceledException)
        {
            Say($"{action.Text}: cancelled");
            Note(action, AuditOutcome.Cancelled);
            throw;
        }
        catch (Exception e)
        {
            Say($"{action.Text}: failed, {e.GetType().Name}: {e.Message}");
            Note(action, AuditOutcome.Failed, e);
            throw;
        }
    }

    private Lease CheckWelcome() => _lease ?? throw new BlockException(
        HostErrors.AccessRefused, "The Fleece host answers nothing before Hello. Use the cmdlets, which begin with it.");
}
