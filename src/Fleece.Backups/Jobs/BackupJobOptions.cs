// SPDX-License-Identifier: MIT
using Fleece.Backups.Reading;
using Fleece.Backups.Writing;
using Fleece.Disks;

namespace Fleece.Backups.Jobs;

/// <summary>How a disk is backed up to a repository.</summary>
internal sealed record BackupJobOptions : RepositoryTargetOptions
{
    /// <summary>How many backups stay; null for all.</summary>
    public int? Keep { get; init; }

    /// <summary>The bitmap that says what has changed, made when it is not there; null for one named after the repository.</summary>
    public string? Bitmap { get; init; }

    /// <summary>True to make a full backup, which begins a new chain.</summary>
    public bool IsFull { get; init; }

    /// <summary>The order in which the snapshot is read.</summary>
    public SnapshotReadOrder Order { get; init; }

    /// <summary>The session, apart from its name and its bitmaps.</summary>
    public SessionOptions Session { get; init; } = new();
}
