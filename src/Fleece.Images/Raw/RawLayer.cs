// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;

namespace Fleece.Images.Raw;

/// <summary>A raw image as the parent of another.</summary>
/// <remarks>Ownership. It owns the file.</remarks>
internal sealed class RawLayer(LocalFile file) : IImageLayer
{
    public string Path => file.Path;

    public ImageFormat Format => ImageFormat.Raw;

    public long LengthBytes { get; } = file.LengthBytes;

    public IImageLayer? Parent => null;

    public void Read(long offsetBytes, Span<byte> buffer) => file.Read(offsetBytes, buffer);

    public void ReadAhead(long offsetBytes, long lengthBytes) => file.ReadAhead(new BlockRange(offsetBytes, lengthBytes));

    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes) =>
        file.FindExtent(new BlockRange(offsetBytes, lengthBytes));

    public DepthRun GetDepth(long offsetBytes, long lengthBytes) => new(1, lengthBytes);

    public void Dispose() => file.Dispose();
}
