// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;

namespace Fleece.Hosting.Host;

/// <summary>The life of a <see cref="Lease"/>. None leads back from <see cref="Ended"/>.</summary>
internal enum LeaseState
{
    /// <summary>Connections use it.</summary>
    Held,

    /// <summary>Its connections have gone, and it holds something for the client to come back to.</summary>
    Waiting,

    /// <summary>It holds nothing and takes nothing more: sessions and sockets that are begun for it end at once.</summary>
    Ended,
}

/// <summary>What a client began and has not handed over: sessions of its jobs, and its private socket.</summary>
/// <remarks>
/// <para>A new lease is held by the connection that it is made for. The sessions end without success with it, unless they have ended
/// before.</para>
/// <para>Threading. All members are safe from any thread; one lock guards the state and all that it holds. <see cref="Leases"/> knows each
/// lease that has not ended.</para>
/// </remarks>
internal sealed class Lease(string token, Peer peer, DateTimeOffset since)
{
    private readonly Lock _lock = new();
    private readonly List<IRunningSession> _sessions = [];
    private IAsyncDisposable? _private;
    private LeaseState _state = LeaseState.Held;
    private int _connectionCount = 1;
    private int _waitCount;
    private ITimer? _patience;

    /// <summary>The secret by which a later connection takes it up again.</summary>
    public string Token => token;

    /// <summary>The client that began it.</summary>
    public Peer Peer => peer;

    /// <summary>Where it is in its life.</summary>
    public LeaseState State
    {
        get
        {
            lock (_lock)
            {
                return _state;
            }
        }
    }

    /// <summary>True while a session ends with it.</summary>
    public bool HoldsSession
    {
        get
        {
            lock (_lock)
            {
                ForgetEnded();
                return _sessions.Count != 0;
            }
        }
    }

    /// <summary>The client, and when it came; for messages.</summary>
    public override string ToString() => $"{peer}, connected since {since:u}";

    /// <summary>One connection more uses it.</summary>
    /// <returns>False when it has ended.</returns>
    public bool TryTake()
    {
        lock (_lock)
        {
            if (_state == LeaseState.Ended)
            {
                return false;
            }

            _state = LeaseState.Held;
            _connectionCount++;
            StopPatience();
            return true;
        }
    }

    /// <summary>One connection fewer uses it. After the last one it waits for the client where it holds something, and ends else.</summary>
    /// <param name="startPatience">Starts the timer of a wait, whose number it gets for <see cref="TryEndWait"/>.</param>
    /// <returns>The state that this leads to.</returns>
    public LeaseState Leave(Func<int, ITimer> startPatience)
    {
        lock (_lock)
        {
            if (--_connectionCount == 0 && _state == LeaseState.Held)
            {
                ForgetEnded();
                bool isEmpty = _sessions.Count == 0 && _private is null;
                _state = isEmpty ? LeaseState.Ended : LeaseState.Waiting;
                _patience = isEmpty ? null : startPatience(++_waitCount);
            }

            return _state;
        }
    }

    /// <summary>Ends it when it still waits as it did when the timer was started; <see cref="EndAsync"/> then ends what it holds.</summary>
    /// <returns>False when it was taken up meanwhile, or has ended.</returns>
    public bool TryEndWait(int wait)
    {
        lock (_lock)
        {
            bool isOver = _state == LeaseState.Waiting && _waitCount == wait;
            _state = isOver ? LeaseState.Ended : _state;
            return isOver;
        }
    }

    /// <summary>Takes a session that a job of the client has begun.</summary>
    /// <returns>False when the lease has ended: the caller ends the session.</returns>
    public bool TryHold(IRunningSession session)
    {
        lock (_lock)
        {
            ForgetEnded();
            if (_state != LeaseState.Ended)
            {
                _sessions.Add(session);
            }

            return _state != LeaseState.Ended;
        }
    }

    /// <summary>True when a session of the client's jobs uses a bitmap of a disk, or has that name.</summary>
    public bool Uses(string disk, string name)
    {
        string printable = PrintableText.Of(name);
        lock (_lock)
        {
            ForgetEnded();
            return _sessions.Exists(session => session.Describe() is var info &&
                string.Equals(info.Disk, disk, StringComparison.OrdinalIgnoreCase) &&
                (info.Bitmap == printable || info.NextBitmap == printable || session.IsCalled(name)));
        }
    }

    /// <summary>The private socket, which the first caller makes.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.Stopped"/>: the lease has ended.</exception>
    public T UsePrivate<T>(Func<T> make)
        where T : class, IAsyncDisposable
    {
        lock (_lock)
        {
            if (_state == LeaseState.Ended)
            {
                throw new BlockException(BlockErrors.Stopped, "The client's lease has ended. Connect again.");
            }

            return (T)(_private ??= make());
        }
    }

    /// <summary>Ends all that it holds. Idempotent.</summary>
    /// <returns>The sessions that it ended, each with the failure of its end where it failed.</returns>
    public async ValueTask<IReadOnlyList<(IRunningSession Session, BlockException? Failure)>> EndAsync()
    {
        IRunningSession[] sessions;
        IAsyncDisposable? sockets;
        lock (_lock)
        {
            _state = LeaseState.Ended;
            StopPatience();
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

        List<(IRunningSession, BlockException?)> ended = [];
        foreach (IRunningSession session in sessions)
        {
            try
            {
                _ = await session.EndAsync(isSuccess: false).ConfigureAwait(false);
                ended.Add((session, null));
            }
            catch (BlockException e)
            {
                ended.Add((session, e));
            }
        }

        return ended;
    }

    // Under the lock.
    private void StopPatience()
    {
        _patience?.Dispose();
        _patience = null;
    }

    // Under the lock.
    private void ForgetEnded() => _sessions.RemoveAll(session => session.Ended.IsCancellationRequested);
}
