// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>A local file as a disk: byte n of the disk is byte n of the file, holes are unallocated.</summary>
/// <remarks>
/// <para>Every operation completes, or throws, on the calling thread. The length is fixed when the file is opened; a
/// file that something else shortens afterwards fails its reads with <see cref="BlockErrors.Truncated"/>.</para>
/// <para>A disk may be longer than its file, to be made of whole sectors: what lies behind the file's end reads as zeros, and the
/// file grows when something else is written there. Zeroing and discarding never make it longer.</para>
/// <para>Zeroing punches holes where the file system can and writes zeros elsewhere, and on macOS. Discarding frees
/// whole 4 KiB blocks where the file system can and keeps the content elsewhere.</para>
/// <para>Durability. Writing with <see cref="WriteFlags.ForceUnitAccess"/> flushes the whole file. After a flush
/// failed, every later one fails too, because the system may have dropped the writes it could not store.</para>
/// <para>Ownership. The node owns its file; <see cref="LocalFile"/> says whom that locks out.</para>
/// </remarks>
internal sealed class FileNode : IBlockNode
{
    private readonly LocalFile _file;
    private readonly DataExtentCache _cache = new();

    private FileNode(LocalFile file, long storedBytes, long lengthBytes)
    {
        _file = file;
        StoredBytes = storedBytes;
        Geometry = new BlockGeometry(lengthBytes, IsReadOnly: file.IsReadOnly);
    }

    /// <summary>The full path of the file.</summary>
    public string Path => _file.Path;

    /// <inheritdoc cref="LocalFile.Place"/>
    public string Place => _file.Place;

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <summary>The file's length when it was opened: the disk's, or less than a sector below it.</summary>
    public long StoredBytes { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => LocalFile.CanReadAhead;

    /// <summary>Opens a regular file that exists; its present length becomes the disk's.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isReadOnly">Refuses changes, and lets others read; otherwise no other process may open it.</param>
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
    /// <param name="file">The file.</param>
    /// <param name="sectorBytes">The disk has the file's length, rounded up to a multiple of this power of two.</param>
    public static FileNode Over(LocalFile file, int sectorBytes = 1)
    {
        ArgumentNullException.ThrowIfNull(file);
        long storedBytes = file.LengthBytes;
        return new FileNode(file, storedBytes, BlockRange.RoundUp(storedBytes, sectorBytes));
    }

    /// <summary>Creates a sparse file that reads as zeros. A failure leaves nothing behind.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="lengthBytes">Size of the disk, 0 or more.</param>
    /// <param name="deleteOnDispose">True for a file that ends with the node and that only its owner may read.</param>
    /// <exception cref="BlockException">Those of <see cref="LocalFile.Create"/>.</exception>
    public static FileNode Create(string path, long lengthBytes, bool deleteOnDispose = false) =>
        new(LocalFile.Create(path, lengthBytes, deleteOnDispose), lengthBytes, lengthBytes);

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Read(offsetBytes, buffer.Span);
        return default;
    }

    /// <summary>As <see cref="ReadAsync"/>, for callers that can't wait.</summary>
    public void Read(long offsetBytes, Span<byte> buffer)
    {
        BlockRange range = Check(offsetBytes, buffer.Length, "read");
        if (range.EndBytes <= StoredBytes)
        {
            _file.Read(offsetBytes, buffer);
            return;
        }

        int readBytes = _file.ReadUpTo(offsetBytes, buffer);
        if (offsetBytes + readBytes < StoredBytes)
        {
            throw FileErrors.Truncated(_file.PresentPath, offsetBytes + readBytes, buffer.Length - readBytes);
        }

        buffer[readBytes..].Clear();
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        Check(offsetBytes, data.Length, "write");
        _file.Write(offsetBytes, data.Span);
        FlushIfForced(flags);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        BlockRange range = Check(offsetBytes, lengthBytes, "write zeros to");
        try
        {
            _file.WriteZeroes(range, IsLengthFixed, flags, cancellationToken);
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
        cancellationToken.ThrowIfCancellationRequested();
        BlockRange range = Check(offsetBytes, lengthBytes, "discard");
        try
        {
            _file.Discard(range, IsLengthFixed);
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
        cancellationToken.ThrowIfCancellationRequested();
        return new(GetStatus(offsetBytes, lengthBytes));
    }

    /// <summary>As <see cref="GetStatusAsync"/>, for callers that can't wait.</summary>
    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query");
        if (range.IsEmpty)
        {
            return default;
        }

        long knownBytes = _cache.FindDataBytes(offsetBytes, out long generation);
        if (knownBytes > 0)
        {
            return new BlockStatusRun(BlockStatus.Data, Math.Min(knownBytes, lengthBytes));
        }

        // The question goes to the end of the disk, so that the answer serves the ones that follow.
        BlockStatusRun run = FindExtent(offsetBytes);
        if (run.Status == BlockStatus.Data)
        {
            _cache.Store(new BlockRange(offsetBytes, run.LengthBytes), generation);
        }

        return run with { LengthBytes = Math.Min(run.LengthBytes, lengthBytes) };
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => _file.ReadAhead(new BlockRange(offsetBytes, lengthBytes));

    /// <summary>Closes the file without flushing it. Idempotent.</summary>
    public ValueTask DisposeAsync()
    {
        _file.Dispose();
        return default;
    }

    // Bytes are freed behind the end of the file only where nothing can have been written there meanwhile.
    private bool IsLengthFixed => StoredBytes == Geometry.LengthBytes;

    // The block that holds the file's last byte holds the rest of its sector too, so its status is that of both.
    private BlockStatusRun FindExtent(long offsetBytes)
    {
        long endBytes = IsLengthFixed ? StoredBytes : Math.Max(StoredBytes, Math.Min(_file.LengthBytes, Geometry.LengthBytes));
        if (offsetBytes >= endBytes)
        {
            return new BlockStatusRun(BlockStatus.Unallocated, Geometry.LengthBytes - offsetBytes);
        }

        BlockStatusRun run = _file.FindExtent(BlockRange.FromEnds(offsetBytes, endBytes));
        return offsetBytes + run.LengthBytes == endBytes ? run with { LengthBytes = Geometry.LengthBytes - offsetBytes } : run;
    }

    private BlockRange Check(long offsetBytes, long lengthBytes, string operation)
    {
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
