// SPDX-License-Identifier: MIT
using DiscUtils;
using DiscUtils.Streams;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.DiscUtils;

/// <summary>A disk that DiscUtils reads, as a read-only node.</summary>
/// <remarks>
/// <para>DiscUtils' content has one position and gives wrong data to callers that share it, so calls run one after the other;
/// each completes on the calling thread. After a read that failed every later one fails: what DiscUtils keeps of its tables is not
/// known then.</para>
/// <para>The extents are collected at the first question for them: 16 bytes of memory for each run of data.</para>
/// <para>Ownership. It owns the file and the image's other files.</para>
/// </remarks>
internal sealed class DiscUtilsNode : IBlockNode
{
    private readonly Lock _lock = new();
    private readonly LocalFile _file;
    private readonly VirtualDisk _disk;
    private readonly ImageFolder? _folder;
    private readonly SparseStream _content;
    private List<BlockRange>? _extents;
    private BlockException? _failure;

    private DiscUtilsNode(LocalFile file, VirtualDisk disk, SparseStream content, ImageFolder? folder)
    {
        _file = file;
        _disk = disk;
        _content = content;
        _folder = folder;
        Geometry = new BlockGeometry(content.Length, IsReadOnly: true);
    }

    public BlockGeometry Geometry { get; }

    /// <summary>Opens a disk; on failure the caller keeps the file, and the folder is closed.</summary>
    public static DiscUtilsNode Open(LocalFile file, Func<VirtualDisk> openDisk, ImageFolder? folder)
    {
        VirtualDisk? disk = null;
        try
        {
            disk = openDisk();
            SparseStream content = disk.Content;
            if (content.Length != disk.Capacity || content.Length <= 0)
            {
                throw new BlockException(
                    BlockErrorKind.Corrupt,
                    $"'{file.Path}' says that its disk has {disk.Capacity} bytes, and its extents hold {content.Length}. Restore it from a copy.",
                    file.Path);
            }

            return new DiscUtilsNode(file, disk, content, folder);
        }
#pragma warning disable CA1031 // DiscUtils answers damaged images with exceptions of every sort.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            disk?.Dispose();
            folder?.CloseFiles();
            throw Translate(failure, file, "open", null);
        }
    }

    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        lock (_lock)
        {
            ThrowIfFailed();
            try
            {
                _content.Position = offsetBytes;
                _content.ReadExactly(buffer.Span);
            }
#pragma warning disable CA1031 // As in Open.
            catch (Exception failure)
#pragma warning restore CA1031
            {
                throw _failure = Translate(failure, _file, "read", offsetBytes);
            }
        }

        return default;
    }

    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        if (range.IsEmpty)
        {
            return default;
        }

        List<BlockRange> extents = FindExtents();

        // The first extent that ends behind the offset.
        int first = 0;
        for (int last = extents.Count; first < last;)
        {
            int middle = first + ((last - first) / 2);
            (first, last) = extents[middle].EndBytes <= offsetBytes ? (middle + 1, last) : (first, middle);
        }

        long startBytes = first == extents.Count ? Geometry.LengthBytes : extents[first].OffsetBytes;
        return new(startBytes > offsetBytes
            ? new BlockStatusRun(BlockStatus.Unallocated, Math.Min(lengthBytes, startBytes - offsetBytes))
            : new BlockStatusRun(BlockStatus.Data, Math.Min(lengthBytes, extents[first].EndBytes - offsetBytes)));
    }

    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken) => throw ReadOnly("write");

    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken) => throw ReadOnly("write zeros to");

    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken) => throw ReadOnly("discard");

    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return default;
    }

    public ValueTask DisposeAsync()
    {
        _disk.Dispose();
        _folder?.CloseFiles();
        _file.Dispose();
        return default;
    }

    private static BlockException Translate(Exception failure, LocalFile file, string operation, long? offsetBytes)
    {
        if (failure is BlockException ours)
        {
            return ours;
        }

        BlockErrorKind kind = failure switch
        {
            EndOfStreamException => BlockErrorKind.Truncated,
            NotSupportedException or NotImplementedException => BlockErrorKind.Unsupported,
            _ when failure.GetType() == typeof(ArgumentException) => BlockErrorKind.Unsupported,
            _ => BlockErrorKind.Corrupt,
        };
        string place = offsetBytes is long at ? $" at offset {at}" : "";
        return new BlockException(
            kind,
            $"DiscUtils can't {operation} '{file.Path}'{place}: {failure.Message} The image is damaged, or of a kind that it does not " +
            "read; try 'qemu-img convert -O qcow2', or restore it from a copy.",
            file.Path,
            offsetBytes,
            operation,
            failure);
    }

    private List<BlockRange> FindExtents()
    {
        lock (_lock)
        {
            ThrowIfFailed();
            try
            {
                return _extents ??= CollectExtents();
            }
#pragma warning disable CA1031 // As in Open.
            catch (Exception failure)
#pragma warning restore CA1031
            {
                throw _failure = Translate(failure, _file, "query", null);
            }
        }
    }

    // Of several files each gives its own, so two may touch; the last block may reach beyond the disk.
    private List<BlockRange> CollectExtents()
    {
        List<BlockRange> extents = [];
        BlockRange disk = new(0, Geometry.LengthBytes);
        foreach (StreamExtent extent in _content.Extents)
        {
            BlockRange range = new BlockRange(extent.Start, extent.Length).Intersect(disk);
            if (range.IsEmpty)
            {
                continue;
            }

            if (extents.Count != 0 && extents[^1].EndBytes >= range.OffsetBytes)
            {
                range = BlockRange.FromEnds(extents[^1].OffsetBytes, Math.Max(extents[^1].EndBytes, range.EndBytes));
                extents.RemoveAt(extents.Count - 1);
            }

            extents.Add(range);
        }

        return extents;
    }

    private void ThrowIfFailed()
    {
        if (_failure is { } first)
        {
            throw new BlockException(
                first.Kind, $"An earlier read of '{_file.Path}' failed: {first.Message} Open it again.", _file.Path, cause: first);
        }
    }

    private BlockException ReadOnly(string operation) => new(
        BlockErrorKind.ReadOnly,
        $"Cannot {operation} '{_file.Path}': images of this format are only read. Convert it with Convert-FleeceImage to change it.",
        _file.Path,
        operation: operation);

    private BlockRange Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        BlockRange range = new(offsetBytes, lengthBytes);
        range.CheckWithin(Geometry.LengthBytes, _file.Path, operation);
        return range;
    }
}
