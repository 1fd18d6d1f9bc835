// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Chain;

/// <summary>The parent of an image, as long as its child: behind its own end it reads as zeros.</summary>
/// <remarks>Threading as <see cref="IImageLayer"/>. Ownership. It owns the layer.</remarks>
internal sealed class ParentImage(IImageLayer layer) : IDisposable
{
    /// <summary>The image itself, for what formats must compare: identities and times.</summary>
    public IImageLayer Layer => layer;

    /// <summary>Fills the buffer.</summary>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int insideBytes = (int)Math.Clamp(layer.LengthBytes - offsetBytes, 0, buffer.Length);
        if (insideBytes != 0)
        {
            layer.Read(offsetBytes, buffer[..insideBytes]);
        }

        buffer[insideBytes..].Clear();
    }

    /// <inheritdoc cref="IImageLayer.ReadAhead"/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        long insideBytes = Math.Min(layer.LengthBytes - offsetBytes, lengthBytes);
        if (insideBytes > 0)
        {
            layer.ReadAhead(offsetBytes, insideBytes);
        }
    }

    /// <summary>The status of the run at the offset: data, or anything that reads as zeros.</summary>
    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes)
    {
        long insideBytes = layer.LengthBytes - offsetBytes;
        return insideBytes <= 0
            ? new BlockStatusRun(BlockStatus.Unallocated, lengthBytes)
            : layer.GetStatus(offsetBytes, Math.Min(lengthBytes, insideBytes));
    }

    /// <summary>The depth as the child counts it. A parent that is too short decides what lies behind its end, as for QEMU.</summary>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        long insideBytes = layer.LengthBytes - offsetBytes;
        DepthRun run = insideBytes <= 0
            ? new DepthRun(1, lengthBytes)
            : layer.GetDepth(offsetBytes, Math.Min(lengthBytes, insideBytes));
        return run.Depth == 0 ? run : run with { Depth = run.Depth + 1 };
    }

    /// <inheritdoc/>
    public void Dispose() => layer.Dispose();
}
