// SPDX-License-Identifier: MIT
namespace Fleece.Backups.Manifests;

/// <summary>What a backup's file holds.</summary>
public enum BackupKind
{
    /// <summary>The whole disk.</summary>
    Full,

    /// <summary>What changed since another backup, which it needs.</summary>
    Incremental,

    /// <summary>Those ranges of the disk that its session was limited to, or that were read. Only of a backup that is in no repository.
    /// </summary>
    Partial,
}
