// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Blocks;

namespace Fleece.Images.Vhdx;

/// <summary>Reads a VHDX disk, and tells what is stored of it.</summary>
/// <remarks>
/// Threading. Any thread, on the calling thread.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image, with its log replayed.</param>
/// <param name="map">What is stored where.</param>
/// <param name="parent">What shows through; null for zeros.</param>
internal sealed class VhdxReader(IContainerFile file, BlockMap map, ParentImage? parent)
{
    private readonly Epochs _epochs = map.Epochs;

    /// <summary>Fills the buffer.</summary>
    /// <exception cref="BlockException">Corrupt; read errors.</exception>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int ticket = _epochs.Enter();
        try
        {
            while (!buffer.IsEmpty)
            {
                MappedRun run = map.Map(offsetBytes, buffer.Length);
                Span<byte> part = buffer[..(int)run.LengthBytes];
                if (run.Kind == RunKind.Data)
                {
                    file.Read(run.FileOffsetBytes, part);
                }
                else if (run.Kind == RunKind.Parent && parent is not null)
                {
                    parent.Read(offsetBytes, part);
                }
                else
                {
                    part.Clear();
                }

                offsetBytes += run.LengthBytes;
                buffer = buffer[part.Length..];
            }
        }
        finally
        {
            _epochs.Exit(ticket);
        }
    }

    /// <inheritdoc cref="IBlockNode.ReadAhead"/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            MappedRun run = map.Map(offsetBytes, lengthBytes);
            if (run.Kind == RunKind.Data)
            {
                file.ReadAhead(run.FileOffsetBytes, run.LengthBytes);
            }
            else if (run.Kind == RunKind.Parent)
            {
                parent?.ReadAhead(offsetBytes, run.LengthBytes);
            }

            offsetBytes += run.LengthBytes;
            lengthBytes -= run.LengthBytes;
        }
    }

    /// <summary>The status at an offset, as far as it goes within its block.</summary>
    /// <exception cref="BlockException">Corrupt; read errors.</exception>
    public BlockStatusRun GetRun(long offsetBytes, long lengthBytes)
    {
        MappedRun run = map.Map(offsetBytes, lengthBytes);
        return run.Kind switch
        {
            RunKind.Parent when parent is not null => parent.GetStatus(offsetBytes, run.LengthBytes),
            RunKind.Data => new BlockStatusRun(BlockStatus.Data, run.LengthBytes),
            RunKind.Zero => new BlockStatusRun(BlockStatus.Zero, run.LengthBytes),
            _ => new BlockStatusRun(BlockStatus.Unallocated, run.LengthBytes),
        };
    }

    /// <inheritdoc cref="IImageLayer.GetDepth"/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        MappedRun run = map.Map(offsetBytes, lengthBytes);
        return run.Kind == RunKind.Parent
            ? parent?.GetDepth(offsetBytes, run.LengthBytes) ?? new DepthRun(0, run.LengthBytes)
            : new DepthRun(1, run.LengthBytes);
    }

    /// <summary>Reads what shows through where the image stores nothing.</summary>
    public void ReadParent(long offsetBytes, Span<byte> buffer)
    {
        if (parent is null)
        {
            buffer.Clear();
        }
        else
        {
            parent.Read(offsetBytes, buffer);
        }
    }
}
