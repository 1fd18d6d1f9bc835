// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>Lets any byte range reach a node that takes whole blocks only.</summary>
/// <remarks>
/// <para>Aligned requests pass as they are. Of a write that is not, the blocks at its two ends are read, changed and written back, one
/// such write after the other. So requests that run at the same time must not overlap, as those of backups and of copies never do.</para>
/// <para>A discard frees the whole blocks in its range.</para>
/// <para>Ownership. It owns the node.</para>
/// </remarks>
internal sealed class ByteGranularNode : IBlockNode
{
    private readonly IBlockNode _node;
    private readonly int _blockBytes;
    private readonly SemaphoreSlim _partial = new(1, 1);

    private ByteGranularNode(IBlockNode node)
    {
        _node = node;
        _blockBytes = node.Geometry.RequestAlignmentBytes;
        Geometry = node.Geometry with { RequestAlignmentBytes = 1 };
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => _node.CanReadAhead;

    /// <summary>Wraps a node; one that takes any range stays as it is.</summary>
    public static IBlockNode Over(IBlockNode node)
    {
        ArgumentNullException.ThrowIfNull(node);
        return node.Geometry.RequestAlignmentBytes == 1 ? node : new ByteGranularNode(node);
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, buffer.Length, "read");
        return IsAligned(range)
            ? _node.ReadAsync(offsetBytes, buffer, cancellationToken)
            : ReadPartialAsync(range, buffer, cancellationToken);
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        BlockRange blocks = Cover(Check(offsetBytes, lengthBytes, "read"));
        _node.ReadAhead(blocks.OffsetBytes, blocks.LengthBytes);
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, data.Length, "write");
        return IsAligned(range)
            ? _node.WriteAsync(offsetBytes, data, flags, cancellationToken)
            : ChangeAsync(range, data, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "write zeros to");
        return IsAligned(range)
            ? _node.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken)
            : ChangeAsync(range, null, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange blocks = WholeBlocks(Check(offsetBytes, lengthBytes, "discard"));
        return blocks.IsEmpty ? default : _node.DiscardAsync(blocks.OffsetBytes, blocks.LengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => _node.FlushAsync(cancellationToken);

    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query");
        if (range.IsEmpty)
        {
            return default;
        }

        BlockRange blocks = Cover(range);
        BlockStatusRun run = await _node.GetStatusAsync(blocks.OffsetBytes, blocks.LengthBytes, cancellationToken).ConfigureAwait(false);
        return run with { LengthBytes = Math.Min(run.LengthBytes - (offsetBytes - blocks.OffsetBytes), lengthBytes) };
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _partial.Dispose();
        return _node.DisposeAsync();
    }

    private async ValueTask ReadPartialAsync(BlockRange range, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        BlockRange blocks = Cover(range);
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)blocks.LengthBytes);
        await _node.ReadAsync(blocks.OffsetBytes, bytes, cancellationToken).ConfigureAwait(false);
        bytes.AsMemory((int)(range.OffsetBytes - blocks.OffsetBytes), buffer.Length).CopyTo(buffer);
    }

    // The whole blocks first, because zeroing may be refused there and must have changed nothing then. Null data is zeros.
    private async ValueTask ChangeAsync(
        BlockRange range, ReadOnlyMemory<byte>? data, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange middle = WholeBlocks(range);
        if (data is { } all && !middle.IsEmpty)
        {
            await _node.WriteAsync(middle.OffsetBytes, Part(all, range, middle), flags, cancellationToken).ConfigureAwait(false);
        }
        else if (!middle.IsEmpty)
        {
            await _node.WriteZeroesAsync(middle.OffsetBytes, middle.LengthBytes, flags, cancellationToken).ConfigureAwait(false);
        }

        BlockRange head = BlockRange.FromEnds(range.OffsetBytes, Math.Min(middle.OffsetBytes, range.EndBytes));
        await ChangePartAsync(range, head, data, flags, cancellationToken).ConfigureAwait(false);
        BlockRange tail = BlockRange.FromEnds(middle.EndBytes, range.EndBytes);
        await ChangePartAsync(range, tail, data, flags, cancellationToken).ConfigureAwait(false);
    }

    private async ValueTask ChangePartAsync(
        BlockRange range, BlockRange part, ReadOnlyMemory<byte>? data, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (part.IsEmpty)
        {
            return;
        }

        BlockRange block = Cover(part);
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)block.LengthBytes);
        Memory<byte> changed = bytes.AsMemory((int)(part.OffsetBytes - block.OffsetBytes), (int)part.LengthBytes);
        await _partial.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await _node.ReadAsync(block.OffsetBytes, bytes, cancellationToken).ConfigureAwait(false);
            if (data is { } all)
            {
                Part(all, range, part).CopyTo(changed);
            }
            else
            {
                changed.Span.Clear();
            }

            await _node.WriteAsync(block.OffsetBytes, bytes, flags, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _partial.Release();
        }
    }

    private static ReadOnlyMemory<byte> Part(ReadOnlyMemory<byte> data, BlockRange range, BlockRange part) =>
        data.Slice((int)(part.OffsetBytes - range.OffsetBytes), (int)part.LengthBytes);

    private bool IsAligned(BlockRange range) => ((range.OffsetBytes | range.LengthBytes) & (_blockBytes - 1)) == 0;

    private BlockRange Cover(BlockRange range) =>
        BlockRange.FromEnds(range.OffsetBytes & -(long)_blockBytes, BlockRange.RoundUp(range.EndBytes, _blockBytes));

    private BlockRange WholeBlocks(BlockRange range) =>
        BlockRange.FromEnds(BlockRange.RoundUp(range.OffsetBytes, _blockBytes), range.EndBytes & -(long)_blockBytes);

    private BlockRange Check(long offsetBytes, long lengthBytes, string operation)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, null, operation);
        return range;
    }
}
