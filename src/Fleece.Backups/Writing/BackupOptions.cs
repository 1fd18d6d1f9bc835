// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;
using Fleece.Images;
using Fleece.Nbd;
using Fleece.Nbd.Tls;

namespace Fleece.Backups.Writing;

/// <summary>What a backup is written to: a file or an export.</summary>
public sealed record BackupOptions
{
    /// <summary>The backup's file, which appears under this name only when it is complete; or a repository's folder.</summary>
    public string Path { get; init; } = string.Empty;

    /// <summary>An export that takes the backup's bytes, in place of a file; null for a file.</summary>
    public NbdUri? Uri { get; init; }

    /// <summary>A stream that takes the disk's bytes in order, in place of a file; null for a file. The caller closes it.</summary>
    public Stream? Stream { get; init; }

    /// <summary>True when <see cref="Path"/> is a repository: the backup becomes its next one, full or incremental by itself.</summary>
    public bool IsRepository { get; init; }

    /// <summary>The repository, taken already by the caller, who gives it free; null to take the one at <see cref="Path"/>.</summary>
    public RepositoryFolder? Repository { get; init; }

    /// <summary>The disk that the snapshot is of, where that does not tell; null for none. A snapshot that tells another is refused.
    /// </summary>
    public string? DiskName { get; init; }

    /// <summary>The format of a repository's next backup; null for its parent's, and qcow2 without one.</summary>
    public ImageFormat? Format { get; init; }

    /// <summary>What a repository's next backup is compressed with; null for zstd, where the format can.</summary>
    public ImageCompression? Compression { get; init; }

    /// <summary>True to read the backup back, and compare it with what went in, before it counts as one.</summary>
    public bool MustVerify { get; init; }

    /// <summary>Certificates for nbds.</summary>
    public TlsClientOptions? Tls { get; init; }

    /// <summary>What the file is to be, apart from its size; null for the format of its extension and that format's
    /// defaults.</summary>
    public ImageCreateOptions? Image { get; init; }

    /// <summary>True to describe the backup in a manifest beside its file, by which it can be tested and restored. A repository's always
    /// is, and what is no file never.</summary>
    public bool HasManifest { get; init; } = true;

    /// <summary>True to replace an existing file, and its manifest.</summary>
    public bool Overwrite { get; init; }

    /// <summary>What messages call it.</summary>
    public string Destination => Uri?.ToString() ?? (Stream is null ? Path : "(stream)");
}
