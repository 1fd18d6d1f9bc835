// SPDX-License-Identifier: MIT
using Fleece.Backups.Writing;
using Fleece.Images;

namespace Fleece.Backups.Records;

/// <summary>A complete backup.</summary>
public sealed record BackupInfo
{
    internal BackupInfo(Backup backup)
    {
        Path = backup.Path;
        Format = backup.Format;
        Session = backup.Session;
        Instant = backup.Instant;
        SizeBytes = backup.SizeBytes;
        DataBytes = backup.DataBytes;
        ZeroBytes = backup.ZeroBytes;
        ChunkCount = backup.ChunkCount;
        Duration = backup.Duration;
        BytesPerSecond = backup.BytesPerSecond;
        IsVerified = backup.IsVerified;
        Point = backup.Point is null ? null : new BackupPointInfo(backup.Point);
    }

    /// <summary>The file, or the export's URI.</summary>
    public string Path { get; }

    /// <summary>The file's format; null for an export.</summary>
    public ImageFormat? Format { get; }

    /// <summary>The snapshot it was made from: "DISK/NAME" or a URI.</summary>
    public string Session { get; }

    /// <summary>The instant it shows; null when a server did not tell.</summary>
    public DateTimeOffset? Instant { get; }

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes { get; }

    /// <summary>Bytes that were written.</summary>
    public long DataBytes { get; }

    /// <summary>Bytes that were known to be zero and left as holes.</summary>
    public long ZeroBytes { get; }

    /// <summary>Chunks that arrived.</summary>
    public long ChunkCount { get; }

    /// <summary>From the first chunk to the renamed file.</summary>
    public TimeSpan Duration { get; }

    /// <summary>Data written per second, in bytes.</summary>
    public double BytesPerSecond { get; }

    /// <summary>True when it was read back and was what went in.</summary>
    public bool IsVerified { get; }

    /// <summary>The backup as its manifest describes it, by which it is tested and restored; null without a manifest.</summary>
    public BackupPointInfo? Point { get; }

    /// <summary>The path.</summary>
    public override string ToString() => Path;
}
