// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;

namespace Fleece.Images.Qcow2;

/// <content>Reading, and telling what is stored.</content>
internal sealed partial class Qcow2Node
{
    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        Read(offsetBytes, buffer.Span);
        return default;
    }

    /// <inheritdoc/>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int ticket = _metadata.Epochs.Enter();
        try
        {
            ReadMapped(offsetBytes, buffer);
        }
        finally
        {
            _metadata.Epochs.Exit(ticket);
        }
    }

    /// <inheritdoc/>
    public bool CanReadAhead => LocalFile.CanReadAhead;

    /// <inheritdoc cref="IReadAhead.ReadAhead"/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        while (lengthBytes > 0)
        {
            MappedRun run = _metadata.Map(offsetBytes, lengthBytes, isContiguous: true);
            switch (run.Kind)
            {
                case ClusterKind.Data:
                    _dataFile.ReadAhead(run.HostOffsetBytes, run.LengthBytes);
                    break;
                case ClusterKind.Unallocated:
                    _parent?.ReadAhead(offsetBytes, run.LengthBytes);
                    break;
                case ClusterKind.Compressed:
                    CompressedExtent extent = CompressedExtent.FromEntry(run.Entry, _header.ClusterBits);
                    _file.ReadAhead(extent.OffsetBytes, extent.LengthBytes);
                    break;
            }

            offsetBytes += run.LengthBytes;
            lengthBytes -= run.LengthBytes;
        }
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return new ValueTask<BlockStatusRun>(GetStatus(offsetBytes, lengthBytes));
    }

    /// <inheritdoc/>
    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes)
    {
        BlockStatus status = BlockStatus.Unallocated;
        long doneBytes = 0;
        for (int slices = 0; doneBytes < lengthBytes && slices < Qcow2Limits.SlicesPerStatusQuery; slices++)
        {
            BlockStatusRun next = GetStatusOfRun(offsetBytes + doneBytes, lengthBytes - doneBytes);
            if (doneBytes != 0 && next.Status != status)
            {
                break;
            }

            status = next.Status;
            doneBytes += next.LengthBytes;
        }

        return new BlockStatusRun(status, doneBytes);
    }

    private BlockStatusRun GetStatusOfRun(long offsetBytes, long lengthBytes)
    {
        MappedRun run = _metadata.Map(offsetBytes, lengthBytes, isContiguous: false);
        return run.Kind switch
        {
            ClusterKind.Unallocated when _parent is not null => _parent.GetStatus(offsetBytes, run.LengthBytes),
            ClusterKind.Unallocated => new BlockStatusRun(BlockStatus.Unallocated, run.LengthBytes),
            ClusterKind.Zero => new BlockStatusRun(BlockStatus.Zero, run.LengthBytes),
            ClusterKind.Data or ClusterKind.Compressed => new BlockStatusRun(BlockStatus.Data, run.LengthBytes),
            _ => throw _metadata.Unusable(offsetBytes),
        };
    }

    /// <inheritdoc/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes)
    {
        MappedRun run = _metadata.Map(offsetBytes, lengthBytes, isContiguous: false);
        return run.Kind switch
        {
            ClusterKind.Unallocated => _parent?.GetDepth(offsetBytes, run.LengthBytes) ?? new DepthRun(0, run.LengthBytes),
            ClusterKind.Zero or ClusterKind.Data or ClusterKind.Compressed => new DepthRun(1, run.LengthBytes),
            _ => throw _metadata.Unusable(offsetBytes),
        };
    }

    // Within a request that is counted in the epochs.
    private void ReadMapped(long offsetBytes, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            MappedRun run = _metadata.Map(offsetBytes, buffer.Length, isContiguous: true);
            Span<byte> part = buffer[..(int)run.LengthBytes];
            switch (run.Kind)
            {
                case ClusterKind.Data:
                    _dataFile.Read(run.HostOffsetBytes, part);
                    break;
                case ClusterKind.Unallocated when _parent is not null:
                    _parent.Read(offsetBytes, part);
                    break;
                case ClusterKind.Unallocated:
                case ClusterKind.Zero:
                    part.Clear();
                    break;
                case ClusterKind.Compressed:
                    _compressed.Read(CompressedExtent.FromEntry(run.Entry, _header.ClusterBits), offsetBytes, part);
                    break;
                default:
                    throw _metadata.Unusable(offsetBytes);
            }

            offsetBytes += run.LengthBytes;
            buffer = buffer[part.Length..];
        }
    }
}
