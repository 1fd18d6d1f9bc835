// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Security.Cryptography;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting.Control;
using Fleece.Hosting.Logging;

namespace Fleece.Hosting.Host;

/// <summary>The leases of the host's clients.</summary>
/// <remarks>
/// <para>A lease whose connections have all gone ends after <see cref="HostProtocol.LeaseTime"/>, by a clock that does not jump, unless a
/// connection of the same user brings its token back. One that holds nothing ends at once. A user has a bounded number of leases that wait:
/// one more ends the oldest.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal sealed class Leases(TimeProvider time, HostLog log)
{
    /// <summary>Most leases of a user that wait and hold sessions: all connections that a user may have can be lost at once.</summary>
    public const int MaximumWaitingWithSessions = HostServer.MaximumConnectionsOfUser;

    /// <summary>Most leases of a user that wait and hold a private socket alone, which costs the host threads.</summary>
    public const int MaximumWaitingWithSockets = 64;

    private const int TokenBytes = 16;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Lease> _leases = new(StringComparer.Ordinal);
    private readonly HashSet<Task> _ending = [];
    private readonly List<Lease> _waiting = []; // The oldest wait first; those that were taken up meanwhile are sorted out later.
    private bool _isClosed;

    /// <summary>Leases that have not ended.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _leases.Count;
            }
        }
    }

    /// <summary>The lease that a connection uses from now on, until it calls <see cref="LeaveAsync"/>.</summary>
    /// <param name="peer">The client.</param>
    /// <param name="token">The token that it brings; null for none.</param>
    /// <param name="isResumed">True when the token's lease is taken up again.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.NotRunning"/>: the host is ending.</exception>
    public Lease Take(Peer peer, string? token, out bool isResumed)
    {
        lock (_lock)
        {
            if (_isClosed)
            {
                throw new BlockException(HostErrors.NotRunning, "The Fleece host is ending. Try again when it runs.");
            }

            isResumed = token is not null && _leases.TryGetValue(token, out Lease? known) && known.Peer.UserId == peer.UserId &&
                known.TryTake();
            Lease lease = isResumed ? _leases[token!] : new Lease(NewToken(), peer, time.GetUtcNow());
            _leases[lease.Token] = lease;
            return lease;
        }
    }

    /// <summary>A connection has ended.</summary>
    /// <returns>Completes when the lease that had to end for this one has ended.</returns>
    public Task LeaveAsync(Lease lease)
    {
        lock (_lock)
        {
            switch (lease.Leave(wait => time.CreateTimer(
                _ => OnPatienceOver(lease, wait), null, HostProtocol.LeaseTime, Timeout.InfiniteTimeSpan)))
            {
                case LeaseState.Ended:
                    _leases.Remove(lease.Token);
                    return Task.CompletedTask;
                case LeaseState.Waiting:
                    _waiting.RemoveAll(other => other == lease || other.State != LeaseState.Waiting);
                    _waiting.Add(lease);
                    return EndOldest(lease);
                default:
                    return Task.CompletedTask;
            }
        }
    }

    /// <summary>Does something to bitmaps, or begins a session; where a bitmap or the session's name is taken, the error says whose job
    /// has it.</summary>
    /// <param name="change">Does it.</param>
    /// <param name="disk">The disk's name.</param>
    /// <param name="names">The bitmaps' names, as they are stored or shown, and that of the session.</param>
    public async ValueTask<T> ExplainAsync<T>(Func<ValueTask<T>> change, string disk, params IReadOnlyList<string> names)
    {
        try
        {
            return await change().ConfigureAwait(false);
        }
        catch (BlockException busy) when (busy.Kind is DiskErrors.BitmapBusy or DiskErrors.SessionNameInUse)
        {
            if (FindUser(disk, names) is not { } lease)
            {
                throw;
            }

            throw new BlockException(
                busy.Kind,
                $"{busy.Message} The session is that of a job ({lease.Peer}). It ends with the job, and a job that died leaves it for " +
                string.Create(CultureInfo.InvariantCulture, $"{HostProtocol.LeaseTime.TotalSeconds:0} seconds at most."),
                busy.Path,
                operation: busy.Operation,
                cause: busy);
        }
    }

    /// <summary>Ends all leases; those that are ending already are waited for.</summary>
    public async ValueTask EndAllAsync()
    {
        Task[] ending;
        lock (_lock)
        {
            _isClosed = true;
            foreach (Lease lease in _leases.Values)
            {
                Begin(lease, "the host ends");
            }

            _leases.Clear();
            _waiting.Clear();
            ending = [.. _ending];
        }

        await Task.WhenAll(ending).ConfigureAwait(false);
    }

    private Lease? FindUser(string disk, IReadOnlyList<string> names)
    {
        lock (_lock)
        {
            return _leases.Values.FirstOrDefault(lease => names.Any(name => lease.Uses(disk, name)));
        }
    }

    private static string NewToken() => Convert.ToHexString(RandomNumberGenerator.GetBytes(TokenBytes));

    // Under the lock.
    private Task EndOldest(Lease newest)
    {
        bool holdsSession = newest.HoldsSession;
        Lease[] alike = [.. _waiting.Where(other => other.Peer.UserId == newest.Peer.UserId && other.HoldsSession == holdsSession)];
        int most = holdsSession ? MaximumWaitingWithSessions : MaximumWaitingWithSockets;
        if (alike.Length <= most)
        {
            return Task.CompletedTask;
        }

        _leases.Remove(alike[0].Token);
        _waiting.Remove(alike[0]);
        return Begin(alike[0], string.Create(CultureInfo.InvariantCulture, $"{most} newer leases of its user wait for their clients"));
    }

    private void OnPatienceOver(Lease lease, int wait)
    {
        lock (_lock)
        {
            if (lease.TryEndWait(wait))
            {
                _leases.Remove(lease.Token);
                _waiting.Remove(lease);
                Begin(lease, string.Create(
                    CultureInfo.InvariantCulture, $"its connection has been gone for {HostProtocol.LeaseTime.TotalSeconds:0} seconds"));
            }
        }
    }

    // Under the lock.
    private Task Begin(Lease lease, string reason)
    {
        Task ending = EndAsync(lease, reason);
        _ending.Add(ending);
        _ = ending.ContinueWith(Forget, TaskScheduler.Default);
        return ending;

        void Forget(Task ended)
        {
            lock (_lock)
            {
                _ending.Remove(ended);
            }
        }
    }

    private async Task EndAsync(Lease lease, string reason)
    {
        // Not under the lock of the caller.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        foreach ((IRunningSession session, BlockException? failure) in await lease.EndAsync().ConfigureAwait(false))
        {
            log.Say(
                $"ended without success: session {session.Id} of {lease.Peer}, because {reason}" +
                $"{(failure is null ? string.Empty : $"; its end failed: {failure.Message}")}");
        }
    }
}
