// SPDX-License-Identifier: MIT
using Fleece.Images;

namespace Fleece.Sessions.Backups;

/// <summary>What a backup is written to.</summary>
public sealed record BackupOptions
{
    /// <summary>The backup's file. It appears under this name only when it is complete.</summary>
    public required string Path { get; init; }

    /// <summary>The format; null to take it from the file's extension.</summary>
    public ImageFormat? Format { get; init; }

    /// <summary>True to replace an existing file.</summary>
    public bool Overwrite { get; init; }
}
