// SPDX-License-Identifier: MIT
using DiscUtils.Streams;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Images.Foreign;

namespace Fleece.DiscUtils;

/// <summary>Reads VMDK and VDI images with DiscUtils.</summary>
/// <remarks>Threading. No state; safe from any thread.</remarks>
public sealed class DiscUtilsImages : IForeignImages
{
    /// <inheritdoc/>
    public ForeignImage Open(LocalFile file, ImageFormat format)
    {
        ArgumentNullException.ThrowIfNull(file);
        return format switch
        {
            ImageFormat.Vdi => OpenVdi(file),
            ImageFormat.Vmdk when SparseExtent.IsAt(file) => OpenSparse(file),
            ImageFormat.Vmdk => OpenDescriptor(file),
            _ => throw new BlockException(BlockErrorKind.Unsupported, $"The adapter does not read the format {format}.", file.Path),
        };
    }

    private static ForeignImage OpenVdi(LocalFile file)
    {
        VdiHeader header = new(file);
        DiscUtilsNode node = DiscUtilsNode.Open(
            file,
            () => new global::DiscUtils.Vdi.Disk(new LocalFileStream(file), Ownership.None),
            [new DiskPart(new BlockRange(0, header.DiskBytes), BlockStatus.Data, header.Table)]);
        return new ForeignImage(node, header.IsFixed ? ImageType.Fixed : ImageType.Dynamic);
    }

    // By its stream and not by its name: then DiscUtils refuses a descriptor inside that leads to other files.
    private static ForeignImage OpenSparse(LocalFile file)
    {
        SparseExtent extent = new(file);
        if (!extent.HasDescriptor)
        {
            throw new BlockException(
                BlockErrorKind.Unsupported,
                $"'{file.Path}' is one extent of a VMDK image. Open the image by its descriptor.",
                file.Path);
        }

        DiscUtilsNode node = DiscUtilsNode.Open(
            file,
            () => new global::DiscUtils.Vmdk.Disk(new LocalFileStream(file), Ownership.None),
            [new DiskPart(new BlockRange(0, extent.CapacitySectors * ImageHeader.SectorBytes), BlockStatus.Data, extent.Tables)]);
        return new ForeignImage(node, ImageType.Dynamic);
    }

    private static ForeignImage OpenDescriptor(LocalFile file)
    {
        VmdkDescriptor descriptor = new(file);
        ImageFolder folder = new(file, descriptor);
        DiscUtilsNode node = DiscUtilsNode.Open(
            file,
            () => new global::DiscUtils.Vmdk.Disk(folder, Path.GetFileName(file.Path), FileAccess.Read),
            folder.Parts,
            folder);
        return new ForeignImage(node, descriptor.Extents.All(extent => extent.IsFlat) ? ImageType.Fixed : ImageType.Dynamic);
    }
}
