// SPDX-License-Identifier: MIT
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Jobs;

/// <summary>How a disk is backed up to a repository.</summary>
public sealed record BackupJobOptions
{
    /// <summary>The repository's folder.</summary>
    public required string RepositoryPath { get; init; }

    /// <summary>How many backups stay; null for all.</summary>
    public int? Keep { get; init; }

    /// <summary>The bitmap that says what has changed, made when it is not there; null for one named after the repository.</summary>
    public string? Bitmap { get; init; }

    /// <summary>True to make a full backup, which begins a new chain.</summary>
    public bool IsFull { get; init; }

    /// <summary>True to read the backup back before it counts as one.</summary>
    public bool MustVerify { get; init; }

    /// <summary>The format; null for that of the backup it builds on, and qcow2 without one.</summary>
    public ImageFormat? Format { get; init; }

    /// <summary>The compression; null for zstd, where the format can.</summary>
    public ImageCompression? Compression { get; init; }

    /// <summary>The session, apart from its name and its bitmaps.</summary>
    public SessionOptions Session { get; init; } = new();
}
