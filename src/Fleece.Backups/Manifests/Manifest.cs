// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Block;
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Manifests;

/// <summary>What is known of one backup beside its image; docs/backups.md has the fields.</summary>
internal sealed record Manifest
{
    /// <summary>The number of a backup that is in no repository.</summary>
    public const int NoNumber = 0;

    public required int Number { get; init; }

    /// <summary>The instant that the backup shows.</summary>
    public required Guid Id { get; init; }

    /// <summary>The full backup that its chain began with.</summary>
    public required Guid ChainId { get; init; }

    /// <summary>The backup it builds on, or that must be there for its ranges to be of use; null for none.</summary>
    public required Guid? ParentId { get; init; }

    public required string FileName { get; init; }

    public required ImageFormat Format { get; init; }

    public required ImageCompression Compression { get; init; }

    public required DateTimeOffset InstantAt { get; init; }

    public required DateTimeOffset CompletedAt { get; init; }

    public required string DiskName { get; init; }

    public required string SessionId { get; init; }

    public required string? BitmapName { get; init; }

    /// <summary>Full path of the image, or URI of the export, that was backed up; null in manifests of versions that did not note it.
    /// </summary>
    public string? SourceAddress { get; init; }

    /// <summary>True when others wrote to the disk past the session, so that no one moment is guaranteed.</summary>
    public bool IsShared { get; init; }

    /// <summary>Size of the disk.</summary>
    public required long SizeBytes { get; init; }

    public required long FileSizeBytes { get; init; }

    public PointState State { get; init; }

    /// <summary>True when a seal covers the manifest; false for one of a version that had none.</summary>
    public bool IsSealed { get; init; } = true;

    /// <summary>What the parent showed when this backup was made on it, as <see cref="Manifests.ContentDigest"/> has it; null without a
    /// parent, and for a backup that is one file.</summary>
    public string? ParentContentDigest { get; init; }

    /// <summary>What this backup shows, as <see cref="Manifests.ContentDigest"/> has it; null until it is complete.</summary>
    public string? ContentDigest { get; init; }

    /// <summary>True once a merge has changed which of the content lies in this backup's file.</summary>
    public bool HasMerged { get; init; }

    /// <summary>The backup that takes this one's place; null for one that stays.</summary>
    public Guid? SuccessorId { get; init; }

    /// <summary>What the file holds of the disk, in order and disjoint.</summary>
    public required IReadOnlyList<ContentExtent> Content { get; init; }

    /// <summary>True for a backup that is one file and in no repository: it builds on no file.</summary>
    public bool IsSingleFile => Number == NoNumber;

    public BackupKind Kind => ParentId is not null ? BackupKind.Incremental
        : IsSingleFile && Ranges.Without(new BlockRange(0, SizeBytes)).Any() ? BackupKind.Partial
        : BackupKind.Full;

    /// <summary>The name of the manifest's own file.</summary>
    public string ManifestName => IsSingleFile ? FileManifest.PathFor(FileName) : RepositoryNames.ManifestFor(FileName);

    public RangeSet Ranges => RangeSet.Of(Content.Select(extent => extent.Range));

    public long DataBytes => Content.Sum(extent => extent.IsZero ? 0 : extent.Range.LengthBytes);

    public long ZeroBytes => Content.Sum(extent => extent.IsZero ? extent.Range.LengthBytes : 0);

    /// <summary>The manifest of a backup that is about to be written, as a file of its own: what is only known when it is complete, is
    /// missing.</summary>
    public static Manifest Begin(
        ISnapshotSource source, SnapshotIdentity identity, string fileName, ImageFormat format, ImageCompression compression) => new()
        {
            Number = NoNumber,
            Id = identity.Id,
            ChainId = identity.BaselineId ?? identity.Id,
            ParentId = identity.BaselineId,
            FileName = fileName,
            Format = format,
            Compression = compression,
            InstantAt = source.Instant ?? DateTimeOffset.UtcNow,
            CompletedAt = DateTimeOffset.UtcNow,
            DiskName = identity.DiskName,
            SessionId = identity.SessionId,
            BitmapName = identity.BitmapName,
            SourceAddress = source.Address,
            IsShared = identity.IsShared,
            SizeBytes = source.SizeBytes,
            FileSizeBytes = 0,
            Content = [],
        };

    /// <summary>The manifest with all that a new backup holds.</summary>
    public Manifest Complete(IReadOnlyList<ContentExtent> content, long fileSizeBytes)
    {
        Manifest complete = this with { Content = content, FileSizeBytes = fileSizeBytes, CompletedAt = DateTimeOffset.UtcNow };
        return complete with { ContentDigest = Manifests.ContentDigest.Of(complete) };
    }

    /// <summary>Refuses content that is not in order, not disjoint or not on the disk.</summary>
    /// <returns>What is wrong; null when nothing is.</returns>
    public string? FindFault()
    {
        long atBytes = 0;
        foreach (ContentExtent extent in Content)
        {
            if (extent.Range.IsEmpty || extent.Range.OffsetBytes < atBytes || extent.Range.EndBytes > SizeBytes)
            {
                return $"the content {Describe(extent.Range)} is empty, out of order or beyond the disk's {SizeBytes} bytes";
            }

            if (!extent.IsZero && extent.Range.LengthBytes > ContentExtent.ExtentBytes)
            {
                return $"the content {Describe(extent.Range)} is longer than the {ContentExtent.ExtentBytes} bytes that one digest covers";
            }

            atBytes = extent.Range.EndBytes;
        }

        return null;
    }

    private static string Describe(BlockRange range) => $"of {range.LengthBytes} bytes at offset {range.OffsetBytes}";
}
