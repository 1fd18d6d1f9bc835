// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Maps;

namespace Fleece.Images.Chain;

/// <summary>Reads the disk of an image by its map, and tells what is stored of it.</summary>
/// <remarks>
/// Threading. Any thread, on the calling thread.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="map">What lies where.</param>
/// <param name="parent">What shows through where nothing is stored; null for zeros.</param>
internal sealed class ImageReader(IImageMap map, ParentImage? parent)
{
    private readonly IContainerFile _dataFile = map.DataFile;
    private readonly Epochs _epochs = map.Epochs;

    /// <summary>Fills the buffer.</summary>
    /// <exception cref="BlockException">Corrupt, Unsupported; read errors.</exception>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int ticket = _epochs.Enter();
        try
        {
            ReadMapped(offsetBytes, buffer);
        }
        finally
        {
            _epochs.Exit(ticket);
        }
    }

    /// <summary>As <see cref="Read"/>, within a request that is counted in the epochs already.</summary>
    public void ReadMapped(long offsetBytes, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            MappedRun run = map.Map(offsetBytes, buffer.Length, isContiguous: true);
            Span<byte> part = buffer[..(int)run.LengthBytes];
            switch (run.Kind)
            {
                case RunKind.Data:
                    _dataFile.Read(run.FileOffsetBytes, part);
                    break;
                case RunKind.Packed:
                    map.Packed!.Read(run, offsetBytes, part);
                    break;
                case RunKind.Parent:
                    ReadParent(offsetBytes, part);
                    break;
                default:
                    part.Clear();
                    break;
            }

            offsetBytes += run.LengthBytes;
            buffer = buffer[part.Length..];
        }
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

    /// <inheritdoc cref="IBlockNode.ReadAhead"/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            MappedRun run = map.Map(offsetBytes, lengthBytes, isContiguous: true);
            switch (run.Kind)
            {
                case RunKind.Data:
                    _dataFile.ReadAhead(run.FileOffsetBytes, run.LengthBytes);
                    break;
                case RunKind.Packed:
                    map.Packed!.ReadAhead(run);
                    break;
                case RunKind.Parent:
                    parent?.ReadAhead(offsetBytes, run.LengthBytes);
                    break;
            }

            offsetBytes += run.LengthBytes;
            lengthBytes -= run.LengthBytes;
        }
    }

    /// <summary>The status at an offset, over as many runs of one kind as a query looks at.</summary>
    /// <exception cref="BlockException">Corrupt; read errors.</exception>
    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes)
    {
        BlockStatus status = BlockStatus.Unallocated;
        long doneBytes = 0;
        for (int runs = 0; doneBytes < lengthBytes && runs < map.RunsPerStatusQuery; runs++)
        {
            BlockStatusRun next = GetRun(offsetBytes + doneBytes, lengthBytes - doneBytes);
            if (doneBytes != 0 && next.Status != status)
            {
                break;
            }

            status = next.Status;
            doneBytes += next.LengthBytes;
        }

        return new BlockStatusRun(status, doneBytes);
    }

    /// <summary>The status of what shows through where the image stores nothing.</summary>
    public BlockStatusRun GetParentStatus(long offsetBytes, long lengthBytes) =>
        parent?.GetStatus(offsetBytes, lengthBytes) ?? new BlockStatusRun(BlockStatus.Unallocated, lengthBytes);

    /// <inheritdoc cref="IImageLayer.GetDepth"/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        MappedRun run = map.Map(offsetBytes, lengthBytes, isContiguous: false);
        return run.Kind == RunKind.Parent
            ? parent?.GetDepth(offsetBytes, run.LengthBytes) ?? new DepthRun(0, run.LengthBytes)
            : new DepthRun(1, run.LengthBytes);
    }

    private BlockStatusRun GetRun(long offsetBytes, long lengthBytes)
    {
        MappedRun run = map.Map(offsetBytes, lengthBytes, isContiguous: map.HasHoles);
        return run.Kind switch
        {
            RunKind.Parent => GetParentStatus(offsetBytes, run.LengthBytes),
            RunKind.Data when map.HasHoles => FindExtent(new BlockRange(run.FileOffsetBytes, run.LengthBytes)),
            RunKind.Data or RunKind.Packed => new BlockStatusRun(BlockStatus.Data, run.LengthBytes),
            RunKind.Zero => new BlockStatusRun(BlockStatus.Zero, run.LengthBytes),
            _ => new BlockStatusRun(BlockStatus.Unallocated, run.LengthBytes),
        };
    }

    private BlockStatusRun FindExtent(BlockRange range)
    {
        BlockStatusRun run = _dataFile.FindExtent(range);
        return run.Status == BlockStatus.Data ? run : run with { Status = BlockStatus.Zero };
    }
}
