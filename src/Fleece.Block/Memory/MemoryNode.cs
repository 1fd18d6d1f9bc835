// SPDX-License-Identifier: MIT
namespace Fleece.Block.Memory;

/// <summary>A sparse disk in memory, for tests and for small temps.</summary>
/// <remarks>
/// <para>Memory is taken in pages of 64 KiB by the first write to each, and given back by a discard or a zeroing
/// that covers a whole page. Pages are also the unit of <see cref="GetStatusAsync"/> and of a discard.</para>
/// <para>Every operation completes, or throws, on the calling thread. Flushing does nothing: nothing here outlives the
/// process.</para>
/// <para>Errors. <see cref="BlockErrors.OutOfRange"/>, <see cref="BlockErrors.InvalidRange"/>,
/// <see cref="BlockErrors.Closed"/>.</para>
/// </remarks>
internal sealed class MemoryNode : IBlockNode
{
    /// <summary>The largest size of a node: 2^62 bytes.</summary>
    public const long MaximumLengthBytes = 1L << 62;

    private const int PageBytes = PageDirectory.PageBytes;

    private readonly string _name;
    private PageDirectory? _directory;

    /// <summary>Makes a node that reads as zeros.</summary>
    /// <param name="lengthBytes">From 0 to <see cref="MaximumLengthBytes"/>.</param>
    /// <param name="name">What messages call it.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/>: the length is out of bounds.
    /// </exception>
    public MemoryNode(long lengthBytes, string name = "memory")
    {
        if (lengthBytes is < 0 or > MaximumLengthBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"A disk in memory can't have {lengthBytes} bytes; give it 0 to {MaximumLengthBytes}.");
        }

        _name = name;
        Geometry = new BlockGeometry(lengthBytes);
        _directory = new PageDirectory(PagesFor(lengthBytes));
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    public bool CanReadAhead => false;

    /// <summary>Bytes of memory that hold content; a multiple of the page size, and 0 once closed.</summary>
    public long AllocatedBytes => (Volatile.Read(ref _directory)?.StoredPageCount ?? 0) * PageBytes;

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        PageDirectory directory = Check(offsetBytes, buffer.Length, "read", cancellationToken);
        Span<byte> rest = buffer.Span;
        while (!rest.IsEmpty)
        {
            int startBytes = (int)(offsetBytes % PageBytes);
            Span<byte> piece = rest[..Math.Min(PageBytes - startBytes, rest.Length)];
            if (directory.Find(offsetBytes / PageBytes) is byte[] page)
            {
                page.AsSpan(startBytes, piece.Length).CopyTo(piece);
            }
            else
            {
                piece.Clear();
            }

            offsetBytes += piece.Length;
            rest = rest[piece.Length..];
        }

        return default;
    }

    /// <inheritdoc/>
    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        PageDirectory directory = Check(offsetBytes, data.Length, "write", cancellationToken);
        ReadOnlySpan<byte> rest = data.Span;
        while (!rest.IsEmpty)
        {
            int startBytes = (int)(offsetBytes % PageBytes);
            ReadOnlySpan<byte> piece = rest[..Math.Min(PageBytes - startBytes, rest.Length)];
            piece.CopyTo(directory.FindOrAdd(offsetBytes / PageBytes).AsSpan(startBytes));
            offsetBytes += piece.Length;
            rest = rest[piece.Length..];
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        PageDirectory directory = Check(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        BlockRange range = new(offsetBytes, lengthBytes);
        RemoveWholePages(directory, range);
        ClearPartOfPage(directory, range, range.OffsetBytes / PageBytes);
        ClearPartOfPage(directory, range, Math.Max(0, range.EndBytes - 1) / PageBytes);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        PageDirectory directory = Check(offsetBytes, lengthBytes, "discard", cancellationToken);
        RemoveWholePages(directory, new BlockRange(offsetBytes, lengthBytes));
        return default;
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        PageDirectory directory = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        BlockRange range = new(offsetBytes, lengthBytes);
        long pageIndex = offsetBytes / PageBytes;
        long endPageIndex = PagesFor(range.EndBytes);
        long storedIndex = directory.FindStored(pageIndex, endPageIndex);
        BlockStatus status = storedIndex == pageIndex ? BlockStatus.Data : BlockStatus.Unallocated;
        while (status == BlockStatus.Data && storedIndex < endPageIndex && directory.Find(storedIndex) is not null)
        {
            storedIndex++;
        }

        // The page at the start counts as the answer said it, even if it has been freed meanwhile.
        long runEndBytes = Math.Min(Math.Max(storedIndex, pageIndex + 1) * PageBytes, range.EndBytes);
        return new ValueTask<BlockStatusRun>(new BlockStatusRun(status, runEndBytes - offsetBytes));
    }

    /// <summary>Gives all memory back. Idempotent.</summary>
    public ValueTask DisposeAsync()
    {
        Volatile.Write(ref _directory, null);
        return default;
    }

    private static long PagesFor(long lengthBytes) => (lengthBytes + PageBytes - 1) / PageBytes;

    private static void ClearPartOfPage(PageDirectory directory, BlockRange range, long pageIndex)
    {
        BlockRange part = range.Intersect(new BlockRange(pageIndex * PageBytes, PageBytes));
        if (!part.IsEmpty && directory.Find(pageIndex) is byte[] page)
        {
            page.AsSpan((int)(part.OffsetBytes % PageBytes), (int)part.LengthBytes).Clear();
        }
    }

    // The last page of the disk counts as whole when the range reaches the end of the disk.
    private void RemoveWholePages(PageDirectory directory, BlockRange range)
    {
        bool reachesEnd = range.EndBytes == Geometry.LengthBytes;
        long endPageIndex = reachesEnd ? PagesFor(range.EndBytes) : range.EndBytes / PageBytes;
        long pageIndex = PagesFor(range.OffsetBytes);
        while ((pageIndex = directory.FindStored(pageIndex, endPageIndex)) < endPageIndex)
        {
            directory.Remove(pageIndex++);
        }
    }

    private PageDirectory Check(
        long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        new BlockRange(offsetBytes, lengthBytes).CheckWithin(Geometry.LengthBytes, _name, operation);
        return Volatile.Read(ref _directory) ?? throw new BlockException(
            BlockErrors.Closed,
            $"Cannot {operation} the disk in memory '{_name}': it has been closed. Make a new one to use it.",
            operation: operation);
    }
}
