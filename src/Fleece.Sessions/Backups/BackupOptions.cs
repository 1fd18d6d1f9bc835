// SPDX-License-Identifier: MIT
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Sessions.Backups;

/// <summary>What a backup is written to: a file or an export.</summary>
public sealed record BackupOptions
{
    /// <summary>The backup's file. It appears under this name only when it is complete.</summary>
    public string Path { get; init; } = string.Empty;

    /// <summary>An export that takes the backup's bytes, in place of a file; null for a file.</summary>
    public NbdUri? Uri { get; init; }

    /// <summary>Certificates for nbds.</summary>
    public TlsClientOptions? Tls { get; init; }

    /// <summary>What the file is to be, apart from its size; null for the format of its extension and that format's
    /// defaults.</summary>
    public ImageCreateOptions? Image { get; init; }

    /// <summary>True to replace an existing file.</summary>
    public bool Overwrite { get; init; }

    /// <summary>What messages call it.</summary>
    public string Destination => Uri?.ToString() ?? Path;
}
