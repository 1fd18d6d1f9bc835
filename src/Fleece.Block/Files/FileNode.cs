// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>A local file as a disk: byte n of the disk is byte n of the file, holes are unallocated.</summary>
/// <remarks>
/// <para>Every operation completes, or throws, on the calling thread. The length is fixed when the file is opened; a
/// file that something else shortens afterwards fails its reads with <see cref="BlockErrorKind.Truncated"/>.</para>
/// <para>Zeroing punches holes where the file system can and writes zeros elsewhere, and on macOS. Discarding frees
/// whole 4 KiB blocks where the file system can and keeps the content elsewhere.</para>
/// <para>Durability. Writing with <see cref="WriteFlags.ForceUnitAccess"/> flushes the whole file. After a flush
/// failed, every later one fails too, because the system may have dropped the writes it could not store.</para>
/// <para>Ownership. The node owns its file; <see cref="LocalFile"/> says whom that locks out.</para>
/// </remarks>
public sealed class FileNode : IBlockNode, IReadAhead
{
    private readonly LocalFile _file;
    private readonly DataExtentCache _cache = new();

    private FileNode(LocalFile file, long lengthBytes)
    {
        _file = file;
        Geometry = new BlockGeometry(lengthBytes, IsReadOnly: file.IsReadOnly);
    }

    /// <summary>The full path of the file.</summary>
    public string Path => _file.Path;

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => LocalFile.CanReadAhead;

    /// <summary>Opens a regular file that exists; its present length becomes the disk's.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isReadOnly">Refuses changes, and lets others read; otherwise nobody else may open it.</param>
    /// <exception cref="BlockException">Those of <see cref="LocalFile.Open"/>.</exception>
    public static FileNode Open(string path, bool isReadOnly)
    {
        LocalFile file = LocalFile.Open(path, isReadOnly);
        try
        {
            return Over(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Makes a node of a file that is open already; on success the node owns it.</summary>
    public static FileNode Over(LocalFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        return new FileNode(file, file.LengthBytes);
    }

    /// <summary>Creates a sparse file that reads as zeros. A failure leaves nothing behind.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="lengthBytes">Size of the disk, 0 or more.</param>
    /// <param name="deleteOnDispose">True for a file that ends with the node and that only its owner may read.</param>
    /// <exception cref="BlockException">Those of <see cref="LocalFile.Create"/>.</exception>
    public static FileNode Create(string path, long lengthBytes, bool deleteOnDispose = false) =>
        new(LocalFile.Create(path, lengthBytes, deleteOnDispose), lengthBytes);

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        _file.Read(offsetBytes, buffer.Span);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        Check(offsetBytes, data.Length, "write", cancellationToken);
        _file.Write(offsetBytes, data.Span);
        FlushIfForced(flags);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        try
        {
            _file.WriteZeroes(range, isLengthFixed: true, flags, cancellationToken);
        }
        finally
        {
            _cache.Cut(range);
        }

        FlushIfForced(flags);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "discard", cancellationToken);
        try
        {
            _file.Discard(range, isLengthFixed: true);
        }
        finally
        {
            _cache.Cut(range);
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _file.Flush();
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        if (range.IsEmpty)
        {
            return default;
        }

        long knownBytes = _cache.FindDataBytes(offsetBytes, out long generation);
        if (knownBytes > 0)
        {
            return new(new BlockStatusRun(BlockStatus.Data, Math.Min(knownBytes, lengthBytes)));
        }

        // The question goes to the end of the disk, so that the answer serves the ones that follow.
        BlockStatusRun run = _file.FindExtent(BlockRange.FromEnds(offsetBytes, Geometry.LengthBytes));
        if (run.Status == BlockStatus.Data)
        {
            _cache.Store(new BlockRange(offsetBytes, run.LengthBytes), generation);
        }

        return new(run with { LengthBytes = Math.Min(run.LengthBytes, lengthBytes) });
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => _file.ReadAhead(new BlockRange(offsetBytes, lengthBytes));

    /// <summary>Closes the file without flushing it. Idempotent.</summary>
    public ValueTask DisposeAsync()
    {
        _file.Dispose();
        return default;
    }

    private BlockRange Check(
        long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, Path, operation);
        return range;
    }

    private void FlushIfForced(WriteFlags flags)
    {
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            _file.Flush();
        }
    }
}
