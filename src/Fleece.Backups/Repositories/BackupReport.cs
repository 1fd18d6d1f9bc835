// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;

namespace Fleece.Backups.Repositories;

/// <summary>Something that is wrong with a backup.</summary>
/// <param name="Kind">What, as the error that a restore would end with.</param>
/// <param name="Message">Whole sentences with the file and the range.</param>
/// <param name="OffsetBytes">Where on the disk; null when it has no one place.</param>
public sealed record BackupFinding(string Kind, string Message, long? OffsetBytes)
{
    /// <summary>Whole sentences with the file and the range; printable.</summary>
    public string Message { get; init; } = PrintableText.Of(Message);
}

/// <summary>What a test of one backup found.</summary>
public sealed record BackupReport
{
    /// <summary>Most findings that are kept.</summary>
    public const int MaximumFindings = 1000;

    /// <summary>The image file.</summary>
    public required string Path { get; init; }

    /// <summary>Its number in the repository.</summary>
    public required int Number { get; init; }

    /// <summary>The instant it shows.</summary>
    public required DateTimeOffset Instant { get; init; }

    /// <summary>Full or incremental.</summary>
    public required BackupKind Kind { get; init; }

    /// <summary>True when all digests were compared, not only what is there.</summary>
    public required bool IsDeep { get; init; }

    /// <summary>True when a seal covers the manifest; false for one of a version of Fleece that had no seals.</summary>
    public required bool IsSealed { get; init; }

    /// <summary>Bytes of the disk's data whose digests were compared.</summary>
    public long CheckedBytes { get; init; }

    /// <summary>True when nothing is wrong.</summary>
    public bool IsGood => Findings.Count == 0;

    /// <summary>The first <see cref="MaximumFindings"/> findings.</summary>
    public IReadOnlyList<BackupFinding> Findings { get; init => field = Array.AsReadOnly<BackupFinding>([.. value]); } = [];
}
