// SPDX-License-Identifier: MIT
using Fleece.Block;
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
internal sealed class FixedVhdNode : ImageNode, IVhdLayer
{
    private readonly IContainerFile _file;
    private readonly VhdFooter _footer;

    private FixedVhdNode(IContainerFile file, VhdFooter footer)
        : base(file, ImageFormat.Vhd, footer.SizeBytes, parent: null, mostRunsPerStatus: 1)
    {
        _file = file;
        _footer = footer;
    }

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

    public override void Read(long offsetBytes, Span<byte> buffer) => _file.Read(offsetBytes, buffer);

    public override void ReadAhead(long offsetBytes, long lengthBytes) => _file.ReadAhead(offsetBytes, lengthBytes);

    public override ValueTask WriteAsync(
        long offsetBytes, ReadOnlyMemory<byte> data, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, data.Length, "write", cancellationToken);
        _file.Write(offsetBytes, data.Span);
        FlushIfForced(flags);
        return default;
    }

    public override ValueTask WriteZeroesAsync(
        long offsetBytes, long lengthBytes, WriteFlags flags, CancellationToken cancellationToken)
    {
        CheckChange(offsetBytes, lengthBytes, "write zeros to", cancellationToken);
        _file.Zero(offsetBytes, lengthBytes);
        FlushIfForced(flags);
        return default;
    }

    public override ValueTask DiscardAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken)
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

    public override ValueTask FlushAsync(CancellationToken cancellationToken)
    {
        Check(0, 0, "flush", cancellationToken);
        if (!_file.IsReadOnly)
        {
            _file.Flush();
        }

        return default;
    }

    public override DepthRun GetDepth(long offsetBytes, long lengthBytes) => new(1, lengthBytes);

    protected override BlockStatusRun GetRun(long offsetBytes, long lengthBytes) =>
        VhdExtents.Find(_file, new BlockRange(offsetBytes, lengthBytes));

    protected override void Close()
    {
    }

    private void FlushIfForced(WriteFlags flags)
    {
        if ((flags & WriteFlags.ForceUnitAccess) != 0)
        {
            _file.Flush();
        }
    }
}
