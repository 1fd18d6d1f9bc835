// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;

namespace Fleece.Images.Chain;

/// <summary>An image as a block node and as the parent of another: what is the same in each format that Fleece reads itself.</summary>
/// <remarks>
/// <para>A request of a block device is judged here; those of a child come from requests that have been.</para>
/// <para>Threading. Requests from any thread; reads and queries complete on the calling thread.</para>
/// <para>Ownership. The node owns the file and the parent.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="format">Its format.</param>
/// <param name="sizeBytes">Size of its disk.</param>
/// <param name="parent">The parent; null without one.</param>
/// <param name="mostRunsPerStatus">Runs that one query looks at; the caller asks again from where the answer ended.</param>
internal abstract class FormatNode(
    IContainerFile file, ImageFormat format, long sizeBytes, ParentImage? parent, int mostRunsPerStatus)
    : IBlockNode, IImageLayer, IAbandonable
{
    private bool _isClosed;

    public BlockGeometry Geometry { get; } = new(sizeBytes, IsReadOnly: file.IsReadOnly);

    public bool CanReadAhead => LocalFile.CanReadAhead;

    string IImageLayer.Path => file.Path;

    ImageFormat IImageLayer.Format => format;

    long IImageLayer.LengthBytes => sizeBytes;

    IImageLayer? IImageLayer.Parent => parent?.Layer;

    /// <summary>Has the first failure after which nothing is changed any more; null where no failure forbids that.</summary>
    protected Poison? Poison { get; init; }

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        Read(offsetBytes, buffer.Span);
        return default;
    }

    public abstract void Read(long offsetBytes, Span<byte> buffer);

    public abstract void ReadAhead(long offsetBytes, long lengthBytes);

    public abstract ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken);

    public abstract ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken);

    public abstract ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken);

    public abstract ValueTask FlushAsync(CancellationToken cancellationToken);

    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return new ValueTask<BlockStatusRun>(GetStatus(offsetBytes, lengthBytes));
    }

    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes)
    {
        BlockStatus status = BlockStatus.Unallocated;
        long doneBytes = 0;
        for (int runs = 0; doneBytes < lengthBytes && runs < mostRunsPerStatus; runs++)
        {
            BlockStatusRun next = GetRun(offsetBytes + doneBytes, lengthBytes - doneBytes);
            if (doneBytes != 0 && next.Status != status)
            {
                break;
            }

            status = next.Status;
            doneBytes += next.LengthBytes;
        }

        return new BlockStatusRun(status, doneBytes);
    }

    public abstract DepthRun GetDepth(long offsetBytes, long lengthBytes);

    public void Abandon() =>
        Poison?.Set(new BlockException(BlockErrors.Closed, $"'{file.Path}' has been given up.", file.Path));

    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    public void Dispose()
    {
        if (_isClosed)
        {
            return;
        }

        _isClosed = true;
        try
        {
            Close();
        }
        finally
        {
            file.Dispose();
            parent?.Dispose();
        }
    }

    /// <summary>The status at an offset, as far as one look at the tables tells it.</summary>
    protected abstract BlockStatusRun GetRun(long offsetBytes, long lengthBytes);

    /// <summary>Stores what is in memory only, and gives up what the format owns besides the file and the parent. Once.</summary>
    protected abstract void Close();

    /// <summary>Judges a request that changes the image.</summary>
    /// <exception cref="BlockException">Closed, InvalidRange, ReadOnly; the failure after which nothing is changed any more.</exception>
    protected void CheckChange(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, operation, cancellationToken);
        if (file.IsReadOnly)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"Cannot {operation} '{file.Path}': it is open read-only. Open it for writing first.",
                file.Path,
                offsetBytes,
                operation);
        }

        Poison?.ThrowIfSet();
    }

    /// <summary>Judges a request.</summary>
    /// <exception cref="BlockException">Closed, InvalidRange.</exception>
    protected void Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_isClosed)
        {
            throw new BlockException(
                BlockErrors.Closed, $"'{file.Path}' has been closed and takes no more requests.", file.Path);
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(sizeBytes, file.Path, operation);
    }
}
