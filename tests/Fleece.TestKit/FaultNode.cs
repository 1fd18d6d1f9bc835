// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.TestKit;

/// <summary>Fails the operations a test names and passes the others on.</summary>
/// <remarks>
/// A fault replaces the operation: nothing of it reaches the node below, except for a torn write, of which the first
/// half does. Faults may be added and cleared while operations run. Disposing never fails.
/// </remarks>
public sealed class FaultNode(IBlockNode inner) : IBlockNode
{
    private readonly Lock _lock = new();
    private readonly List<Fault> _faults = [];
    private long _nextOrder;
    private long _faultCount;

    /// <summary>The node that does the work.</summary>
    public IBlockNode Inner { get; } = inner;

    /// <inheritdoc/>
    public BlockGeometry Geometry => Inner.Geometry;

    /// <inheritdoc/>
    public bool CanReadAhead => Inner.CanReadAhead;

    /// <summary>Operations that have arrived, whether they failed or not; the order of the next one.</summary>
    public long OperationCount => Interlocked.Read(ref _nextOrder);

    /// <summary>Operations that were made to fail.</summary>
    public long FaultCount => Interlocked.Read(ref _faultCount);

    /// <summary>Fails every operation that the predicate picks.</summary>
    /// <param name="predicate">Runs under a lock, once for each operation, in their order.</param>
    /// <param name="kind">What the failure says.</param>
    /// <param name="isTorn">True to let the first half of a failing write through.</param>
    public FaultNode FailWhen(
        Func<BlockOperation, bool> predicate, string kind = BlockErrors.IoFailed, bool isTorn = false)
    {
        lock (_lock)
        {
            _faults.Add(new Fault(predicate, kind, isTorn));
        }

        return this;
    }

    /// <summary>Fails one operation: the one with that order, counted from 0 over all kinds.</summary>
    public FaultNode FailAt(long order, string kind = BlockErrors.IoFailed, bool isTorn = false) =>
        FailWhen(operation => operation.Order == order, kind, isTorn);

    /// <summary>Fails one operation: the nth of its kind from now on, counted from 1.</summary>
    public FaultNode FailNth(
        BlockOperationKind operationKind, int nth, string kind = BlockErrors.IoFailed, bool isTorn = false)
    {
        int seen = 0;
        return FailWhen(operation => operation.Kind == operationKind && ++seen == nth, kind, isTorn);
    }

    /// <summary>Fails operations of the kinds given, or of all, at random; the seed makes it repeatable.</summary>
    /// <param name="seeds">Where the chances come from.</param>
    /// <param name="percent">Chance of each operation to fail, 0 to 100.</param>
    /// <param name="kind">What the failures say.</param>
    /// <param name="operationKinds">The kinds that may fail; none means all.</param>
    public FaultNode FailRandomly(
        Seeds seeds,
        int percent,
        string kind = BlockErrors.IoFailed,
        params BlockOperationKind[] operationKinds)
    {
        Seeds own = seeds.Fork();
        return FailWhen(
            operation => (operationKinds.Length == 0 || operationKinds.Contains(operation.Kind)) && own.Chance(percent),
            kind);
    }

    /// <summary>Takes all faults away.</summary>
    public void Clear()
    {
        lock (_lock)
        {
            _faults.Clear();
        }
    }

    /// <inheritdoc/>
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        ThrowIfFaulty(BlockOperationKind.Read, offsetBytes, buffer.Length);
        await Inner.ReadAsync(offsetBytes, buffer, cancellationToken);
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => Inner.ReadAhead(offsetBytes, lengthBytes);

    /// <inheritdoc/>
    public async ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockOperation operation = Next(BlockOperationKind.Write, offsetBytes, data.Length, flags);
        if (Find(operation) is Fault fault)
        {
            if (fault.IsTorn)
            {
                int alignmentBytes = Geometry.RequestAlignmentBytes;
                int halfBytes = data.Length / 2 / alignmentBytes * alignmentBytes;
                await Inner.WriteAsync(offsetBytes, data[..halfBytes], flags, cancellationToken);
            }

            throw Failure(fault, operation);
        }

        await Inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        ThrowIfFaulty(BlockOperationKind.WriteZeroes, offsetBytes, lengthBytes, flags);
        await Inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        ThrowIfFaulty(BlockOperationKind.Discard, offsetBytes, lengthBytes);
        await Inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        ThrowIfFaulty(BlockOperationKind.Flush, 0, 0);
        await Inner.FlushAsync(cancellationToken);
    }

    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        ThrowIfFaulty(BlockOperationKind.Status, offsetBytes, lengthBytes);
        return await Inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Inner.DisposeAsync();

    private BlockOperation Next(BlockOperationKind kind, long offsetBytes, long lengthBytes, WriteFlags flags) =>
        new(Interlocked.Increment(ref _nextOrder) - 1, kind, offsetBytes, lengthBytes, flags);

    private Fault? Find(BlockOperation operation)
    {
        lock (_lock)
        {
            // Every predicate sees every operation, so that those that count stay right whatever fails first.
            Fault? first = null;
            foreach (Fault fault in _faults)
            {
                if (fault.Predicate(operation))
                {
                    first ??= fault;
                }
            }

            return first;
        }
    }

    private void ThrowIfFaulty(
        BlockOperationKind kind, long offsetBytes, long lengthBytes, WriteFlags flags = WriteFlags.None)
    {
        BlockOperation operation = Next(kind, offsetBytes, lengthBytes, flags);
        if (Find(operation) is Fault fault)
        {
            throw Failure(fault, operation);
        }
    }

    private BlockException Failure(Fault fault, BlockOperation operation)
    {
        Interlocked.Increment(ref _faultCount);
        return new BlockException(
            fault.Kind, $"A test made {operation} fail.", null, operation.OffsetBytes, operation.Kind.ToString());
    }

    private sealed record Fault(Func<BlockOperation, bool> Predicate, string Kind, bool IsTorn);
}
