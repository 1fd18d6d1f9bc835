// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2.Compression;

/// <summary>The codecs by their number in the header's compression_type (qcow2.txt, "Additional fields", byte 104).</summary>
internal static class ClusterCodecs
{
    private static readonly DeflateCodec Deflate = new();

    /// <summary>The codec of a compression type.</summary>
    /// <exception cref="BlockException">Unsupported: zstd, and its library is not there.</exception>
    public static IClusterCodec Find(string path, ImageCompression compression) =>
        compression == ImageCompression.Zstd ? ZstdCodec.Find(path) : Deflate;
}
