// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Buffers;
using Fleece.Nbd.Server.Buffers;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Tls;

namespace Fleece.Nbd.Server;

/// <summary>What the connections of one server share.</summary>
internal sealed class ServerContext(IExportDirectory directory, NbdServerOptions options)
{
    private readonly Lock _lock = new();
    private readonly HashSet<ServerConnection> _connections = [];
    private bool _isClosing;
    private long _failureCount;

    public IExportDirectory Directory { get; } = directory;

    public NbdServerOptions Options { get; } = options;

    public MemoryBudget Memory { get; } = new(options.MemoryBytes - PagePool.MaximumKeptBytes);

    public WorkThreads Threads { get; } = new("Fleece NBD I/O");

    /// <summary>One for each connection. A client often comes again, and a thread takes longer to start than a connection to be
    /// made.</summary>
    public WorkThreads ConnectionThreads { get; } = new("Fleece NBD", int.MaxValue);

    /// <summary>Encrypts a connection; null when the server has no certificate.</summary>
    public Func<Stream, Stream>? StartTls { get; } =
        options.Tls is { } tls ? stream => TlsHandshake.AuthenticateAsServer(stream, tls) : null;

    /// <summary>Connections that ended by a defect of the server.</summary>
    public long FailureCount => Volatile.Read(ref _failureCount);

    public void CountFailure() => Interlocked.Increment(ref _failureCount);

    public IReadOnlyList<ServerConnection> Connections
    {
        get
        {
            lock (_lock)
            {
                return [.. _connections];
            }
        }
    }

    /// <summary>Counts a connection; false when there are too many or the server is closing.</summary>
    public bool TryAdd(ServerConnection connection)
    {
        lock (_lock)
        {
            return !_isClosing && _connections.Count < Options.MaximumConnections && _connections.Add(connection);
        }
    }

    public void Remove(ServerConnection connection)
    {
        lock (_lock)
        {
            _connections.Remove(connection);
        }
    }

    /// <summary>Refuses further connections and names those there are.</summary>
    public IReadOnlyList<ServerConnection> Close()
    {
        lock (_lock)
        {
            _isClosing = true;
            return [.. _connections];
        }
    }
}
