// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Maps;

namespace Fleece.Images.Vhd;

/// <summary>The map of a fixed VHD image: byte n of the disk is byte n of the file, and a footer follows, which is never touched.</summary>
/// <remarks>Zeroing and discarding free storage where the file system can.</remarks>
internal sealed class FixedVhdMap : IVhdMap, IImageChanges
{
    private readonly VhdFooter _footer;

    /// <param name="file">The image.</param>
    /// <param name="footers">Its footers.</param>
    /// <exception cref="BlockException">Truncated.</exception>
    public FixedVhdMap(IContainerFile file, VhdFooters footers)
    {
        CheckLength(file.Path, footers);
        _footer = footers.Footer;
        DataFile = file;
    }

    public ImageFormat Format => ImageFormat.Vhd;

    public Guid UniqueId => _footer.UniqueId;

    public long SizeBytes => _footer.SizeBytes;

    public IContainerFile DataFile { get; }

    public bool HasHoles => true;

    public int RunsPerStatusQuery => 1;

    public Epochs Epochs { get; } = new();

    public IPackedData? Packed => null;

    public IImageChanges? Changes => DataFile.IsReadOnly ? null : this;

    public StagedWriteBack? WriteBack => null;

    public Poison? Poison => null;

    public bool IsWriteBackDue => false;

    public IUnitDrops? Drops => null;

    public long PunchBytes => VhdLimits.SectorBytes;

    public bool SaysPartialZeroes => false;

    /// <summary>Refuses a file that ends before its disk does.</summary>
    public static void CheckLength(string path, VhdFooters footers)
    {
        if (footers.ContentEndBytes < footers.Footer.SizeBytes)
        {
            throw FormatFault.Vhd.Truncated(
                path,
                $"the footer says that the disk has {footers.Footer.SizeBytes} bytes, and only {footers.ContentEndBytes} stand " +
                "before it");
        }
    }

    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous) =>
        new(RunKind.Data, lengthBytes, offsetBytes, IsWritable: true);

    public void Prepare()
    {
    }

    public void Dispose()
    {
    }

    // All of the disk is data that may be written in place, so the node never asks for these.
    public bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out long doneBytes) => throw new NotSupportedException();

    public bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes) => throw new NotSupportedException();
}
