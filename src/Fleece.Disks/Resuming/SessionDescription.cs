// SPDX-License-Identifier: MIT
using System.Text.Json.Serialization;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Storage;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>All of a session that does not change while it runs, as its log keeps it.</summary>
/// <remarks>Threading. Not changed once it is made.</remarks>
internal sealed record SessionDescription
{
    /// <summary>Of the log: its file is ID.log.</summary>
    public required Guid Id { get; init; }

    /// <summary>The log that leads the start over several disks; its own id for a session alone, and for the leader.</summary>
    public required Guid LeaderId { get; init; }

    /// <summary>The disk's name.</summary>
    public required string DiskName { get; init; }

    /// <summary>Full path of the disk's image.</summary>
    public required string ImagePath { get; init; }

    /// <summary>The image's format.</summary>
    public required ImageFormat ImageFormat { get; init; }

    /// <summary>True when the image was opened within the bounds of one from a stranger.</summary>
    public bool IsImageUntrusted { get; init; }

    /// <summary>True when the image may have its data in a file outside its folder.</summary>
    public bool AllowsOutsideDataFile { get; init; }

    /// <summary>The identity of the image's file, as <see cref="Block.Files.FileEvidence.FileId"/>.</summary>
    public required ulong ImageFileId { get; init; }

    /// <summary>The files below the image, as they were when the disk was opened.</summary>
    public IReadOnlyList<ParentFile> Parents { get; init; } = [];

    /// <summary>Size of the disk in bytes.</summary>
    public required long DiskSizeBytes { get; init; }

    /// <summary>The session's name, unique on its disk.</summary>
    public required string SessionName { get; init; }

    /// <summary>The identity of the instant.</summary>
    public required Guid InstantId { get; init; }

    /// <summary>The unit of copying in bytes.</summary>
    public required int GranuleSizeBytes { get; init; }

    /// <summary>The loser when a copy fails.</summary>
    public required CopyErrorPolicy OnCopyError { get; init; }

    /// <summary>Longest time a guest's write waits for its old data to be copied; null for no limit.</summary>
    public TimeSpan? CopyTimeout { get; init; }

    /// <summary>Most old data kept in temp at a time, in bytes; null for no limit.</summary>
    public long? TempLimitBytes { get; init; }

    /// <summary>How much of the limit is taken when the session warns, in percent; null for the default.</summary>
    public int? TempWarningPercent { get; init; }

    /// <summary>Longest time for which a guest's write is held back while temp fills; null for no delay.</summary>
    public TimeSpan? MaxGuestDelay { get; init; }

    /// <summary>Names of the consumers that are counted, in the order of their numbers.</summary>
    public IReadOnlyList<string> Consumers { get; init; } = [];

    /// <summary>Full path of the temp image.</summary>
    public required string TempPath { get; init; }

    /// <summary>The temp image's format.</summary>
    public required ImageFormat TempFormat { get; init; }

    /// <summary>The identity of the temp image's file.</summary>
    public required ulong TempFileId { get; init; }

    /// <summary>True when the session made the temp image, and deletes it when it ends.</summary>
    public required bool IsTempOwned { get; init; }

    /// <summary>True when temp read as zeros at the instant, so that zeros need not be written there.</summary>
    public required bool TempReadsAsZero { get; init; }

    /// <summary>The exact name of the bitmap that is pinned, hidden ones too; null for none.</summary>
    public string? PinnedBitmap { get; init; }

    /// <summary>The exact name of the bitmap that records from the instant on, hidden ones too; null for none.</summary>
    public string? NextBitmap { get; init; }

    /// <summary>The instant that the pinned bitmap counts from; null for none.</summary>
    public Guid? BaselineId { get; init; }

    /// <summary>True when the snapshot shows what the pinned bitmap has, and not the whole disk.</summary>
    public bool IsLimited { get; init; }

    /// <summary>True when the snapshot shows ranges that the user has named.</summary>
    public bool HasRanges { get; init; }

    /// <summary>The version of Fleece that wrote it.</summary>
    public string WrittenBy { get; init; } = string.Empty;

    /// <summary>Granules of the disk.</summary>
    [JsonIgnore]
    public long GranuleCount => new Granules(DiskSizeBytes, GranuleSizeBytes).Count;

    /// <summary>DISK/NAME.</summary>
    [JsonIgnore]
    public string FullName => $"{DiskName}/{SessionName}";

    /// <inheritdoc/>
    public bool Equals(SessionDescription? other) => other is not null && SessionDescriptionFormat.AreEqual(this, other);

    /// <inheritdoc/>
    public override int GetHashCode() => Id.GetHashCode();

    /// <summary>What copies may cost. A method, so that the log does not have it twice.</summary>
    public CopyLimits ToLimits() => new()
    {
        Timeout = CopyTimeout,
        TempBytes = TempLimitBytes,
        TempWarningPercent = TempWarningPercent,
        MaxGuestDelay = MaxGuestDelay,
    };
}
