// SPDX-License-Identifier: MIT
using System.Runtime.CompilerServices;
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Images.Container;

namespace Fleece.Disks.Temp;

/// <summary>A temp image whose content comes out only while the system has stored, or has in memory, all that it took for it.</summary>
/// <remarks>
/// Each read and each status is judged when its answer is there and before it is given, so that none is of bytes that were dropped; one
/// that fails is judged too, for an image whose tables were dropped looks damaged. Writes are not judged. Each change is
/// announced before it is made. Ownership. It owns the node and the watches.
/// </remarks>
internal sealed class WatchedTemp : IBlockNode, IAbandonable
{
    private readonly IBlockNode _node;
    private readonly WriteBackWatch[] _watches;

    private WatchedTemp(IBlockNode node, WriteBackWatch[] watches)
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
            if (_watches is [WriteBackWatch first, ..])
            {
                first.Path = value;
            }
        }
    }

    /// <summary>Hears of each change before it is made. Set before the first request.</summary>
    public IChangeWitness? Witness { get; set; }

    /// <summary>Watches the files of a temp image, where the system tells.</summary>
    /// <param name="node">The temp image. It stays the caller's when this throws.</param>
    /// <param name="paths">Its files.</param>
    public static WatchedTemp Over(IBlockNode node, IReadOnlyList<string> paths)
    {
        List<WriteBackWatch> watches = [];
        try
        {
            foreach (string path in paths)
            {
                if (WriteBackWatch.Open(path) is not { } watch)
                {
                    break;
                }

                watches.Add(watch);
            }
        }
        catch
        {
            watches.ForEach(watch => watch.Dispose());
            throw;
        }

        return new WatchedTemp(node, [.. watches]);
    }

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

    /// <summary>Fails where the system has dropped something of the file.</summary>
    /// <exception cref="BlockException">The error of the system.</exception>
    public void ThrowIfLost()
    {
        if (FindLoss() is { } failure)
        {
            throw failure;
        }
    }

    /// <summary>Why the system has dropped something of the file, after <see cref="Lost"/> has heard of it; null where it has not.
    /// </summary>
    public BlockException? FindLoss()
    {
        foreach (WriteBackWatch watch in _watches)
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
        foreach (WriteBackWatch watch in _watches)
        {
            watch.Dispose();
        }

        await _node.DisposeAsync().ConfigureAwait(false);
    }
}
