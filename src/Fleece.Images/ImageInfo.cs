// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images;

/// <summary>What an image file says of itself and what it takes on disk.</summary>
public sealed record ImageInfo
{
    private readonly string? _parentPath;

    /// <summary>Full path of the file.</summary>
    public required string Path { get; init; }

    /// <summary>The format, named by the caller or told from the content.</summary>
    public required ImageFormat Format { get; init; }

    /// <summary>True when the file counts as raw because its name says so: nothing in it does, and no caller has named the
    /// format.</summary>
    public bool IsRawByName { get; init; }

    /// <summary>Fixed, dynamic or differencing.</summary>
    public ImageType Type { get; init; }

    /// <summary>Size of the disk as a guest sees it, in bytes; a multiple of 512.</summary>
    public required long SizeBytes { get; init; }

    /// <summary>Length of the file in bytes, holes included.</summary>
    public required long FileSizeBytes { get; init; }

    /// <summary>Bytes of the file that have storage, as the file system tells.</summary>
    public required long AllocatedBytes { get; init; }

    /// <summary>The allocation unit in bytes, a power of two: qcow2's cluster, the block of VHD and VHDX; null where there is
    /// none.</summary>
    public int? BlockSizeBytes { get; init; }

    /// <summary>Logical sector size in bytes.</summary>
    public int LogicalSectorSizeBytes { get; init; } = 512;

    /// <summary>The version in the header; null where the format has none.</summary>
    public int? FormatVersion { get; init; }

    /// <summary>The parent, in full and printable; null without one. The file need not exist.</summary>
    public string? ParentPath
    {
        get => PrintableText.Of(_parentPath);
        init => _parentPath = value;
    }

    /// <summary>The parent's format as the image records it; null where it records none.</summary>
    public ImageFormat? ParentFormat { get; init; }

    /// <summary>A file of its own for the data, in full and printable; null when the data lies in the image.</summary>
    public string? DataFilePath { get; init => field = PrintableText.Of(value); }

    /// <summary>The identity that the format gives the disk; null where it gives none.</summary>
    public Guid? DiskIdentifier { get; init; }

    /// <summary>True when a program died while it had the image open: a dirty qcow2, a VHDX with a log to replay.</summary>
    public bool IsDirty { get; init; }

    /// <summary>True when a program found the metadata damaged and marked the image.</summary>
    public bool IsCorrupt { get; init; }

    /// <summary>What compressed clusters are compressed with; null for formats that compress nothing.</summary>
    public ImageCompression? Compression { get; init; }

    /// <summary>The optional features the image uses, by the names of its specification.</summary>
    public IReadOnlyList<string> Features { get; init => field = Array.AsReadOnly<string>([.. value]); } = [];

    /// <summary>The internal snapshots, oldest first.</summary>
    public IReadOnlyList<ImageSnapshot> Snapshots { get; init => field = Array.AsReadOnly<ImageSnapshot>([.. value]); } = [];

    /// <summary>The persistent dirty bitmaps in the image.</summary>
    public IReadOnlyList<ImageBitmap> Bitmaps { get; init => field = Array.AsReadOnly<ImageBitmap>([.. value]); } = [];

    /// <summary>True when the image names exactly this file as its parent; of null, when it names none.</summary>
    public bool HasParent(string? path) => _parentPath == path;
}
