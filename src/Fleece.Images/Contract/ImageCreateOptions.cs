// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>What a new image is to be.</summary>
public sealed record ImageCreateOptions
{
    /// <summary>Its format.</summary>
    public required ImageFormat Format { get; init; }

    /// <summary>Size of the disk, a multiple of 512; null for the parent's size.</summary>
    public long? SizeBytes { get; init; }

    /// <summary>The allocation unit: qcow2's cluster, the block of VHD and VHDX; null for the format's default.</summary>
    public int? BlockSizeBytes { get; init; }

    /// <summary>True to give every byte its place in the file at once; VHD and VHDX.</summary>
    public bool IsFixed { get; init; }

    /// <summary>The image that is read where this one stores nothing; it must exist and not be written any more.</summary>
    public string? ParentPath { get; init; }

    /// <summary>As <see cref="ImageOpenOptions.MustStayInFolder"/>, for the parent and its parents.</summary>
    public bool MustStayInFolder { get; init; }

    /// <summary>The parent's format; null to tell it from the content now. The new image records it.</summary>
    public ImageFormat? ParentFormat { get; init; }

    /// <summary>Logical sector size, 512 or 4096; VHDX.</summary>
    public int? LogicalSectorSizeBytes { get; init; }

    /// <summary>What the image's compressed clusters will be compressed with; qcow2.</summary>
    public ImageCompression Compression { get; init; }

    /// <summary>Bits of a refcount, a power of two from 1 to 64; qcow2.</summary>
    public int? RefcountBits { get; init; }

    /// <summary>True for clusters that are allocated in 32 parts (extended L2 entries); qcow2.</summary>
    public bool HasSubclusters { get; init; }

    /// <summary>A raw file of its own for the data, which must not exist yet; qcow2.</summary>
    public string? DataFilePath { get; init; }

    /// <summary>The format's version, 2 or 3; null for 3; qcow2.</summary>
    public int? Version { get; init; }

    /// <summary>True to use data files of the parents that lie outside the folder of the image that names them.</summary>
    public bool AllowsOutsideDataFile { get; init; }
}
