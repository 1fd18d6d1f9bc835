// SPDX-License-Identifier: MIT
namespace Fleece.Backups;

/// <summary>The kinds of errors that arise with backups and repositories.</summary>
public static class BackupErrors
{
    /// <summary>Chunks of another snapshot were sent to a backup that had begun.</summary>
    public const string ForeignChunk = nameof(ForeignChunk);

    /// <summary>A chunk that was disposed, or sent to a backup, before was sent to a backup.</summary>
    public const string ChunkUsed = nameof(ChunkUsed);

    /// <summary>A backup ended before all chunks of the read had arrived.</summary>
    public const string BackupIncomplete = nameof(BackupIncomplete);

    /// <summary>Another job works in the backup repository.</summary>
    public const string RepositoryBusy = nameof(RepositoryBusy);

    /// <summary>There is no such backup in the repository.</summary>
    public const string BackupUnknown = nameof(BackupUnknown);

    /// <summary>The backup that an incremental one builds on is not in the repository.</summary>
    public const string BackupParentMissing = nameof(BackupParentMissing);

    /// <summary>A backup's file, or one that it builds on, is missing or is not the one its manifest describes.</summary>
    public const string BackupChainBroken = nameof(BackupChainBroken);

    /// <summary>What a backup holds is not what was backed up.</summary>
    public const string BackupDigestMismatch = nameof(BackupDigestMismatch);

    /// <summary>A snapshot that is to go into a repository does not tell which disk it is of.</summary>
    public const string BackupUnidentified = nameof(BackupUnidentified);

    /// <summary>A file that backups need was to be replaced or written.</summary>
    public const string FileOfBackup = nameof(FileOfBackup);

    /// <summary>A file that is to describe a backup does not.</summary>
    public const string ManifestInvalid = nameof(ManifestInvalid);
}
