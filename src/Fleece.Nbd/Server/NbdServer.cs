// SPDX-License-Identifier: MIT
using System.Net.Sockets;
using Fleece.Block;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Server.Listening;

namespace Fleece.Nbd.Server;

/// <summary>A listener and its connections.</summary>
/// <remarks>
/// <para>Each connection has a thread of its own that blocks in receives; that is faster than any hand-over while storage
/// answers from memory. Limits: <see cref="NbdServerOptions"/>.</para>
/// <para>Threading. All members are safe from any thread. Ownership. The server owns its sockets and the file of a unix
/// socket, unless it leaves them; exports belong to whoever fills the directory.</para>
/// </remarks>
internal sealed class NbdServer : IAsyncDisposable
{
    // Requests that have arrived finish in far less; a client that takes no replies has to be left.
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(3);

    private readonly ListenSocket _listener;
    private readonly ServerContext _context;
    private readonly TaskCompletionSource _accepted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _connectionNumber;

    private NbdServer(ListenSocket listener, ServerContext context)
    {
        _listener = listener;
        _context = context;
        new Thread(Accept, WorkThreads.StackBytes) { IsBackground = true, Name = $"Fleece listens {listener.Uri}" }.Start();
    }

    /// <summary>Where the server listens, with the port it got.</summary>
    public NbdUri Uri => _listener.Uri;

    /// <summary>The permissions and the group of a unix socket's file; null for TCP.</summary>
    public SocketAccess? Access => _listener.Access;

    /// <summary>The listening socket, for handing a duplicate of its descriptor to another process.</summary>
    public SafeSocketHandle SocketHandle => _listener.Handle;

    /// <summary>Clients that are connected now.</summary>
    public int ConnectionCount => _context.Connections.Count;

    /// <summary>Memory that its connections use for requests and replies beyond their first buffers.</summary>
    public long MemoryUsedBytes => _context.Memory.UsedBytes;

    /// <summary>Most of that memory.</summary>
    public long MemoryLimitBytes => _context.Memory.LimitBytes;

    /// <summary>Connections that ended by a defect of the server rather than by their client; 0 unless there is a bug.</summary>
    public long FailureCount => _context.FailureCount;

    /// <summary>Starts to listen; clients can connect when this returns.</summary>
    /// <param name="uri">The address; its export name has no meaning here.</param>
    /// <param name="directory">Where clients' export names lead.</param>
    /// <param name="options">Limits and TLS.</param>
    /// <exception cref="BlockException"><see cref="NbdErrors.AddressInUse"/>,
    /// <see cref="NbdErrors.InsecureListener"/>, <see cref="NbdErrors.TlsFailed"/>, <see cref="BlockErrors.InvalidArgument"/>,
    /// <see cref="BlockErrors.PermissionDenied"/>, <see cref="NbdErrors.UriInvalid"/>, <see cref="BlockErrors.Unsupported"/> or
    /// <see cref="BlockErrors.IoFailed"/>.</exception>
    public static NbdServer Listen(NbdUri uri, IExportDirectory directory, NbdServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(directory);
        ArgumentNullException.ThrowIfNull(options);
        Check(uri, options);
        return new NbdServer(ListenSocket.Open(uri, options.Listening), new ServerContext(directory, options));
    }

