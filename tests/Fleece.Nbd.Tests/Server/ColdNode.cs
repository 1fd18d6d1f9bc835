// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Puts a reader to sleep unless what it reads has been started.</summary>
/// <param name="lengthBytes">Size of the disk.</param>
/// <param name="mostSleeps">After so many it is as quick as memory.</param>
internal sealed class ColdNode(long lengthBytes, int mostSleeps = int.MaxValue) : IBlockNode, IReadAhead
{
    private readonly MemoryNode _inner = new(lengthBytes);
    private readonly HashSet<long> _started = [];
    private long _aheadBytes;

    public int StartedCount { get; private set; }

    public int SleptCount { get; private set; }

    public long MostAheadBytes { get; private set; }

    public bool CanReadAhead => true;

    public BlockGeometry Geometry => _inner.Geometry;

    public void ReadAhead(long offsetBytes, long aheadBytes)
    {
        new BlockRange(offsetBytes, aheadBytes).CheckWithin(Geometry.LengthBytes, null, "read ahead");
        StartedCount++;
        _started.Add(offsetBytes);
        _aheadBytes += aheadBytes;
        MostAheadBytes = Math.Max(MostAheadBytes, _aheadBytes);
    }

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        if (_started.Remove(offsetBytes))
        {
            _aheadBytes -= buffer.Length;
        }
        else if (SleptCount < mostSleeps)
        {
            SleptCount++;
            Thread.Sleep(2);
        }

        return _inner.ReadAsync(offsetBytes, buffer, cancellationToken);
    }

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) =>
        _inner.WriteAsync(offsetBytes, data, flags, cancellationToken);

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        _inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        _inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);

    public ValueTask FlushAsync(CancellationToken cancellationToken) => _inner.FlushAsync(cancellationToken);

    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        _inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);

    public ValueTask DisposeAsync() => _inner.DisposeAsync();
}
