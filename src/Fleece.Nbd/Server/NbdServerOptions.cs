// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Listening;
using Fleece.Nbd.Tls;

namespace Fleece.Nbd.Server;

/// <summary>How a server listens.</summary>
internal sealed record NbdServerOptions
{
    /// <summary>The server's certificate; needed for nbds, refused for nbd.</summary>
    public TlsServerOptions? Tls { get; init; }

    /// <summary>True to listen beyond this machine, or for all its users, without TLS.</summary>
    public bool AllowInsecure { get; init; }

    /// <summary>Permissions of a unix socket's file, from 0600 to 0777; null for 0600, and 0660 with a group. Not for TCP.</summary>
    public UnixFileMode? SocketMode { get; init; }

    /// <summary>Group of a unix socket's file, by name or number; null for the one that new files get. Not for TCP.</summary>
    public string? SocketGroup { get; init; }

    /// <summary>True for a server that may leave its socket to another process.</summary>
    public bool CanLeaveSocket { get; init; }

    /// <summary>Bytes of replies that the system keeps for a client that has not received them yet; null for the system's own figure.
    /// Linux gives no more than net.core.wmem_max (socket(7)).</summary>
    public int? SendBufferBytes { get; init; }

    internal ListenOptions Listening => new(SocketMode, SocketGroup, AllowInsecure, CanLeaveSocket, SendBufferBytes);

    /// <summary>Connections at a time; one more is closed at once.</summary>
    public int MaximumConnections { get; init; } = 2048;

    /// <summary>Time from the connection to the end of its handshake.</summary>
    public TimeSpan HandshakeTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a client may take none of its replies.</summary>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>Bytes for requests and replies, all connections together, beyond 128 KiB for each. The 64 MiB of buffers that the
    /// process keeps from one request to the next count here. Without any, large requests are served in pieces of 64 KiB.</summary>
    public long MemoryBytes { get; init; } = 256 * 1024 * 1024;

    /// <summary>Where the time of handshakes comes from; tests have their own.</summary>
    internal TimeProvider Time { get; init; } = TimeProvider.System;
}
