// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2.Compression;

/// <summary>One compression type of qcow2, for single clusters.</summary>
/// <remarks>Threading. All members are safe from any thread and work on the calling one.</remarks>
internal interface IClusterCodec
{
    /// <summary>Which it is.</summary>
    ImageCompression Compression { get; }

    /// <summary>Compresses a cluster.</summary>
    /// <param name="cluster">The whole cluster.</param>
    /// <param name="target">Where to.</param>
    /// <param name="mostBytes">How much of the target may be filled; what does not fit is not worth storing.</param>
    /// <param name="lengthBytes">Length of the result; 0 when it does not fit.</param>
    /// <returns>True when the result fits.</returns>
    bool TryCompress(ReadOnlySpan<byte> cluster, Memory<byte> target, int mostBytes, out int lengthBytes);

    /// <summary>Fills a cluster from compressed data, behind which there may be anything.</summary>
    /// <param name="source">A buffer that begins with the data.</param>
    /// <param name="sourceBytes">How much of the buffer may be looked at.</param>
    /// <param name="cluster">The whole cluster; undefined after a failure.</param>
    /// <returns>False when the data is damaged or makes less than a cluster.</returns>
    bool TryDecompress(ReadOnlySpan<byte> source, int sourceBytes, Span<byte> cluster);
}
