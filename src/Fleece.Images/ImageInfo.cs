// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>What an image file says of itself and what it takes on disk.</summary>
public sealed record ImageInfo
{
    /// <summary>Full path of the file.</summary>
    public required string Path { get; init; }

    /// <summary>The format, named by the caller or told from the content.</summary>
    public required ImageFormat Format { get; init; }

    /// <summary>Size of the disk as a guest sees it, in bytes; a multiple of 512.</summary>
    public required long SizeBytes { get; init; }

    /// <summary>Length of the file in bytes, holes included.</summary>
    public required long FileSizeBytes { get; init; }

    /// <summary>Bytes of the file that have storage, as the file system tells.</summary>
    public required long AllocatedBytes { get; init; }

    /// <summary>The allocation unit in bytes, a power of two; null for a raw image.</summary>
    public int? ClusterSizeBytes { get; init; }

    /// <summary>True when a program died while it had the image open, so that the image needs a check.</summary>
    public bool IsDirty { get; init; }

    /// <summary>True when a program found the metadata damaged and marked the image.</summary>
    public bool IsCorrupt { get; init; }

    /// <summary>Number of internal snapshots; such an image can only be opened read-only. 0 for a raw image.</summary>
    public int SnapshotCount { get; init; }

    /// <summary>The version in the header; null for a raw image.</summary>
    public int? FormatVersion { get; init; }
}
