// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>VHDX images (MS-VHDX).</summary>
internal sealed class VhdxDriver : IImageDriver
{
    public ImageFormat Format => ImageFormat.Vhdx;

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
        VhdxNode.Open(file, options, chain);

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        VhdxNode.Open(file, options, chain);

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
        VhdxNode.ReplayLog(file, structure);
        structure.Headers.Update(header => header with { FileWriteGuid = Guid.NewGuid(), DataWriteGuid = dataWriteGuid });
    }

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken) =>
        new VhdxCheck(file, repair).Run(cancellationToken);
}
