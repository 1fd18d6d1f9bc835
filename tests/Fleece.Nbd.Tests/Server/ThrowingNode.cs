// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Throws the same from every operation, on the caller's thread.</summary>
internal sealed class ThrowingNode(Exception failure) : IBlockNode
{
    public BlockGeometry Geometry { get; } = new(1024 * 1024);

    public bool CanReadAhead => false;

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) => throw failure;

    public void ReadAhead(long offsetBytes, long lengthBytes) => throw failure;

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) => throw failure;

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) => throw failure;

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) => throw failure;

    public ValueTask FlushAsync(CancellationToken cancellationToken) => throw failure;

    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken) => throw failure;

    public ValueTask DisposeAsync() => default;
}
