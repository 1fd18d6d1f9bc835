// SPDX-License-Identifier: MIT
namespace Fleece.Images;

/// <summary>How clusters are compressed, in formats that can.</summary>
public enum ImageCompression
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>Deflate, which every reader of qcow2 knows.</summary>
    Zlib,

    /// <summary>Zstandard, faster and smaller; readers need QEMU 5.1 or later.</summary>
    Zstd,
}
