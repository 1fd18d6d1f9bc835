// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;

namespace Fleece.Images.Vhd;

/// <summary>A fixed VHD image as a block node: byte n of the disk is byte n of the file, and a footer follows.</summary>
/// <remarks>
/// <para>Any byte range may be read and written. The footer is never touched. Zeroing and discarding free storage where the file
/// system can.</para>
/// <para>Threading. Requests from any thread; every one completes on the calling thread.</para>
/// <para>Ownership. The node owns the file.</para>
/// </remarks>
internal sealed class FixedVhdNode : IBlockNode, IVhdLayer
{
    private readonly IContainerFile _file;
    private readonly VhdFooter _footer;
    private bool _isClosed;

    private FixedVhdNode(IContainerFile file, VhdFooter footer)
    {
        _file = file;
        _footer = footer;
        Geometry = new BlockGeometry(footer.SizeBytes, IsReadOnly: file.IsReadOnly);
    }

    /// <inheritdoc/>
    public BlockGeometry Geometry { get; }

    /// <inheritdoc/>
    string IImageLayer.Path => _file.Path;

    /// <inheritdoc/>
    ImageFormat IImageLayer.Format => ImageFormat.Vhd;

    /// <inheritdoc/>
    long IImageLayer.LengthBytes => _footer.SizeBytes;

    /// <inheritdoc/>
    IImageLayer? IImageLayer.Parent => null;

    /// <inheritdoc/>
    Guid IVhdLayer.UniqueId => _footer.UniqueId;

    /// <summary>Opens an image; on failure the file is left to the caller.</summary>
    /// <exception cref="BlockException">Truncated.</exception>
    public static FixedVhdNode Open(IContainerFile file, VhdFooters footers)
    {
        CheckLength(file.Path, footers);
        return new FixedVhdNode(file, footers.Footer);
    }

    /// <summary>Refuses a file that ends before its disk does.</summary>
    public static void CheckLength(string path, VhdFooters footers)
    {
        if (footers.ContentEndBytes < footers.Footer.SizeBytes)
        {
            throw VhdFault.Truncated(
                path,
                $"the footer says that the disk has {footers.Footer.SizeBytes} bytes, and only {footers.ContentEndBytes} stand " +
                "before it");
        }
    }

    /// <inheritdoc/>
    public ValueTask ReadAsync(long offsetBytes, Memory<byte> buffer, CancellationToken cancellationToken)
    {
        Check(offsetBytes, buffer.Length, "read", cancellationToken);
        _file.Read(offsetBytes, buffer.Span);
        return default;
    }

    /// <inheritdoc/>
    public void Read(long offsetBytes, Span<byte> buffer) => _file.Read(offsetBytes, buffer);

    /// <inheritdoc/>
    public bool CanReadAhead => LocalFile.CanReadAhead;

    /// <inheritdoc cref="IBlockNode.ReadAhead"/>
    public void ReadAhead(long offsetBytes, long lengthBytes) => _file.ReadAhead(offsetBytes, lengthBytes);

    /// <inheritdoc/>
    public ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        _file.Write(offsetBytes, data.Span);
        FlushIfForced(flags);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        _file.Zero(offsetBytes, lengthBytes);
        FlushIfForced(flags);
        return default;
    }

    /// <inheritdoc/>
    public ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "discard", cancellationToken);
        long endBytes = (offsetBytes + lengthBytes) & -VhdLimits.SectorBytes;
        long startBytes = (offsetBytes + VhdLimits.SectorBytes - 1) & -VhdLimits.SectorBytes;
        if (startBytes < endBytes)
        {
            _file.Zero(startBytes, endBytes - startBytes);
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        if (!_file.IsReadOnly)
        {
            _file.Flush();
        }

        return default;
    }

    /// <inheritdoc/>
    public ValueTask<BlockStatusRun> GetStatusAsync(
        long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, "query", cancellationToken);
        return new ValueTask<BlockStatusRun>(GetStatus(offsetBytes, lengthBytes));
    }

    /// <inheritdoc/>
    public BlockStatusRun GetStatus(long offsetBytes, long lengthBytes) =>
        VhdExtents.Find(_file, new BlockRange(offsetBytes, lengthBytes));

    /// <inheritdoc/>
    public DepthRun GetDepth(long offsetBytes, long lengthBytes) => new(1, lengthBytes);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Dispose();
        return default;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _isClosed = true;
        _file.Dispose();
    }

    private void FlushIfForced(WriteFlags flags)
    {
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            _file.Flush();
        }
    }

    private void CheckChange(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        Check(offsetBytes, lengthBytes, operation, cancellationToken);
        if (_file.IsReadOnly)
        {
            throw VhdFault.ReadOnly(_file.Path, offsetBytes, operation);
        }
    }

    private void Check(long offsetBytes, long lengthBytes, string operation, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_isClosed)
        {
            throw VhdFault.Closed(_file.Path);
        }

        new BlockRange(offsetBytes, lengthBytes).CheckWithin(_footer.SizeBytes, _file.Path, operation);
    }
}
