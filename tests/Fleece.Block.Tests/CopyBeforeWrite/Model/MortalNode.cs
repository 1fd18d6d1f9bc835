// SPDX-License-Identifier: MIT
namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>A file as a process sees it that may be killed: writes and discards end at any sector then.</summary>
internal sealed class MortalNode(IBlockNode inner, Func<Life> life) : IBlockNode
{
    private const int SectorBytes = 512;

    public BlockGeometry Geometry => inner.Geometry;

    public bool CanReadAhead => inner.CanReadAhead;

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        life().ThrowIfOver();
        return inner.ReadAsync(offsetBytes, buffer, cancellationToken);
    }

    public void ReadAhead(long offsetBytes, long lengthBytes) => inner.ReadAhead(offsetBytes, lengthBytes);

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Life now = life();
        for (int at = 0; at < data.Length;)
        {
            int length = Math.Min(PieceBytes(now, data.Length - at), data.Length - at);
            now.Change(() => inner.WriteAsync(offsetBytes + at, data.Slice(at, length), flags, cancellationToken).AsTask().Wait());
            at += length;
        }

        return default;
    }

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        life().Change(() => inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken).AsTask().Wait());
        return default;
    }

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        life().Change(() => inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken).AsTask().Wait());
        return default;
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        life().ThrowIfOver();
        return inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    public ValueTask DisposeAsync() => inner.DisposeAsync();

    // Small enough that a kill tears the request, and large enough that long ones take few steps.
    private static int PieceBytes(Life life, int lengthBytes)
    {
        life.ThrowIfOver();
        return Math.Max(SectorBytes, lengthBytes / 4 / SectorBytes * SectorBytes);
    }
}
