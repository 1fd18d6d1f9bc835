// SPDX-License-Identifier: MIT
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Backups.Restoring;

/// <summary>What a point is restored to.</summary>
internal sealed record RestoreOptions
{
    /// <summary>The new image's file. It appears under this name only when it is complete.</summary>
    public string DestinationPath { get; init; } = string.Empty;

    /// <summary>What the file is to be, apart from its size.</summary>
    public ImageCreateOptions Image { get; init; } = new() { Format = ImageFormat.Raw };

    /// <summary>An export, at least as large, that takes the disk's bytes in place of a file; null for a file.</summary>
    public NbdUri? DestinationUri { get; init; }

    /// <summary>Certificates for nbds.</summary>
    public TlsClientOptions? Tls { get; init; }

    /// <summary>True to replace an existing file.</summary>
    public bool Overwrite { get; init; }

    /// <summary>First byte of the disk to restore; it becomes the first of the file or export.</summary>
    public long OffsetBytes { get; init; }

    /// <summary>Number of bytes from there; null for the rest of the disk.</summary>
    public long? LengthBytes { get; init; }
}
