// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;

namespace Fleece.Images.Vhd;

/// <summary>The map of a dynamic or differencing VHD image.</summary>
/// <remarks>
/// <para>In a dynamic image a block that is not allocated reads as zeros, and the sector bitmap of one that is does not matter, as in QEMU.
/// In a differencing image each sector comes from the block or from the parent, as its bit says.</para>
/// <para>Threading and ownership as <see cref="IImageMap"/> says. Nothing is ever moved or given back.</para>
/// </remarks>
internal sealed class VhdMap : IVhdMap
{
    private readonly VhdHeader _header;

    private VhdMap(IContainerFile file, VhdFooters footers, VhdHeader header, VhdMetadata metadata)
    {
        DataFile = file;
        _header = header;
        Metadata = metadata;
        UniqueId = footers.Footer.UniqueId;
        SizeBytes = footers.Footer.SizeBytes;
    }

    public ImageFormat Format => ImageFormat.Vhd;

    public Guid UniqueId { get; }

    public long SizeBytes { get; }

    public IContainerFile DataFile { get; }

    public bool HasHoles => true;

    public int RunsPerStatusQuery => VhdLimits.RunsPerStatusQuery;

    public Epochs Epochs { get; } = new();

    public IPackedData? Packed => null;

    public IImageChanges? Changes { get; private init; }

    /// <summary>The tables, for tests.</summary>
    internal VhdMetadata Metadata { get; }

    /// <summary>Opens an image; on failure the file is left to the caller and has not been changed.</summary>
    /// <param name="file">The container, which the node owns from then on.</param>
    /// <param name="footers">Its footers, of a dynamic or differencing image.</param>
    /// <param name="cacheBytes">Budget of the sector bitmaps.</param>
    /// <param name="openParent">Opens the parent by what the header says; null to leave it out.</param>
    /// <param name="growthBytes">By how much the file grows at least; tests take less.</param>
    /// <param name="mustStoreZeroes">As <see cref="ImageOpenOptions.MustStoreZeroes"/>.</param>
    /// <param name="journal">Gets the changes of the tables, for an image that is open for writing; null for none.</param>
    /// <exception cref="BlockException">Corrupt, Truncated, Unsupported; why the parent can't be opened; read errors.</exception>
    public static ImageNode Open(
        IContainerFile file,
        VhdFooters footers,
        long cacheBytes,
        Func<VhdHeader, ParentImage>? openParent,
        long growthBytes = VhdLimits.GrowthBytes,
        bool mustStoreZeroes = false,
        ImageJournal? journal = null)
    {
        if (!file.IsReadOnly && footers.AreContradictory)
        {
            throw FormatFault.Vhd.Corrupt(
                file.Path,
                $"the copy of the footer at the start {footers.CopyProblem}, so it can only be opened read-only; " +
                "Test-FleeceImage -Repair All takes the footer at the end for both",
                0);
        }

        VhdHeader header = VhdHeader.Read(file, footers);
        VhdMetadata metadata = new(file, footers, header, cacheBytes, growthBytes, file.IsReadOnly ? null : journal);
        ParentImage? parent = metadata.IsDifferencing ? openParent?.Invoke(header) : null;
        VhdMap map = new(file, footers, header, metadata)
        {
            Changes = file.IsReadOnly ? null : new VhdChanges(file, header, metadata, parent, mustStoreZeroes),
        };
        return new ImageNode(file, map, parent);
    }

    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous)
    {
        int block = _header.BlockOf(offsetBytes);
        int inBlock = _header.InBlock(offsetBytes);
        uint sector = Metadata.Find(block);
        if (sector == VhdBlockTable.Free)
        {
            int blocks = Metadata.Table.CountFree(block, _header.BlockOf(offsetBytes + lengthBytes - 1) - block + 1);
            long freeEndBytes = ((long)block + Math.Max(1, blocks)) << _header.BlockBits;
            return new MappedRun(
                Metadata.IsDifferencing ? RunKind.Parent : RunKind.Unallocated, Math.Min(lengthBytes, freeEndBytes - offsetBytes));
        }

        int runBytes = (int)Math.Min(lengthBytes, _header.BytesLeftInBlock(offsetBytes));
        long fileBytes = Metadata.DataOffsetBytes(sector) + inBlock;
        if (Metadata.HoldsAll(block))
        {
            return new MappedRun(RunKind.Data, runBytes, fileBytes, Metadata.IsFull(block));
        }

        runBytes = Metadata.FindBitmap(block).CountRunBytes(inBlock, runBytes, out bool isPresent);
        return isPresent ? new MappedRun(RunKind.Data, runBytes, fileBytes, IsWritable: true) : new MappedRun(RunKind.Parent, runBytes);
    }

    public void Dispose()
    {
    }
}
