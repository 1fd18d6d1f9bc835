// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.Json;
using Fleece.Block;
using Fleece.Hosting.Control;
using Fleece.Hosting.Rpc;

namespace Fleece.Hosting.Host;

/// <summary>Accepts clients at the control socket.</summary>
/// <remarks>
/// <para>Too many connections, of one user or in all, are refused as the answer to Hello; where many of those wait for their answer too,
/// further ones are closed without one. A client that does not say Hello soon is closed.</para>
/// <para>Threading. All members are safe from any thread. Ownership. It owns the socket.</para>
/// </remarks>
internal sealed class HostServer : IAsyncDisposable
{
    /// <summary>Most connections.</summary>
    public const int MaximumConnections = 1024;

    /// <summary>Most connections of one user.</summary>
    public const int MaximumConnectionsOfUser = 256;

    /// <summary>How long a client may take to say Hello.</summary>
    public static readonly TimeSpan HandshakeTime = TimeSpan.FromSeconds(5);

    // Connections beyond the bounds that get an answer.
    private const int MaximumRefusals = 64;

    private static readonly TimeSpan PauseWithoutDescriptors = TimeSpan.FromMilliseconds(100);

    private readonly ControlSocket _socket;
    private readonly HostParts _host;
    private readonly IRpcLibrary _rpc;
    private readonly JsonSerializerOptions _json;
    private readonly TimeProvider _time;
    private readonly RpcLimits _limits = HostProtocol.NewHostLimits();
    private readonly TaskCompletionSource _ending = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private readonly Dictionary<uint, int> _byUser = [];
    private readonly HashSet<Task> _serving = [];
    private readonly Task _accepting;
    private int _count;
    private int _refusals;

    /// <summary>Begins to accept clients.</summary>
    public HostServer(ControlSocket socket, HostParts host, IRpcLibrary rpc, JsonSerializerOptions json, TimeProvider time)
    {
        _socket = socket;
        _host = host;
        _rpc = rpc;
        _json = json;
        _time = time;
        _accepting = AcceptAsync();
    }

    /// <summary>Clients that are connected now.</summary>
    public int ClientCount
    {
        get
        {
            lock (_lock)
            {
                return _count;
            }
        }
    }

    /// <summary>Accepts no more clients. Those that are connected stay.</summary>
    public async ValueTask StopAcceptingAsync()
    {
        _socket.Dispose();
        await _accepting.ConfigureAwait(false);
    }

    /// <summary>Closes all connections.</summary>
    public async ValueTask DisposeAsync()
    {
        await StopAcceptingAsync().ConfigureAwait(false);
        _ending.TrySetResult();
        Task[] serving;
        lock (_lock)
        {
            serving = [.. _serving];
        }

        await Task.WhenAll(serving).ConfigureAwait(false);
    }

    private async Task AcceptAsync()
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _socket.AcceptAsync().ConfigureAwait(false);
            }
            catch (SocketException e) when (e.SocketErrorCode is not SocketError.OperationAborted)
            {
                // A client that left before it was accepted, or no descriptors left.
                await Task.Delay(PauseWithoutDescriptors, CancellationToken.None).ConfigureAwait(false);
                continue;
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return;
            }

            Begin(socket);
        }
    }

    private void Begin(Socket socket)
    {
        Peer peer;
        try
        {
            peer = Peer.Of(socket);
        }
        catch (Exception e) when (e is BlockException or SocketException)
        {
            socket.Dispose();
            _host.Log.Say($"closed a connection whose user the system does not tell: {e.Message}");
            return;
        }

        lock (_lock)
        {
            BlockException? refusal = FindRefusal(peer);
            if (refusal is not null && _refusals == MaximumRefusals)
            {
                socket.Dispose();
                return;
            }

            Count(peer, refusal is not null, 1);
            Task serving = ServeAsync(socket, peer, refusal);
            _serving.Add(serving);
            _ = serving.ContinueWith(Forget, TaskScheduler.Default);
        }

        void Forget(Task ended)
        {
            lock (_lock)
            {
                _serving.Remove(ended);
            }
        }
    }

    private async Task ServeAsync(Socket socket, Peer peer, BlockException? refusal)
    {
        // Not under the lock of the caller.
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        HostConnection connection = new(_host, peer, refusal);
        try
        {
            IRpcConnection rpc =
                _rpc.Open(new NetworkStream(socket, ownsSocket: true), connection.Targets(), _json, _limits);
            await using ConfiguredAsyncDisposable closing = rpc.ConfigureAwait(false);
            rpc.Start();
            Task ended = Task.WhenAny(rpc.Ended, _ending.Task);
            Task first = await Task
                .WhenAny(ended, connection.Welcomed, Task.Delay(HandshakeTime, _time)).ConfigureAwait(false);
            if (first == connection.Welcomed)
            {
                await ended.ConfigureAwait(false);
            }
            else if (first != ended && refusal is null)
            {
                _host.Log.Say($"{peer}: closed, because it did not get in within {HandshakeTime.TotalSeconds:0} seconds");
            }
        }
        finally
        {
            // Until then it counts, so that clients come and go no faster than the host ends leases.
            await Task.WhenAny(connection.EndAsync(), _ending.Task).ConfigureAwait(false);
            lock (_lock)
            {
                Count(peer, refusal is not null, -1);
            }
        }
    }

    // Under the lock.
    private BlockException? FindRefusal(Peer peer)
    {
        int ofUser = _byUser.GetValueOrDefault(peer.UserId);
        return ofUser >= MaximumConnectionsOfUser ? Overloaded($"{ofUser} connections of the user '{SystemUsers.NameOf(peer.UserId)}'")
            : _count >= MaximumConnections ? Overloaded(string.Create(CultureInfo.InvariantCulture, $"{_count} connections"))
            : null;

        static BlockException Overloaded(string connections) => new(
            HostErrors.Overloaded, $"The Fleece host has {connections} and takes no more. Wait until some of its clients have ended.");
    }

    // Under the lock.
    private void Count(Peer peer, bool isRefused, int change)
    {
        if (isRefused)
        {
            _refusals += change;
            return;
        }

        _count += change;
        int ofUser = _byUser.GetValueOrDefault(peer.UserId) + change;
        if (ofUser == 0)
        {
            _byUser.Remove(peer.UserId);
        }
        else
        {
            _byUser[peer.UserId] = ofUser;
        }
    }
}
