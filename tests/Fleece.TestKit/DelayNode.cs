// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.TestKit;

/// <summary>Makes every operation asynchronous: it gives its thread away at random before and after.</summary>
/// <remarks>No clock is involved. The seed decides how often; in what order operations then meet is up to the thread
/// pool, so a run explores an order rather than repeats one.</remarks>
public sealed class DelayNode(IBlockNode inner, Seeds seeds, int maximumYields = 4) : IBlockNode
{
    private readonly Lock _lock = new();
    private readonly Seeds _seeds = seeds.Fork();

    /// <summary>The node that does the work.</summary>
    public IBlockNode Inner { get; } = inner;

    /// <inheritdoc/>
    public BlockGeometry Geometry => Inner.Geometry;

    /// <inheritdoc/>
    public bool CanReadAhead => Inner.CanReadAhead;

    /// <inheritdoc/>
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        await DelayAsync();
        await Inner.ReadAsync(offsetBytes, buffer, cancellationToken);
        await DelayAsync();
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => Inner.ReadAhead(offsetBytes, lengthBytes);

    /// <inheritdoc/>
    public async ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        await DelayAsync();
        await Inner.WriteAsync(offsetBytes, data, flags, cancellationToken);
        await DelayAsync();
    }

    /// <inheritdoc/>
    public async ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        await DelayAsync();
        await Inner.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
        await DelayAsync();
    }

    /// <inheritdoc/>
    public async ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        await DelayAsync();
        await Inner.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
        await DelayAsync();
    }

    /// <inheritdoc/>
    public async ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        await DelayAsync();
        await Inner.FlushAsync(cancellationToken);
        await DelayAsync();
    }

    /// <inheritdoc/>
    public async ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        await DelayAsync();
        BlockStatusRun run = await Inner.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken);
        await DelayAsync();
        return run;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Inner.DisposeAsync();

    private async ValueTask DelayAsync()
    {
        int yields;
        lock (_lock)
        {
            yields = _seeds.Next(maximumYields + 1);
        }

        for (int i = 0; i < yields; i++)
        {
            await Task.Yield();
        }
    }
}
