// SPDX-License-Identifier: MIT
namespace Fleece.Block.DirtyBitmaps;

/// <summary>The top of a disk's chain: every write, zero and discard is marked in the recording bitmaps before it goes on.</summary>
/// <remarks>
/// <para>A change of what is marked already costs a test for each bitmap, without a lock and without an allocation. A change that fails
/// leaves its marks, which is harmless: they say that something may have changed.</para>
/// <para><see cref="Below"/> and <see cref="Recording"/> change only while the disk is quiesced (R6). So everything that completed before
/// such an instant is in the bitmaps that recorded before it, and everything later in those that record after it.</para>
/// <para>Ownership. Disposing the node does nothing: the disk owns the image.</para>
/// </remarks>
internal sealed class DirtyTrackingNode : IBlockNode
{
    private readonly IChangeWitness? _witness;
    private IBlockNode _below;
    private DirtyBitmap[] _recording = [];

    /// <summary>Makes the node over an image.</summary>
    /// <param name="below">The next node.</param>
    /// <param name="witness">Hears of every change and of flushes; may be null.</param>
    public DirtyTrackingNode(IBlockNode below, IChangeWitness? witness = null)
    {
        ArgumentNullException.ThrowIfNull(below);
        _below = below;
        _witness = witness;
        Geometry = below.Geometry;
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <summary>The next node: the filter of the newest session, or the image. Set only while quiesced.</summary>
    public IBlockNode Below
    {
        get => Volatile.Read(ref _below);
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            Invariant.Require(value.Geometry == Geometry, "R6", "a chain keeps its geometry when a filter comes or goes");
            Volatile.Write(ref _below, value);
        }
    }

    /// <summary>The bitmaps that record. Set only while quiesced, so that all of them change at one instant.</summary>
    public IReadOnlyList<DirtyBitmap> Recording
    {
        get => Volatile.Read(ref _recording);
        set => Volatile.Write(ref _recording, [.. value]);
    }

    /// <inheritdoc/>
    public bool CanReadAhead => Below.CanReadAhead;

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => Below.ReadAhead(offsetBytes, lengthBytes);

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        Below.ReadAsync(offsetBytes, buffer, cancellationToken);

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Mark(offsetBytes, data.Length);
        return Below.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        Mark(offsetBytes, lengthBytes);
        return Below.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Mark(offsetBytes, lengthBytes);
        return Below.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    /// <remarks>A format may write what it had kept back, so the image changes.</remarks>
    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        _witness?.BeforeChange();
        return Below.FlushAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        Below.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => default;

    private void Mark(long offsetBytes, long lengthBytes)
    {
        DirtyBitmap[] recording = Volatile.Read(ref _recording);
        if (recording.Length == 0)
        {
            _witness?.BeforeChange();
            return;
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(Geometry.LengthBytes, null, "change");
        if (Geometry.IsReadOnly)
        {
            return;
        }

        foreach (DirtyBitmap bitmap in recording)
        {
            bitmap.Mark(offsetBytes, lengthBytes);
        }

        _witness?.BeforeChange();
    }
}
