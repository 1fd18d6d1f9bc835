// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd;

namespace Fleece.Hosting.Client;

/// <summary>A disk or a snapshot on a host's private socket, whose loss of the connection is told as what it means for the disk.</summary>
/// <param name="inner">The export, which the node owns.</param>
/// <param name="explain">Asks the host why the connection has ended.</param>
internal sealed class HostNode(BlockDevice inner, Func<BlockException, ValueTask<BlockException>> explain) : IBlockNode
{
    /// <inheritdoc/>
    public BlockGeometry Geometry => inner.Geometry;

    /// <inheritdoc/>
    public bool CanReadAhead => inner.CanReadAhead;

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken) =>
        ExplainAsync(inner.ReadAsync(offsetBytes, buffer, cancellationToken));

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => inner.ReadAhead(offsetBytes, lengthBytes);

    /// <inheritdoc/>
    public ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) =>
        ExplainAsync(inner.WriteAsync(offsetBytes, data, flags, cancellationToken));

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) =>
        ExplainAsync(inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken));

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) =>
        ExplainAsync(inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken));

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken) => ExplainAsync(inner.FlushAsync(cancellationToken));

    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        try
        {
            return await inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        }
        catch (BlockException loss) when (IsLoss(loss))
        {
            throw await explain(loss).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => inner.DisposeAsync();

    /// <summary>True for an error that says no more than that the connection has ended.</summary>
    internal static bool IsLoss(BlockException e) => e.Kind == NbdErrors.ConnectionLost;

    private ValueTask ExplainAsync(ValueTask request) => request.IsCompletedSuccessfully ? default : ExplainLaterAsync(request);

    [System.Runtime.CompilerServices.AsyncMethodBuilder(
        typeof(System.Runtime.CompilerServices.PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask ExplainLaterAsync(ValueTask request)
    {
        try
        {
            await request.ConfigureAwait(false);
        }
        catch (BlockException loss) when (IsLoss(loss))
        {
            throw await explain(loss).ConfigureAwait(false);
        }
    }
}
