// SPDX-License-Identifier: MIT
using Fleece.Backups.Repositories;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>A complete backup.</summary>
/// <param name="Path">The file, or the export's URI.</param>
/// <param name="Format">The file's format; null for an export.</param>
/// <param name="Session">The snapshot it was made from: "DISK/NAME" or a URI.</param>
/// <param name="Instant">The instant it shows; null when a server did not tell.</param>
/// <param name="SizeBytes">Size of the disk in bytes.</param>
/// <param name="DataBytes">Bytes that were written.</param>
/// <param name="ZeroBytes">Bytes that were known to be zero and left as holes.</param>
/// <param name="ChunkCount">Chunks that arrived.</param>
/// <param name="Duration">From the first chunk to the renamed file.</param>
internal sealed record Backup(
    string Path,
    ImageFormat? Format,
    string Session,
    DateTimeOffset? Instant,
    long SizeBytes,
    long DataBytes,
    long ZeroBytes,
    long ChunkCount,
    TimeSpan Duration)
{
    /// <summary>What its manifest says of it, and what it is tested and restored by; null for one without a manifest.</summary>
    public BackupPoint? Point { get; init; }

    /// <summary>True when it was read back and was what went in.</summary>
    public bool IsVerified { get; init; }

    /// <summary>Data written per second, in bytes.</summary>
    public double BytesPerSecond => Duration > TimeSpan.Zero ? DataBytes / Duration.TotalSeconds : 0;
}
