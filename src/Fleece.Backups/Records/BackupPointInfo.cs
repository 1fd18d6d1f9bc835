// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;
using Fleece.Images;

namespace Fleece.Backups.Records;

/// <summary>One backup, of a repository or a file of its own, as its manifest described it when it was asked for.</summary>
public sealed record BackupPointInfo
{
    internal BackupPointInfo(BackupPoint point)
    {
        Path = point.Path;
        RepositoryPath = point.RepositoryPath;
        Number = point.Number;
        Id = point.Id;
        ParentId = point.ParentId;
        ChainId = point.ChainId;
        Kind = point.Kind;
        Instant = point.Instant;
        CompletedAt = point.CompletedAt;
        Disk = point.Disk;
        SourceAddress = point.SourceAddress;
        Bitmap = point.Bitmap;
        IsShared = point.IsShared;
        Format = point.Format;
        SizeBytes = point.SizeBytes;
        DataBytes = point.DataBytes;
        ZeroBytes = point.ZeroBytes;
        IsSealed = point.IsSealed;
        FileSizeBytes = point.FileSizeBytes;
    }

    /// <summary>The image file, in full. Any program that knows its format opens it as the disk at the instant.</summary>
    public string Path { get; }

    /// <summary>The folder.</summary>
    public string RepositoryPath { get; }

    /// <summary>Its place in the order of the repository's backups, which no clock can change; 0 for one that is in none.</summary>
    public int Number { get; }

    /// <summary>The instant's identity.</summary>
    public Guid Id { get; }

    /// <summary>The backup that it needs; null for none.</summary>
    public Guid? ParentId { get; }

    /// <summary>The full backup that its chain began with.</summary>
    public Guid ChainId { get; }

    /// <summary>Full, incremental or partial.</summary>
    public BackupKind Kind { get; }

    /// <summary>The instant it shows, by the clock of that time.</summary>
    public DateTimeOffset Instant { get; }

    /// <summary>When it was complete.</summary>
    public DateTimeOffset CompletedAt { get; }

    /// <summary>The disk. This, <see cref="SourceAddress"/> and <see cref="Bitmap"/> are printable.</summary>
    public string Disk { get; }

    /// <summary>Where the disk was: full path of the image, or URI of the export; null where its manifest does not say.</summary>
    public string? SourceAddress { get; }

    /// <summary>The bitmap that its session pinned; null for none.</summary>
    public string? Bitmap { get; }

    /// <summary>True when others wrote to the disk past the session, so that the backup may show several moments.</summary>
    public bool IsShared { get; }

    /// <summary>The file's format.</summary>
    public ImageFormat Format { get; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; }

    /// <summary>Bytes of data that the file holds of the disk.</summary>
    public long DataBytes { get; }

    /// <summary>Bytes that the file says are zero.</summary>
    public long ZeroBytes { get; }

    /// <summary>True when a seal covers the manifest, so that it is whole; false for one of a version of Fleece that had no seals.
    /// </summary>
    public bool IsSealed { get; }

    /// <summary>Length of the file in bytes.</summary>
    public long FileSizeBytes { get; }

    /// <summary>The image file's path.</summary>
    public override string ToString() => Path;
}
