// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Keeps its caller's thread for a moment on every read and write, as a disk does, and counts how many it has at once.</summary>
internal sealed class SlowNode(IBlockNode inner) : IBlockNode
{
    private readonly Lock _lock = new();
    private int _atOnce;

    public int MostAtOnce { get; private set; }

    public BlockGeometry Geometry => inner.Geometry;

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Block();
        return inner.ReadAsync(offsetBytes, buffer, cancellationToken);
    }

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Block();
        return inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);

    public ValueTask FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    private void Block()
    {
        lock (_lock)
        {
            MostAtOnce = Math.Max(MostAtOnce, ++_atOnce);
        }

        Thread.Sleep(2);
        lock (_lock)
        {
            _atOnce--;
        }
    }
}
