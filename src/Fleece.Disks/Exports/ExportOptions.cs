// SPDX-License-Identifier: MIT
using Fleece.Nbd;
using Fleece.Nbd.Server;
using Fleece.Nbd.Tls;

namespace Fleece.Disks.Exports;

/// <summary>How a disk is published.</summary>
internal sealed record ExportOptions
{
    /// <summary>Where to listen. A name in it becomes the export's; disks published at one address share the listener.</summary>
    public required NbdUri ListenUri { get; init; }

    /// <summary>The export's name; null for the one in the URI, and where that has none, the disk's.</summary>
    public string? Name { get; init; }

    /// <summary>True to refuse writes and the discarding of snapshots.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>True to offer the disk's snapshots and not the disk.</summary>
    public bool IsSnapshotOnly { get; init; }

    /// <summary>The server's certificate, for nbds.</summary>
    public TlsServerOptions? Tls { get; init; }

    /// <summary>True to listen beyond this machine, or for all its users, without TLS.</summary>
    public bool AllowInsecure { get; init; }

    /// <inheritdoc cref="NbdServerOptions.SocketMode"/>
    public UnixFileMode? SocketMode { get; init; }

    /// <inheritdoc cref="NbdServerOptions.SocketGroup"/>
    public string? SocketGroup { get; init; }
}
