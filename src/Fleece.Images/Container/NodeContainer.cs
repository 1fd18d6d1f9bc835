// SPDX-License-Identifier: MIT
using System.Buffers;
using Fleece.Block;

namespace Fleece.Images.Container;

/// <summary>A container on a block node of fixed size, such as an NBD export.</summary>
/// <remarks>
/// <para>The node is as long as its server made it, and an image on it may end earlier. So the container has a length of its own: first
/// that of the node, then, when the format has told where the image ends (<see cref="SetEnd"/>), that end. It grows up to the node's end,
/// and what it grows over is made to read as zeros, because anything can lie behind an image on a device. Growing past the node's end is
/// <see cref="BlockErrors.NoSpace"/> and changes nothing. Making the file shorter changes the node in nothing.</para>
/// <para>Where the node takes whole blocks only, a write of a part of a block reads, changes and writes the block, while no other write
/// runs.</para>
/// <para>Threading. As <see cref="IContainerFile"/>, on the threads of <see cref="RequestThreads"/> only.</para>
/// <para>Ownership. It owns the node.</para>
/// </remarks>
internal sealed class NodeContainer : IContainerFile
{
    private readonly IBlockNode _node;
    private readonly long _blockMask;
    private readonly bool _isTransient;
    private readonly ReaderWriterLockSlim _blocks = new();
    private readonly Lock _growth = new();
    private Action<BlockException>? _flushFailed;
    private long _lengthBytes;

    /// <param name="node">The node.</param>
    /// <param name="path">Its address, for messages.</param>
    /// <param name="options">Whether it is only read, and what flushes do.</param>
    public NodeContainer(IBlockNode node, string path, ImageOpenOptions options)
    {
        _node = ByteGranularNode.Over(node);
        _blockMask = node.Geometry.RequestAlignmentBytes - 1;
        _isTransient = options.IsTransient;
        _flushFailed = options.FlushFailed;
        _lengthBytes = node.Geometry.LengthBytes;
        Path = path;
        IsReadOnly = options.IsReadOnly || node.Geometry.IsReadOnly;
    }

    /// <summary>The address of the node.</summary>
    public string Path { get; }

    public bool IsReadOnly { get; }

    public long MaximumLengthBytes => _node.Geometry.LengthBytes;

    /// <summary>Ends the requests that run, for as long as the image is being opened or examined.</summary>
    public CancellationToken CancellationToken { get; set; }

    public long GetLength() => Volatile.Read(ref _lengthBytes);

    /// <summary>Says where the image ends; before the first change.</summary>
    public void SetEnd(long lengthBytes) => Volatile.Write(ref _lengthBytes, Math.Min(lengthBytes, MaximumLengthBytes));

    public void Read(long offsetBytes, Span<byte> buffer)
    {
        int insideBytes = (int)Math.Clamp(GetLength() - offsetBytes, 0, buffer.Length);
        if (insideBytes != 0)
        {
            byte[] bytes = ArrayPool<byte>.Shared.Rent(insideBytes);
            try
            {
                RequestThreads.Wait(_node.ReadAsync(offsetBytes, bytes.AsMemory(0, insideBytes), CancellationToken));
                bytes.AsSpan(0, insideBytes).CopyTo(buffer);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(bytes);
            }
        }

        buffer[insideBytes..].Clear();
    }

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        long endBytes = offsetBytes + data.Length;
        if (endBytes <= GetLength())
        {
            Store(offsetBytes, data);
            return;
        }

        CheckRoom(endBytes, "write");
        lock (_growth)
        {
            ClearUpTo(offsetBytes);
            Store(offsetBytes, data);
            Volatile.Write(ref _lengthBytes, Math.Max(endBytes, _lengthBytes));
        }
    }

    public void Zero(long offsetBytes, long lengthBytes)
    {
        long insideBytes = Math.Min(lengthBytes, GetLength() - offsetBytes);
        if (insideBytes > 0)
        {
            Clear(offsetBytes, insideBytes);
        }
    }

    public void SetLength(long lengthBytes)
    {
        CheckRoom(lengthBytes, "grow");
        lock (_growth)
        {
            ClearUpTo(lengthBytes);
            Volatile.Write(ref _lengthBytes, lengthBytes);
        }
    }

    public BlockStatusRun FindExtent(BlockRange range) =>
        RequestThreads.Wait(_node.GetStatusAsync(range.OffsetBytes, range.LengthBytes, CancellationToken));

    public void Flush()
    {
        if (_isTransient)
        {
            return;
        }

        try
        {
            RequestThreads.Wait(_node.FlushAsync(CancellationToken));
        }
        catch (BlockException failure)
        {
            Interlocked.Exchange(ref _flushFailed, null)?.Invoke(failure);
            throw;
        }
    }

    public void Dispose()
    {
        _blocks.Dispose();
        RequestThreads.Wait(_node.DisposeAsync());
    }

    private void Store(long offsetBytes, ReadOnlySpan<byte> data)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(data.Length);
        bool isShared = EnterBlocks(offsetBytes, data.Length);
        try
        {
            data.CopyTo(bytes);
            RequestThreads.Wait(_node.WriteAsync(offsetBytes, bytes.AsMemory(0, data.Length), WriteFlags.None, CancellationToken));
        }
        finally
        {
            ExitBlocks(isShared);
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    private void Clear(long offsetBytes, long lengthBytes)
    {
        bool isShared = EnterBlocks(offsetBytes, lengthBytes);
        try
        {
            RequestThreads.Wait(_node.WriteZeroesAsync(offsetBytes, lengthBytes, WriteFlags.None, CancellationToken));
        }
        finally
        {
            ExitBlocks(isShared);
        }
    }

    // Under the lock of growth. Most devices tell that they are empty behind the image, so that little is written.
    private void ClearUpTo(long endBytes)
    {
        for (long atBytes = _lengthBytes; atBytes < endBytes;)
        {
            BlockStatusRun run = FindExtent(BlockRange.FromEnds(atBytes, endBytes));
            if (!run.ReadsAsZero)
            {
                Clear(atBytes, run.LengthBytes);
            }

            atBytes += run.LengthBytes;
        }
    }

    // A write of a part of a block writes the rest of the block as it was read, over what another write may have stored there meanwhile.
    private bool EnterBlocks(long offsetBytes, long lengthBytes)
    {
        bool isShared = ((offsetBytes | lengthBytes) & _blockMask) == 0;
        if (_blockMask == 0)
        {
            return isShared;
        }

        if (isShared)
        {
            _blocks.EnterReadLock();
        }
        else
        {
            _blocks.EnterWriteLock();
        }

        return isShared;
    }

    private void ExitBlocks(bool isShared)
    {
        if (_blockMask == 0)
        {
            return;
        }

        if (isShared)
        {
            _blocks.ExitReadLock();
        }
        else
        {
            _blocks.ExitWriteLock();
        }
    }

    private void CheckRoom(long endBytes, string operation)
    {
        if (endBytes > MaximumLengthBytes)
        {
            throw new BlockException(
                BlockErrors.NoSpace,
                $"The image on '{Path}' needs {endBytes} bytes there, and the export has {MaximumLengthBytes}. Make the export larger " +
                "where it is served and mount the image again, or discard what guests no longer need.",
                Path,
                endBytes,
                operation);
        }
    }
}
