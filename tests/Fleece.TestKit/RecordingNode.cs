// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Fleece.Block;

namespace Fleece.TestKit;

/// <summary>Passes everything on and remembers it: each operation with its order, and the bytes that moved.</summary>
/// <remarks>An operation is remembered when it arrives; its bytes count when it has succeeded.</remarks>
public sealed class RecordingNode(IBlockNode inner) : IBlockNode
{
    private readonly ConcurrentQueue<BlockOperation> _operations = new();
    private readonly ConcurrentQueue<BlockRange> _readAheads = new();
    private long _nextOrder;
    private long _readBytes;
    private long _writtenBytes;
    private long _zeroedBytes;
    private long _discardedBytes;
    private long _flushCount;

    /// <summary>The node that does the work.</summary>
    public IBlockNode Inner { get; } = inner;

    /// <inheritdoc/>
    public BlockGeometry Geometry => Inner.Geometry;

    /// <summary>What has arrived so far, in order.</summary>
    public IReadOnlyList<BlockOperation> Operations => [.. _operations.OrderBy(operation => operation.Order)];

    /// <summary>Bytes that reads have returned.</summary>
    public long ReadBytes => Interlocked.Read(ref _readBytes);

    /// <summary>Bytes that writes have stored, without zeroes.</summary>
    public long WrittenBytes => Interlocked.Read(ref _writtenBytes);

    /// <summary>Bytes that have been zeroed.</summary>
    public long ZeroedBytes => Interlocked.Read(ref _zeroedBytes);

    /// <summary>Bytes that have been discarded.</summary>
    public long DiscardedBytes => Interlocked.Read(ref _discardedBytes);

    /// <summary>Flushes that have succeeded, and writes with <see cref="WriteFlags.ForceUnitAccess"/>.</summary>
    public long FlushCount => Interlocked.Read(ref _flushCount);

    /// <summary>Ranges that were read ahead.</summary>
    public IReadOnlyList<BlockRange> ReadAheads => [.. _readAheads];

    /// <inheritdoc/>
    public bool CanReadAhead => true;

    /// <summary>True once the node has been disposed.</summary>
    public bool IsDisposed { get; private set; }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => _readAheads.Enqueue(new BlockRange(offsetBytes, lengthBytes));

    /// <summary>How many operations of a kind have arrived.</summary>
    public int Count(BlockOperationKind kind) => _operations.Count(operation => operation.Kind == kind);

    /// <summary>Forgets operations and counts; the order goes on.</summary>
    public void Clear()
    {
        _operations.Clear();
        Interlocked.Exchange(ref _readBytes, 0);
        Interlocked.Exchange(ref _writtenBytes, 0);
        Interlocked.Exchange(ref _zeroedBytes, 0);
        Interlocked.Exchange(ref _discardedBytes, 0);
        Interlocked.Exchange(ref _flushCount, 0);
    }

    /// <inheritdoc/>
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Record(BlockOperationKind.Read, offsetBytes, buffer.Length);
        await Inner.ReadAsync(offsetBytes, buffer, cancellationToken);
        Interlocked.Add(ref _readBytes, buffer.Length);
    }

    /// <inheritdoc/>
    public async ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Record(BlockOperationKind.Write, offsetBytes, data.Length, flags);
        await Inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
        Interlocked.Add(ref _writtenBytes, data.Length);
        CountForced(flags);
    }

    /// <inheritdoc/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        Record(BlockOperationKind.WriteZeroes, offsetBytes, lengthBytes, flags);
        await Inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
        Interlocked.Add(ref _zeroedBytes, lengthBytes);
        CountForced(flags);
    }

    /// <inheritdoc/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Record(BlockOperationKind.Discard, offsetBytes, lengthBytes);
        await Inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
        Interlocked.Add(ref _discardedBytes, lengthBytes);
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Record(BlockOperationKind.Flush, 0, 0);
        await Inner.FlushAsync(cancellationToken);
        Interlocked.Increment(ref _flushCount);
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Record(BlockOperationKind.Status, offsetBytes, lengthBytes);
        return Inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        IsDisposed = true;
        return Inner.DisposeAsync();
    }

    private void Record(
        BlockOperationKind kind, long offsetBytes, long lengthBytes, WriteFlags flags = WriteFlags.None)
    {
        long order = Interlocked.Increment(ref _nextOrder) - 1;
        _operations.Enqueue(new BlockOperation(order, kind, offsetBytes, lengthBytes, flags));
    }

    private void CountForced(WriteFlags flags)
    {
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            Interlocked.Increment(ref _flushCount);
        }
    }
}
