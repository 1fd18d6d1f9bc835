// SPDX-License-Identifier: MIT
namespace Fleece.Images.Qcow2;

/// <summary>Reads compressed clusters of one image.</summary>
/// <remarks>Threading. Any thread.</remarks>
internal interface ICompressedClusters
{
    /// <summary>Fills the buffer with a part of a cluster's content.</summary>
    /// <param name="extent">Where the compressed bytes are; it lies within the file.</param>
    /// <param name="guestOffsetBytes">Disk offset of the buffer's first byte; the buffer ends within the same cluster.</param>
    /// <param name="buffer">Gets the bytes.</param>
    /// <exception cref="Block.BlockException">Corrupt: the bytes are no cluster; Unsupported; read errors.</exception>
    void Read(CompressedExtent extent, long guestOffsetBytes, Span<byte> buffer);
}

/// <summary>Refuses compressed clusters by name.</summary>
internal sealed class RefusedCompressedClusters(string path) : ICompressedClusters
{
    public void Read(CompressedExtent extent, long guestOffsetBytes, Span<byte> buffer) =>
        throw Qcow2Fault.Compressed(path, guestOffsetBytes);
}
