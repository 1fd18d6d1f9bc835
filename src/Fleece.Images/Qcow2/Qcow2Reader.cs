// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Compression;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;
using Fleece.Images.Qcow2.Mapping;

namespace Fleece.Images.Qcow2;

/// <summary>Reads a qcow2 disk, and tells what is stored of it.</summary>
/// <remarks>
/// Threading. Any thread, on the calling thread.
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="dataFile">Where data that is not compressed lies: the image, or its external data file.</param>
/// <param name="parent">What shows through where nothing is stored; null for zeros.</param>
/// <param name="header">The image's header.</param>
/// <param name="metadata">Its tables.</param>
internal sealed class Qcow2Reader(
    IContainerFile file, IContainerFile dataFile, ParentImage? parent, Qcow2Header header, Qcow2Metadata metadata)
{
    private readonly MappingLookup _lookup = metadata.Lookup;
    private readonly Epochs _epochs = metadata.Epochs;
    private readonly CompressedClusters _compressed = new(file, header, metadata.Changes?.Allocator);

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

    /// <inheritdoc cref="IBlockNode.ReadAhead"/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            MappedRun run = _lookup.Map(offsetBytes, lengthBytes, isContiguous: true);
            switch (run.Kind)
            {
                case ClusterKind.Data:
                    dataFile.ReadAhead(run.HostOffsetBytes, run.LengthBytes);
                    break;
                case ClusterKind.Unallocated:
                    parent?.ReadAhead(offsetBytes, run.LengthBytes);
                    break;
                case ClusterKind.Compressed:
                    CompressedExtent extent = CompressedExtent.FromEntry(run.Entry, header.ClusterBits);
                    file.ReadAhead(extent.OffsetBytes, extent.LengthBytes);
                    break;
            }

            offsetBytes += run.LengthBytes;
            lengthBytes -= run.LengthBytes;
        }
    }

    /// <summary>The status at an offset, as far as one L2 slice or the parent tells it.</summary>
    /// <exception cref="BlockException">Corrupt; read errors.</exception>
    public BlockStatusRun GetRun(long offsetBytes, long lengthBytes)
    {
        MappedRun run = _lookup.Map(offsetBytes, lengthBytes, isContiguous: false);
        return run.Kind switch
        {
            ClusterKind.Unallocated when parent is not null => parent.GetStatus(offsetBytes, run.LengthBytes),
            ClusterKind.Unallocated => new BlockStatusRun(BlockStatus.Unallocated, run.LengthBytes),
            ClusterKind.Zero => new BlockStatusRun(BlockStatus.Zero, run.LengthBytes),
            ClusterKind.Data or ClusterKind.Compressed => new BlockStatusRun(BlockStatus.Data, run.LengthBytes),
            _ => throw Qcow2Fault.UnusableEntry(file.Path, offsetBytes),
        };
    }

    /// <inheritdoc cref="IImageLayer.GetDepth"/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        MappedRun run = _lookup.Map(offsetBytes, lengthBytes, isContiguous: false);
        return run.Kind switch
        {
            ClusterKind.Unallocated => parent?.GetDepth(offsetBytes, run.LengthBytes) ?? new DepthRun(0, run.LengthBytes),
            ClusterKind.Zero or ClusterKind.Data or ClusterKind.Compressed => new DepthRun(1, run.LengthBytes),
            _ => throw Qcow2Fault.UnusableEntry(file.Path, offsetBytes),
        };
    }

    /// <summary>As <see cref="Read"/>, within a request that is counted in the epochs already.</summary>
    public void ReadMapped(long offsetBytes, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            MappedRun run = _lookup.Map(offsetBytes, buffer.Length, isContiguous: true);
            Span<byte> part = buffer[..(int)run.LengthBytes];
            switch (run.Kind)
            {
                case ClusterKind.Data:
                    dataFile.Read(run.HostOffsetBytes, part);
                    break;
                case ClusterKind.Unallocated when parent is not null:
                    parent.Read(offsetBytes, part);
                    break;
                case ClusterKind.Unallocated:
                case ClusterKind.Zero:
                    part.Clear();
                    break;
                case ClusterKind.Compressed:
                    _compressed.Read(CompressedExtent.FromEntry(run.Entry, header.ClusterBits), offsetBytes, part);
                    break;
                default:
                    throw Qcow2Fault.UnusableEntry(file.Path, offsetBytes);
            }

            offsetBytes += run.LengthBytes;
            buffer = buffer[part.Length..];
        }
    }
}
