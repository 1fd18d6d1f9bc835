// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.TestKit;

/// <summary>Demands aligned requests, like a disk with sectors, and refuses others with
/// <see cref="BlockErrors.Misaligned"/>.</summary>
public sealed class AlignedNode : IBlockNode
{
    private readonly int _alignmentBytes;

    /// <summary>Wraps a node whose size is a multiple of the alignment.</summary>
    public AlignedNode(IBlockNode inner, int alignmentBytes = 512)
    {
        BlockRange.CheckPowerOfTwo(alignmentBytes, 1, 1 << 20, nameof(alignmentBytes));
        new BlockRange(0, inner.Geometry.LengthBytes).CheckAlignment(alignmentBytes, null, "align");
        _alignmentBytes = Math.Max(alignmentBytes, inner.Geometry.RequestAlignmentBytes);
        Inner = inner;
        Geometry = inner.Geometry with { RequestAlignmentBytes = _alignmentBytes };
    }

    /// <summary>The node that does the work.</summary>
    public IBlockNode Inner { get; }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => Inner.CanReadAhead;

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read");
        return Inner.ReadAsync(offsetBytes, buffer, cancellationToken);
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        Check(offsetBytes, lengthBytes, "read");
        Inner.ReadAhead(offsetBytes, lengthBytes);
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Check(offsetBytes, data.Length, "write");
        return Inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "write zeros to");
        return Inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "discard");
        return Inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => Inner.FlushAsync(cancellationToken);

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query");
        return Inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Inner.DisposeAsync();

    private void Check(long offsetBytes, long lengthBytes, string operation) =>
        new BlockRange(offsetBytes, lengthBytes).CheckAlignment(_alignmentBytes, null, operation);
}
