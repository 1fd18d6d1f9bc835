// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;

namespace Fleece.Images.Raw;

/// <summary>A raw image as the parent of another.</summary>
/// <remarks>Ownership. It owns the file.</remarks>
internal sealed class RawLayer(LocalFile file) : IImageLayer
{
    private readonly FileNode _disk = FileNode.Over(file, RawDriver.SectorBytes);

    public string Path => file.Path;

    public ImageFormat Format => ImageFormat.Raw;

    public long LengthBytes => _disk.Geometry.LengthBytes;

    public IImageLayer? Parent => null;

    public void Read(long offsetBytes, Span<byte> buffer) => _disk.Read(offsetBytes, buffer);

    public void ReadAhead(long offsetBytes, long lengthBytes) => _disk.ReadAhead(offsetBytes, lengthBytes);

    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes) => _disk.GetStatus(offsetBytes, lengthBytes);

    public DepthRun GetDepth(long offsetBytes, long lengthBytes) => new(1, lengthBytes);

    public void Dispose() => file.Dispose();
}
