// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.TestKit;

/// <summary>Keeps the operations a test names in flight, on no thread, until the test lets them go.</summary>
/// <remarks>
/// A hold stops an operation either before it reaches the node below or after it has run there and before its caller
/// hears of it. Operations that no hold picks pass through. A held operation whose token is cancelled ends with
/// <see cref="OperationCanceledException"/>. Disposing does not wait for holds.
/// </remarks>
public sealed class HoldNode(IBlockNode inner) : IBlockNode
{
    private readonly Lock _lock = new();
    private readonly List<Hold> _waitingHolds = [];
    private long _nextOrder;

    /// <summary>The node that does the work.</summary>
    public IBlockNode Inner { get; } = inner;

    /// <inheritdoc/>
    public BlockGeometry Geometry => Inner.Geometry;

    /// <inheritdoc/>
    public bool CanReadAhead => Inner.CanReadAhead;

    /// <summary>Holds the next operation that the predicate picks, before it runs; one hold, one operation.</summary>
    /// <param name="predicate">Runs under a lock; null picks any operation.</param>
    public Hold HoldNext(Func<BlockOperation, bool>? predicate = null) => Add(predicate, isAfter: false);

    /// <summary>Holds the next operation of a kind before it runs.</summary>
    public Hold HoldNext(BlockOperationKind kind) => HoldNext(operation => operation.Kind == kind);

    /// <summary>Lets the next operation that the predicate picks run, then keeps its caller waiting.</summary>
    /// <inheritdoc cref="HoldNext(Func{BlockOperation, bool}?)"/>
    public Hold HoldNextAfter(Func<BlockOperation, bool>? predicate = null) => Add(predicate, isAfter: true);

    /// <summary>Lets the next operation of a kind run, then keeps its caller waiting.</summary>
    public Hold HoldNextAfter(BlockOperationKind kind) => HoldNextAfter(operation => operation.Kind == kind);

    /// <inheritdoc/>
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Hold? hold = Take(BlockOperationKind.Read, offsetBytes, buffer.Length);
        await Hold.BeforeAsync(hold, cancellationToken);
        await Inner.ReadAsync(offsetBytes, buffer, cancellationToken);
        await Hold.AfterAsync(hold, cancellationToken);
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => Inner.ReadAhead(offsetBytes, lengthBytes);

    /// <inheritdoc/>
    public async ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Hold? hold = Take(BlockOperationKind.Write, offsetBytes, data.Length, flags);
        await Hold.BeforeAsync(hold, cancellationToken);
        await Inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
        await Hold.AfterAsync(hold, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        Hold? hold = Take(BlockOperationKind.WriteZeroes, offsetBytes, lengthBytes, flags);
        await Hold.BeforeAsync(hold, cancellationToken);
        await Inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
        await Hold.AfterAsync(hold, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Hold? hold = Take(BlockOperationKind.Discard, offsetBytes, lengthBytes);
        await Hold.BeforeAsync(hold, cancellationToken);
        await Inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
        await Hold.AfterAsync(hold, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Hold? hold = Take(BlockOperationKind.Flush, 0, 0);
        await Hold.BeforeAsync(hold, cancellationToken);
        await Inner.FlushAsync(cancellationToken);
        await Hold.AfterAsync(hold, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Hold? hold = Take(BlockOperationKind.Status, offsetBytes, lengthBytes);
        await Hold.BeforeAsync(hold, cancellationToken);
        BlockStatusRun run = await Inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);
        await Hold.AfterAsync(hold, cancellationToken);
        return run;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Inner.DisposeAsync();

    private Hold Add(Func<BlockOperation, bool>? predicate, bool isAfter)
    {
        Hold hold = new(predicate ?? (static _ => true), isAfter);
        lock (_lock)
        {
            _waitingHolds.Add(hold);
        }

        return hold;
    }

    private Hold? Take(
        BlockOperationKind kind, long offsetBytes, long lengthBytes, WriteFlags flags = WriteFlags.None)
    {
        BlockOperation operation = new(
            Interlocked.Increment(ref _nextOrder) - 1, kind, offsetBytes, lengthBytes, flags);
        lock (_lock)
        {
            int index = _waitingHolds.FindIndex(hold => hold.Picks(operation));
            if (index < 0)
            {
                return null;
            }

            Hold taken = _waitingHolds[index];
            _waitingHolds.RemoveAt(index);
            return taken;
        }
    }
}
