// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Hosting.Host;

/// <summary>What a client began and has not handed over: sessions of its jobs, and its private socket.</summary>
/// <remarks>
/// <para>Ownership. The sessions end without success with the lease, unless they have ended before.</para>
/// <para>Threading. All members are safe from any thread. <see cref="Leases"/> decides when it ends.</para>
/// </remarks>
internal sealed class Lease(string token, Peer peer, DateTimeOffset since)
{
    private readonly Lock _lock = new();
    private readonly List<Session> _sessions = [];
    private IAsyncDisposable? _private;
    private bool _isEnded;

    /// <summary>The secret by which a later connection takes it up again.</summary>
    public string Token => token;

    /// <summary>The client that began it.</summary>
    public Peer Peer => peer;

    /// <summary>Connections that use it now. Guarded by <see cref="Leases"/>.</summary>
    public int ConnectionCount { get; set; }

    /// <summary>Ends it when it goes off. Guarded by <see cref="Leases"/>.</summary>
    public ITimer? Timer { get; set; }

    /// <summary>True when nothing ends with it.</summary>
    public bool IsEmpty
    {
        get
        {
            lock (_lock)
            {
                ForgetEnded();
                return _sessions.Count == 0 && _private is null;
            }
        }
    }

    /// <summary>The client, and when it came; for messages.</summary>
    public override string ToString() => $"{peer}, connected since {since:u}";

    /// <summary>Takes a session that a job of the client has begun.</summary>
    /// <returns>False when the lease has ended: the caller ends the session.</returns>
    public bool TryHold(Session session)
    {
        lock (_lock)
        {
            ForgetEnded();
            if (!_isEnded)
            {
                _sessions.Add(session);
            }

            return !_isEnded;
        }
    }

    /// <summary>True when a session of the client's jobs uses a bitmap of a disk, or has that name.</summary>
    public bool Uses(string disk, string name)
    {
        lock (_lock)
        {
            ForgetEnded();
            return _sessions.Exists(session =>
                string.Equals(session.Disk.Name, disk, StringComparison.OrdinalIgnoreCase) &&
                (session.Bitmap?.ExactName == name || session.Bitmap?.Name == name ||
                session.NextBitmap?.ExactName == name || session.NextBitmap?.Name == name || session.IsCalled(name)));
        }
    }

    /// <summary>The private socket, which the first caller makes.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.Stopped"/>: the lease has ended.</exception>
    public T UsePrivate<T>(Func<T> make)
        where T : class, IAsyncDisposable
    {
        lock (_lock)
        {
            if (_isEnded)
            {
                throw new BlockException(BlockErrors.Stopped, "The client's lease has ended. Connect again.");
            }

            return (T)(_private ??= make());
        }
    }

    /// <summary>Ends all that it holds. Idempotent.</summary>
    /// <returns>The sessions that it ended, each with the failure of its end where it failed.</returns>
    public async ValueTask<IReadOnlyList<(Session Session, BlockException? Failure)>> EndAsync()
    {
        Session[] sessions;
        IAsyncDisposable? sockets;
        lock (_lock)
        {
            _isEnded = true;
            ForgetEnded();
            sessions = [.. _sessions];
            _sessions.Clear();
            sockets = _private;
            _private = null;
        }

        // Readers see the end of their connection before the end of the session.
        if (sockets is not null)
        {
            await sockets.DisposeAsync().ConfigureAwait(false);
        }

        List<(Session, BlockException?)> ended = [];
        foreach (Session session in sessions)
        {
            try
            {
                await session.StopAsync(isSuccess: false).ConfigureAwait(false);
                ended.Add((session, null));
            }
            catch (BlockException e)
            {
                ended.Add((session, e));
            }
        }

        return ended;
    }

    private void ForgetEnded() => _sessions.RemoveAll(session => session.Ended.IsCancellationRequested);
}
