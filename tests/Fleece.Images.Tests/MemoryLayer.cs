// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;

namespace Fleece.Images.Tests;

/// <summary>A parent whose disk is an array.</summary>
internal sealed class MemoryLayer(byte[] content) : IImageLayer
{
    public string Path => "parent.raw";

    public ImageFormat Format => ImageFormat.Raw;

    public long LengthBytes => content.Length;

    public IImageLayer? Parent => null;

    public void Read(long offsetBytes, Span<byte> buffer) => content.AsSpan((int)offsetBytes, buffer.Length).CopyTo(buffer);

    /// <summary>Ranges that were read ahead.</summary>
    public List<BlockRange> ReadAheads { get; } = [];

    public void ReadAhead(long offsetBytes, long lengthBytes) => ReadAheads.Add(new BlockRange(offsetBytes, lengthBytes));

    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes) => new(BlockStatus.Data, lengthBytes);

    public DepthRun GetDepth(long offsetBytes, long lengthBytes) => new(1, lengthBytes);

    public void Dispose()
    {
    }
}
