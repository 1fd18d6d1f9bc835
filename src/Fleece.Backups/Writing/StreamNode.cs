// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Backups.Writing;

/// <summary>A disk that is written once, from its start to its end.</summary>
/// <remarks>Threading. One caller at a time.</remarks>
internal sealed class StreamNode(Stream stream, long sizeBytes) : IBlockNode
{
    private static readonly byte[] Zeroes = new byte[256 * 1024];

    private long _atBytes;

    public BlockGeometry Geometry => new(sizeBytes);

    public bool CanReadAhead => false;

    public async ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        if (offsetBytes < _atBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"A stream takes a disk in order, and {data.Length} bytes of offset {offsetBytes} came behind offset {_atBytes}. Send " +
                "the chunks as Read-FleeceSnapshot reads them, or name a file.",
                offsetBytes: offsetBytes);
        }

        await FillToAsync(offsetBytes, cancellationToken).ConfigureAwait(false);
        await SendAsync(data, cancellationToken).ConfigureAwait(false);
    }

    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        FillToAsync(offsetBytes + lengthBytes, cancellationToken);

    /// <summary>Sends zeros up to an offset.</summary>
    public async ValueTask FillToAsync(long offsetBytes, CancellationToken cancellationToken)
    {
        while (_atBytes < offsetBytes)
        {
            int pieceBytes = (int)Math.Min(Zeroes.Length, offsetBytes - _atBytes);
            await SendAsync(Zeroes.AsMemory(0, pieceBytes), cancellationToken).ConfigureAwait(false);
        }
    }

    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        try
        {
            await stream.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or NotSupportedException)
        {
            throw Failed(e);
        }
    }

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) => throw OnlyWrites();

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) => throw OnlyWrites();

    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        throw OnlyWrites();

    public ValueTask DisposeAsync() => default;

    private async ValueTask SendAsync(ReadOnlyMemory<byte> data, CancellationToken cancellationToken)
    {
        try
        {
            await stream.WriteAsync(data, cancellationToken).ConfigureAwait(false);
            _atBytes += data.Length;
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or NotSupportedException)
        {
            throw Failed(e);
        }
    }

    private BlockException Failed(Exception cause) => new(
        BlockErrors.IoFailed,
        $"The stream failed at offset {_atBytes}: {cause.Message}",
        offsetBytes: _atBytes,
        operation: "write",
        cause: cause);

    private static BlockException OnlyWrites() => new(BlockErrors.Unsupported, "A stream is only written to.");
}
