// SPDX-License-Identifier: MIT
using DiscUtils;
using DiscUtils.Streams;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.DiscUtils;

/// <summary>A disk that DiscUtils reads, as a read-only node.</summary>
/// <remarks>
/// <para>DiscUtils' content has one position and gives wrong data to callers that share it, so calls run one after the other;
/// each completes on the calling thread. After a read that failed every later one fails: what DiscUtils keeps of its tables is not
/// known then.</para>
/// <para>Ownership. It owns the file and the image's other files.</para>
/// </remarks>
internal sealed class DiscUtilsNode : IBlockNode
{
    private readonly Lock _lock = new();
    private readonly LocalFile _file;
    private readonly VirtualDisk _disk;
    private readonly IReadOnlyList<DiskPart> _parts;
    private readonly ImageFolder? _folder;
    private readonly SparseStream _content;
    private BlockException? _failure;

    private DiscUtilsNode(LocalFile file, VirtualDisk disk, IReadOnlyList<DiskPart> parts, ImageFolder? folder)
    {
        _file = file;
        _disk = disk;
        _content = disk.Content;
        _parts = parts;
        _folder = folder;
        Geometry = new BlockGeometry(parts[^1].Range.EndBytes, IsReadOnly: true);
    }

    public BlockGeometry Geometry { get; }

    public bool CanReadAhead => false;

    /// <summary>Opens a disk; on failure the caller keeps the file, and the folder is closed.</summary>
    /// <param name="file">The file a user named.</param>
    /// <param name="openDisk">Lets DiscUtils open the disk.</param>
    /// <param name="parts">The whole disk, in its order; one part at least.</param>
    /// <param name="folder">The image's other files, or null.</param>
    /// <exception cref="BlockException">Corrupt, Truncated, Unsupported; read errors.</exception>
    public static DiscUtilsNode Open(
        LocalFile file, Func<VirtualDisk> openDisk, IReadOnlyList<DiskPart> parts, ImageFolder? folder = null)
    {
        VirtualDisk? disk = null;
        try
        {
            disk = openDisk();
            long lengthBytes = parts[^1].Range.EndBytes;
            if (disk.Capacity != lengthBytes || disk.Content.Length != lengthBytes)
            {
                throw new BlockException(
                    ImageErrors.Corrupt,
                    $"'{file.Path}' says that its disk has {disk.Capacity} bytes, and its extents hold {lengthBytes}. Restore it from a " +
                    "copy.",
                    file.Path);
            }

            return new DiscUtilsNode(file, disk, parts, folder);
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
        BlockRange range = Check(offsetBytes, buffer.Length, "read", cancellationToken);
        lock (_lock)
        {
            ThrowIfFailed();
            try
            {
                foreach (DiskPart part in _parts)
                {
                    part.CheckData(range);
                }

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

    public void ReadAhead(long offsetBytes, long lengthBytes)
    {
    }

    public ValueTask<BlockStatusRun> GetStatusAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        BlockRange range = Check(offsetBytes, lengthBytes, "query", cancellationToken);
        if (range.IsEmpty)
        {
            return default;
        }

        return new(_parts.First(part => part.Range.EndBytes > offsetBytes).GetStatus(range));
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

        string kind = failure switch
        {
            EndOfStreamException => BlockErrors.Truncated,
            NotSupportedException or NotImplementedException => BlockErrors.Unsupported,
            _ when failure.GetType() == typeof(ArgumentException) => BlockErrors.Unsupported,
            _ => ImageErrors.Corrupt,
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

    private void ThrowIfFailed()
    {
        if (_failure is { } first)
        {
            throw new BlockException(
                first.Kind, $"An earlier read of '{_file.Path}' failed: {first.Message} Open it again.", _file.Path, cause: first);
        }
    }

    private BlockException ReadOnly(string operation) => new(
        BlockErrors.ReadOnly,
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
