// SPDX-License-Identifier: MIT
namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>Remembers which granules a temp image was given and has not given back (I7).</summary>
internal sealed class StoredNode(IBlockNode inner, int granuleSizeBytes) : IBlockNode
{
    private readonly bool[] _stored = new bool[inner.Geometry.LengthBytes / granuleSizeBytes + 1];

    public BlockGeometry Geometry => inner.Geometry;

    public bool CanReadAhead => inner.CanReadAhead;

    /// <summary>True when bytes of the granule may take space.</summary>
    public bool Holds(long granule) => Volatile.Read(ref _stored[granule]);

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        inner.ReadAsync(offsetBytes, buffer, cancellationToken);

    public void ReadAhead(long offsetBytes, long lengthBytes) => inner.ReadAhead(offsetBytes, lengthBytes);

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Mark(offsetBytes, data.Length, true);
        return inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);

    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        await inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
        Mark(offsetBytes, lengthBytes, false);
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private void Mark(long offsetBytes, long lengthBytes, bool stored)
    {
        long endBytes = offsetBytes + lengthBytes;
        for (long at = offsetBytes / granuleSizeBytes; at * granuleSizeBytes < endBytes; at++)
        {
            Volatile.Write(ref _stored[at], stored);
        }
    }
}