    /// <summary>Serves a listening socket that another process has opened; the clients that wait there are served first.</summary>
    /// <param name="socket">The socket. The server owns it, also when this call fails.</param>
    /// <param name="uri">The address that it listens at; its export name has no meaning here.</param>
    /// <param name="directory">Where clients' export names lead.</param>
    /// <param name="options">Limits and TLS. A mode or a group is given to the file again; without, the file keeps its own.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotFound"/> when the file of a unix socket is gone, so that no client can
    /// reach it; <see cref="BlockErrors.InvalidArgument"/> when it is no listening stream socket, or that of another address;
    /// <see cref="BlockErrors.Unsupported"/> on other systems than Linux; and those of <see cref="Listen"/>.</exception>
    public static NbdServer Inherit(SafeSocketHandle socket, NbdUri uri, IExportDirectory directory, NbdServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(socket);
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(directory);
        ArgumentNullException.ThrowIfNull(options);
        try
        {
            Check(uri, options);
            return new NbdServer(ListenSocket.Inherit(socket, uri, options.Listening), new ServerContext(directory, options));
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Refuses options that do not fit the address. <see cref="Listen"/> and <see cref="Inherit"/> do it by themselves.</summary>
    /// <exception cref="BlockException"><see cref="NbdErrors.TlsFailed"/>, <see cref="NbdErrors.InsecureListener"/>,
    /// <see cref="BlockErrors.InvalidArgument"/> or <see cref="BlockErrors.Unsupported"/>.</exception>
    public static void Check(NbdUri uri, NbdServerOptions options)
    {
        ArgumentNullException.ThrowIfNull(uri);
        ArgumentNullException.ThrowIfNull(options);
        if (uri.IsTls != options.Tls is not null)
        {
            throw new BlockException(
                NbdErrors.TlsFailed,
                uri.IsTls
                    ? $"'{uri}' asks for TLS, and that needs a certificate. Give one with -TlsCertificate."
                    : $"A certificate was given for '{uri}', which does not ask for TLS. Write nbds instead of nbd.");
        }

        _ = SocketAccess.Of(uri, options.SocketMode, options.SocketGroup, options.AllowInsecure);
    }

    /// <summary>Accepts no more clients, and leaves the socket and its file as they are: clients that connect wait for the process that
    /// takes the socket over. Those that are connected are served until the server is disposed. Idempotent.</summary>
    /// <remarks>It needs <see cref="NbdServerOptions.CanLeaveSocket"/>, and another process, or a duplicate of the descriptor, that keeps
    /// the socket.</remarks>
    public void LeaveSocket() => _listener.Leave();

    /// <summary>How many clients use the exports whose names fit.</summary>
    public int CountConnections(Func<string, bool> fits)
    {
        ArgumentNullException.ThrowIfNull(fits);
        return _context.Connections.Count(connection => connection.ExportName is { } name && fits(name));
    }

    /// <summary>Lets the requests of clients that use these exports finish, and closes their connections.</summary>
    public void EndConnections(Func<string, bool> fits)
    {
        ArgumentNullException.ThrowIfNull(fits);
        foreach (ServerConnection connection in _context.Connections)
        {
            if (connection.ExportName is { } name && fits(name))
            {
                connection.End();
            }
        }
    }

    /// <summary>Stops listening, lets requests that have arrived finish, and closes every connection. Idempotent.</summary>
    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepted.Task.ConfigureAwait(false);
        IReadOnlyList<ServerConnection> connections = _context.Close();
        foreach (ServerConnection connection in connections)
        {
            connection.End();
        }

        await WaitAsync(connections).ConfigureAwait(false);
        foreach (ServerConnection connection in connections)
        {
            if (!connection.Done.IsCompleted)
            {
                connection.Abort();
            }
        }

        await WaitAsync(connections).ConfigureAwait(false);
    }

    // A request that its storage never finishes must not hold up whoever closes the server.
    private static async Task WaitAsync(IReadOnlyList<ServerConnection> connections)
    {
        Task all = Task.WhenAll(connections.Select(connection => connection.Done));
        await Task.WhenAny(all, Task.Delay(EndTimeout)).ConfigureAwait(false);
    }

    private void Accept()
    {
        while (_listener.Accept() is { } socket)
        {
            ServerConnection connection = new(socket, _context, ++_connectionNumber);
            if (!_context.TryAdd(connection))
            {
                socket.Dispose();
            }
            else if (!_context.ConnectionThreads.TryBegin(connection))
            {
                // Where the system has no more threads, one client is turned away; the others and the process go on (R7).
                connection.Refuse();
            }
        }

        _accepted.SetResult();
    }
}
