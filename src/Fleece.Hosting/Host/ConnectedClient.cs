// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Host;

/// <summary>One client of the host, and the way of each of its requests: the checks that all share, and the line in the log.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal sealed class ConnectedClient(Peer peer, RunningRequests requests, AuditLog audit)
{
    private volatile Lease? _lease;

    /// <summary>The process at the other end.</summary>
    public Peer Peer => peer;

    /// <summary>What it began; null before Hello.</summary>
    public Lease? Lease => _lease;

    /// <summary>Lets it in.</summary>
    public void Welcome(Lease lease) => _lease = lease;

    /// <summary>Writes a line about it.</summary>
    public void Say(string text) => audit.Say($"{peer}: {text}");

    /// <summary>A request that changes nothing.</summary>
    /// <exception cref="BlockException"><see cref="HostErrors.AccessRefused"/>: before Hello. <see cref="HostErrors.NotRunning"/>: the host
    /// is ending.</exception>
    public ValueTask<T> AskAsync<T>(Func<CancellationToken, ValueTask<T>> request, CancellationToken cancellationToken)
    {
        CheckWelcome();
        return requests.RunAsync(request, cancellationToken);
    }

    /// <summary>A request that changes something, with a line that says how it went.</summary>
    /// <param name="what">What it does, and to what.</param>
    /// <param name="request">Does it.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <inheritdoc cref="AskAsync" path="/exception"/>
    public async ValueTask<T> ChangeAsync<T>(
        string what, Func<Lease, CancellationToken, ValueTask<T>> request, CancellationToken cancellationToken)
    {
        try
        {
            Lease lease = CheckWelcome();
            T answer = await requests
                .RunAsync(token => request(lease, token), cancellationToken).ConfigureAwait(false);
            Say($"{what}: done");
            return answer;
        }
        catch (BlockException e)
        {
            Say($"{what}: refused: {e.Message}");
            throw;
        }
        catch (Exception e)
        {
            Say($"{what}: failed, {e.GetType().Name}: {e.Message}");
            throw;
        }
    }

    private Lease CheckWelcome() => _lease ?? throw new BlockException(
        HostErrors.AccessRefused, "The Fleece host answers nothing before Hello. Use the cmdlets, which begin with it.");
}
