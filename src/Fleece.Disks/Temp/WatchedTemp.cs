// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Images.Container;

namespace Fleece.Disks.Temp;

/// <summary>A temp image whose content comes out only while its files are as long as they were, and the system has stored, or has in
/// memory, all that it took for them.</summary>
/// <remarks>
/// Each read and each status is judged when its answer is there and before it is given, so that none is of bytes that were dropped; one
/// that fails is judged too, for an image whose tables were dropped looks damaged. Writes are not judged. Each change is
/// announced before it is made. Ownership. It owns the node and the watches.
/// </remarks>
internal sealed class WatchedTemp : IBlockNode, IAbandonable
{
    private readonly IBlockNode _node;
    private readonly LossWatch[] _watches;

    private WatchedTemp(IBlockNode node, LossWatch[] watches)
    {
        _node = node;
        _watches = watches;
    }

    /// <summary>Hears why the old data can't be read any more, before a request fails with it. Set before the first request.</summary>
    public Action<BlockException>? Lost { get; set; }

    /// <summary>The image's path, for messages.</summary>
    public string Path
    {
        set
        {
            if (_watches is [LossWatch first, ..])
            {
                first.Path = value;
            }
        }
    }

    /// <summary>Hears of each change before it is made. Set before the first request.</summary>
    public IChangeWitness? Witness { get; set; }

    /// <summary>Judges a temp image by watches of its files.</summary>
    /// <param name="node">The temp image.</param>
    /// <param name="watches">Of each of its files.</param>
    public static WatchedTemp Over(IBlockNode node, IReadOnlyList<LossWatch> watches) => new(node, [.. watches]);

    public BlockGeometry Geometry => _node.Geometry;

    public bool CanReadAhead => _node.CanReadAhead;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public async ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        try
        {
            await _node.ReadAsync(offsetBytes, buffer, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ThrowIfLost();
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        try
        {
            return await _node.GetStatusAsync(offsetBytes, lengthBytes, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            ThrowIfLost();
        }
    }

    public void ReadAhead(long offsetBytes, long lengthBytes) => _node.ReadAhead(offsetBytes, lengthBytes);

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Witness?.BeforeChange();
        return _node.WriteAsync(offsetBytes, data, flags, cancellationToken);
    }

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        Witness?.BeforeChange();
        return _node.WriteZeroesAsync(offsetBytes, lengthBytes, flags, cancellationToken);
    }

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Witness?.BeforeChange();
        return _node.DiscardAsync(offsetBytes, lengthBytes, cancellationToken);
    }

    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Witness?.BeforeChange();
        return _node.FlushAsync(cancellationToken);
    }

    /// <summary>Fails where the system has dropped something of a file, or one was cut short.</summary>
    /// <exception cref="BlockException">Why.</exception>
    public void ThrowIfLost()
    {
        if (FindLoss() is { } failure)
        {
            throw failure;
        }
    }

    /// <summary>Why something of a file is lost, after <see cref="Lost"/> has heard of it; null where nothing is.</summary>
    public BlockException? FindLoss()
    {
        foreach (LossWatch watch in _watches)
        {
            if (watch.Find() is { } failure)
            {
                Lost?.Invoke(failure);
                return failure;
            }
        }

        return null;
    }

    public void Abandon() => (_node as IAbandonable)?.Abandon();

    public async ValueTask DisposeAsync()
    {
        foreach (LossWatch watch in _watches)
        {
            watch.Dispose();
        }

        await _node.DisposeAsync().ConfigureAwait(false);
    }
}
