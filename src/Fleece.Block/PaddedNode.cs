// SPDX-License-Identifier: MIT
namespace Fleece.Block;

/// <summary>A disk of whole sectors over a node that ends within its last one: the bytes behind that end read as zeros.</summary>
/// <remarks>
/// <para>They can't be stored, so a write that has anything but zeros for them fails with <see cref="BlockErrors.NoSpace"/>
/// and changes nothing. Zeroing and discarding them succeeds.</para>
/// <para>Their status is that of the node's last byte where that one is data, so that runs end on sectors.</para>
/// <para>Ownership. It owns the node.</para>
/// </remarks>
internal sealed class PaddedNode : IBlockNode
{
    private readonly IBlockNode _node;
    private readonly string _name;

    private PaddedNode(IBlockNode node, string name, int sectorBytes)
    {
        _node = node;
        _name = name;
        StoredBytes = node.Geometry.LengthBytes;
        Geometry = node.Geometry with { LengthBytes = BlockRange.RoundUp(StoredBytes, sectorBytes) };
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <summary>The node's own length.</summary>
    public long StoredBytes { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => _node.CanReadAhead;

    /// <summary>Pads a node; one of whole sectors stays as it is.</summary>
    /// <param name="node">The node, whose alignment is at most a sector where it does not end on one.</param>
    /// <param name="name">What messages call it.</param>
    /// <param name="sectorBytes">The unit of the disk's length, a power of two.</param>
    public static IBlockNode Over(IBlockNode node, string name, int sectorBytes)
    {
        ArgumentNullException.ThrowIfNull(node);
        return node.Geometry.LengthBytes % sectorBytes == 0 ? node : new PaddedNode(node, name, sectorBytes);
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        BlockRange stored = Stored(offsetBytes, buffer.Length, "read");
        buffer.Span[(int)stored.LengthBytes..].Clear();
        return _node.ReadAsync(stored.OffsetBytes, buffer[..(int)stored.LengthBytes], cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange stored = Stored(offsetBytes, data.Length, "write");
        int storedBytes = (int)stored.LengthBytes;
        int zeroBytes = data.Span[storedBytes..].IndexOfAnyExcept((byte)0);
        if (zeroBytes >= 0)
        {
            long lostBytes = offsetBytes + storedBytes + zeroBytes;
            throw new BlockException(
                BlockErrors.NoSpace,
                $"'{_name}' ends at {StoredBytes} bytes, and the write has data for offset {lostBytes}, which is in the disk's last " +
                "sector and has no storage. Only zeros can be written there: make the storage longer.",
                _name,
                lostBytes,
                "write");
        }

        return _node.WriteAsync(stored.OffsetBytes, data[..storedBytes], flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange stored = Stored(offsetBytes, lengthBytes, "write zeros to");
        return _node.WriteZeroesAsync(stored.OffsetBytes, stored.LengthBytes, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange stored = Stored(offsetBytes, lengthBytes, "discard");
        return _node.DiscardAsync(stored.OffsetBytes, stored.LengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => _node.FlushAsync(cancellationToken);

    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange stored = Stored(offsetBytes, lengthBytes, "query");
        if (stored.IsEmpty)
        {
            return new BlockStatusRun(BlockStatus.Unallocated, lengthBytes);
        }

        BlockStatusRun run = await _node.GetStatusAsync(stored.OffsetBytes, stored.LengthBytes, cancellationToken).ConfigureAwait(false);
        return run.LengthBytes == stored.LengthBytes ? run with { LengthBytes = lengthBytes } : run;
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
        BlockRange stored = Stored(offsetBytes, lengthBytes, "read");
        _node.ReadAhead(stored.OffsetBytes, stored.LengthBytes);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => _node.DisposeAsync();

    // The part of a request that the node has; both ends of a request are aligned, and so is the node's.
    private BlockRange Stored(long offsetBytes, long lengthBytes, string operation)
    {
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, _name, operation);
        range.CheckAlignment(Geometry.RequestAlignmentBytes, _name, operation);
        return BlockRange.FromEnds(Math.Min(offsetBytes, StoredBytes), Math.Min(range.EndBytes, StoredBytes));
    }
}
