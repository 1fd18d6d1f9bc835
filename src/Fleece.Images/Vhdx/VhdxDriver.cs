// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Vhdx.Blocks;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>VHDX images (MS-VHDX).</summary>
internal sealed class VhdxDriver : IImageDriver
{
    public ImageFormat Format => ImageFormat.Vhdx;

    public INoteReplay Replay { get; } = new VhdxReplay();

    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) =>
        BinaryPrimitives.ReadUInt64LittleEndian(head) == VhdxFormat.FileSignature;

    /// <remarks>The BAT is read in pages, and held whole only while one that may be written to is scanned.</remarks>
    public ImageClaims Measure(IContainerFile file)
    {
        VhdxStructure structure = VhdxStructure.Read(file);
        return new ImageClaims(
            structure.Metadata.SizeBytes, Math.Min(structure.Metadata.BatEntryCount * sizeof(ulong), VhdxLimits.ScannedBatBytes));
    }

    public long FindEnd(IContainerFile file, UntrustedLimits? limits) => VhdxEnd.Find(file);

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        OpenAny(file, options, chain);

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        OpenAny(file, options, chain);

    public ImageInfo Describe(IContainerFile file, ImageInfo info)
    {
        VhdxStructure structure = VhdxStructure.Read(file);
        VhdxMetadata metadata = structure.Metadata;
        IReadOnlyList<string> parents = metadata.Locator?.Candidates(file.Path) ?? [];
        List<string> features = [];
        if (metadata.IsFixed)
        {
            features.Add("LeaveBlocksAllocated");
        }

        if (metadata.HasParent)
        {
            features.Add("HasParent");
        }

        return info with
        {
            Type = metadata.Type,
            SizeBytes = metadata.SizeBytes,
            BlockSizeBytes = metadata.BlockBytes,
            LogicalSectorSizeBytes = metadata.SectorBytes,
            FormatVersion = VhdxHeader.Version,
            DiskIdentifier = metadata.DiskId,
            ParentPath = ImageHome.Choose(file.Path, parents),
            ParentFormat = metadata.HasParent ? ImageFormat.Vhdx : null,
            IsDirty = structure.Headers.Current.LogGuid != Guid.Empty,
            Features = features,
        };
    }

    public void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent) =>
        new VhdxLayout(file.Path, options, parent).WriteTo(file);

    public void TakeOverIdentity(IContainerFile file, IContainerFile other)
    {
        Guid dataWriteGuid = VhdxStructure.Read(other).Headers.Current.DataWriteGuid;
        VhdxStructure structure = VhdxStructure.Read(file);
        structure.ReplayLog();
        structure.Headers.Update(header => header with { FileWriteGuid = Guid.NewGuid(), DataWriteGuid = dataWriteGuid });
    }

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken) =>
        new VhdxCheck(file, repair).Run(cancellationToken);

    // Opening changes nothing in the file but for a log that waits to be replayed.
    private static ImageNode OpenAny(IContainerFile file, ImageOpenOptions options, ImageChain chain)
    {
        if (options.SnapshotName is not null)
        {
            throw FormatFault.Vhdx.Unsupported(file.Path, $"it has no internal snapshots, so none is called '{options.SnapshotName}'");
        }

        VhdxStructure structure = VhdxStructure.Read(file);
        if (!file.IsReadOnly && !structure.Headers.Current.HasLog)
        {
            throw FormatFault.Vhdx.Unsupported(
                file.Path,
                "its header's log_length is 0, and a change of its tables needs a log. Open it read-only, or convert it with " +
                "Convert-FleeceImage and use the copy");
        }

        BatScan? scan = file.IsReadOnly ? null : ScanBeforeWriting(file, structure);
        ParentImage? parent = structure.Metadata.Locator is { } locator && !options.IsLayerOnly
            ? OpenParent(file.Path, locator, chain)
            : null;
        try
        {
            if (!file.IsReadOnly)
            {
                structure.ReplayLog();
            }

            IContainerFile view = file.IsReadOnly && structure.Replayed is { } replayed ? replayed : file;
            return new ImageNode(file, new VhdxMap(view, structure, options, scan, parent, chain.Journal?.Kept), parent);
        }
        catch
        {
            parent?.Dispose();
            throw;
        }
    }

    // A damaged image is never written to, so its BAT is looked at before; a very large one only where it is used.
    private static BatScan? ScanBeforeWriting(IContainerFile file, VhdxStructure structure) =>
        structure.Metadata.BatEntryCount * sizeof(ulong) <= VhdxLimits.ScannedBatBytes
            ? new BatScan(structure.Replayed ?? file, structure, fault => throw fault)
            : null;

    private static ParentImage OpenParent(string path, ParentLocator locator, ImageChain chain) =>
        chain.OpenParent(path, locator.Candidates(path), ImageFormat.Vhdx, parent => FindMismatch(path, locator, parent));

    private static BlockException? FindMismatch(string path, ParentLocator locator, IContainerFile parent)
    {
        Guid guid = VhdxStructure.ReadHeaders(parent).Current.DataWriteGuid;
        return locator.Means(guid) ? null : new BlockException(
            ImageErrors.Corrupt,
            $"The parent '{parent.Path}' of '{path}' was changed after the child was made: its data_write_guid is {{{guid}}}, the " +
            $"child's parent_linkage is {locator.Linkage}. The child's content means nothing over it; restore the parent as it was.",
            path,
            operation: "open");
    }
}
