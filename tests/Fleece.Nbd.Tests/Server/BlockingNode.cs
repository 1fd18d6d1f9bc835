// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Passes everything on, after something that may keep its caller's thread, as a disk does.</summary>
internal abstract class BlockingNode(IBlockNode inner) : IBlockNode
{
    public BlockGeometry Geometry => inner.Geometry;

    public virtual bool CanReadAhead => inner.CanReadAhead;

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Block(BlockOperationKind.Read, new BlockRange(offsetBytes, buffer.Length));
        return inner.ReadAsync(offsetBytes, buffer, cancellationToken);
    }

    public virtual void ReadAhead(long offsetBytes, long lengthBytes) => inner.ReadAhead(offsetBytes, lengthBytes);

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Block(BlockOperationKind.Write, new BlockRange(offsetBytes, data.Length));
        return inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        Block(BlockOperationKind.WriteZeroes, new BlockRange(offsetBytes, lengthBytes));
        return inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Block(BlockOperationKind.Discard, new BlockRange(offsetBytes, lengthBytes));
        return inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Block(BlockOperationKind.Flush, default);
        return inner.FlushAsync(cancellationToken);
    }

    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Block(BlockOperationKind.Status, new BlockRange(offsetBytes, lengthBytes));
        return inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    /// <summary>What happens on the caller's thread before an operation is passed on; the range of a flush is empty.</summary>
    protected abstract void Block(BlockOperationKind kind, BlockRange range);
}
