// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>A regular file as a block node: the bytes of the disk are the bytes of the file.</summary>
/// <remarks>
/// <para>One handle serves all requests with positional calls, so none moves a cursor and none waits for another.
/// Every operation completes, or throws, on the calling thread.</para>
/// <para>Locking. A file opened for writing is open once; one opened read-only may be open read-only any number of
/// times. On Linux and macOS the lock is advisory (flock): it keeps Fleece processes apart, not other programs.</para>
/// <para>Zeroing and discarding punch holes where the file system can. Where it can't, and on macOS, zeros are written,
/// and a discard keeps the content. Where it can, every byte of a discarded range reads as zero.</para>
/// <para>Durability. After the system has reported a failed flush, every later flush fails with that first error: the
/// system may have dropped the pages that it could not store, so a flush that succeeds later would promise too much.
/// </para>
/// <para>Errors. Those of <see cref="FileErrors"/>; <see cref="BlockErrorKind.Truncated"/> when the file has become
/// shorter than it was at opening and a read needs what is gone.</para>
/// <para>Ownership. The node owns its handle.</para>
/// </remarks>
public sealed partial class FileNode : IBlockNode
{
    // Large enough that zeros are written at the speed of the storage, small enough to stay cached.
    private const int ZeroesBytes = 256 * 1024;

    private static readonly byte[] Zeroes = new byte[ZeroesBytes];

    private readonly SafeFileHandle _handle;
    private readonly FileExtents _extents;
    private readonly FileStream? _creation;
    private BlockException? _flushFailure;

    private FileNode(
        SafeFileHandle handle, string path, long lengthBytes, bool isReadOnly, FileStream? creation = null)
    {
        _handle = handle;
        _creation = creation;
        Path = path;
        Geometry = new BlockGeometry(lengthBytes, IsReadOnly: isReadOnly);
        _extents = new FileExtents(handle, path, lengthBytes, isReadOnly);
    }

    /// <summary>The full path of the file.</summary>
    public string Path { get; }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        Span<byte> rest = buffer.Span;
        try
        {
            while (!rest.IsEmpty)
            {
                int readBytes = RandomAccess.Read(_handle, rest, offsetBytes);
                if (readBytes <= 0)
                {
                    throw FileErrors.Truncated(Path, offsetBytes, rest.Length);
                }

                rest = rest[readBytes..];
                offsetBytes += readBytes;
            }
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, Path, "read", offsetBytes);
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        Write(offsetBytes, data.Span);
        FlushIfAsked(flags);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        BlockRange range = CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        if (!range.IsEmpty && !_extents.TryZero(range, "write zeros to"))
        {
            for (long atBytes = offsetBytes; atBytes < range.EndBytes;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int pieceBytes = (int)Math.Min(ZeroesBytes, range.EndBytes - atBytes);
                Write(atBytes, Zeroes.AsSpan(0, pieceBytes));
                atBytes += pieceBytes;
            }
        }

        FlushIfAsked(flags);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        if (!range.IsEmpty)
        {
            _extents.TryFree(range, "discard");
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        Flush();
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        if (range.IsEmpty)
        {
            return new ValueTask<BlockStatusRun>(new BlockStatusRun(BlockStatus.Data, 0));
        }

        try
        {
            return new ValueTask<BlockStatusRun>(_extents.GetStatus(range));
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, Path, "query", offsetBytes);
        }
    }

    /// <summary>Closes the file, and removes it when it was created to be deleted. Idempotent.</summary>
    public ValueTask DisposeAsync()
    {
        _handle.Dispose();
        _creation?.Dispose();
        return default;
    }

    private void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        try
        {
            RandomAccess.Write(_handle, data, offsetBytes);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, Path, "write", offsetBytes);
        }
    }

    private void FlushIfAsked(WriteFlags flags)
    {
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            Flush();
        }
    }

    private void Flush()
    {
        if (Volatile.Read(ref _flushFailure) is BlockException earlier)
        {
            throw FileErrors.FlushFailedBefore(Path, earlier);
        }

        // A file that can't be changed has nothing to flush, and some systems refuse the call for it.
        if (Geometry.IsReadOnly)
        {
            return;
        }

        try
        {
            RandomAccess.FlushToDisk(_handle);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            BlockException failure = FileErrors.From(exception, Path, "flush");
            Interlocked.CompareExchange(ref _flushFailure, failure, null);
            throw failure;
        }
    }

    private BlockRange Check(
        long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, Path, operation);
        return _handle.IsClosed ? throw FileErrors.Closed(Path, operation) : range;
    }

    private BlockRange CheckChange(
        long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, operation, cancellationToken);
        return Geometry.IsReadOnly ? throw FileErrors.ReadOnly(Path, operation, offsetBytes) : range;
    }
}
