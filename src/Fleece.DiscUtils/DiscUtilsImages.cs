// SPDX-License-Identifier: MIT
using DiscUtils.Streams;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Images.Foreign;

namespace Fleece.DiscUtils;

/// <summary>Reads VMDK and VDI images with DiscUtils.</summary>
/// <remarks>Threading. No state; safe from any thread.</remarks>
internal sealed class DiscUtilsImages : IForeignImages
{
    /// <inheritdoc/>
    public ForeignImage Open(LocalFile file, ImageFormat format, Func<string, LocalFile> openNamed)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(openNamed);
        return format switch
        {
            ImageFormat.Vdi => OpenVdi(file),
            ImageFormat.Vmdk when SparseExtent.IsAt(file) => OpenSparse(file),
            ImageFormat.Vmdk => OpenDescriptor(file, openNamed),
            _ => throw Unknown(file, format),
        };
    }

    /// <inheritdoc/>
    public ForeignDescription Describe(LocalFile file, ImageFormat format)
    {
        ArgumentNullException.ThrowIfNull(file);
        switch (format)
        {
            case ImageFormat.Vdi:
                VdiHeader header = new(file);
                return new ForeignDescription(header.DiskBytes, TypeOf(header));
            case ImageFormat.Vmdk when SparseExtent.IsAt(file):
                return new ForeignDescription(ReadSparse(file).CapacitySectors * ImageHeader.SectorBytes, ImageType.Dynamic);
            case ImageFormat.Vmdk:
                VmdkDescriptor descriptor = new(file);
                return new ForeignDescription(descriptor.Extents.Sum(extent => extent.LengthBytes), TypeOf(descriptor));
            default:
                throw Unknown(file, format);
        }
    }

    private static BlockException Unknown(LocalFile file, ImageFormat format) =>
        new(BlockErrors.Unsupported, $"The adapter does not read the format {format}.", file.Path);

    private static ImageType TypeOf(VdiHeader header) => header.IsFixed ? ImageType.Fixed : ImageType.Dynamic;

    private static ImageType TypeOf(VmdkDescriptor descriptor) =>
        descriptor.Extents.All(extent => extent.IsFlat) ? ImageType.Fixed : ImageType.Dynamic;

    private static ForeignImage OpenVdi(LocalFile file)
    {
        VdiHeader header = new(file);
        DiscUtilsNode node = DiscUtilsNode.Open(
            file,
            () => new global::DiscUtils.Vdi.Disk(new LocalFileStream(file), Ownership.None),
            [new DiskPart(new BlockRange(0, header.DiskBytes), BlockStatus.Data, header.Table)]);
        return new ForeignImage(node, TypeOf(header));
    }

    // By its stream and not by its name: then DiscUtils refuses a descriptor inside that leads to other files.
    private static ForeignImage OpenSparse(LocalFile file)
    {
        SparseExtent extent = ReadSparse(file);
        DiscUtilsNode node = DiscUtilsNode.Open(
            file,
            () => new global::DiscUtils.Vmdk.Disk(new LocalFileStream(file), Ownership.None),
            [new DiskPart(new BlockRange(0, extent.CapacitySectors * ImageHeader.SectorBytes), BlockStatus.Data, extent.Tables)]);
        return new ForeignImage(node, ImageType.Dynamic);
    }

    private static SparseExtent ReadSparse(LocalFile file)
    {
        SparseExtent extent = new(file);
        return extent.HasDescriptor ? extent : throw new BlockException(
            BlockErrors.Unsupported,
            $"'{file.Path}' is one extent of a VMDK image. Open the image by its descriptor.",
            file.Path);
    }

    private static ForeignImage OpenDescriptor(LocalFile file, Func<string, LocalFile> openNamed)
    {
        VmdkDescriptor descriptor = new(file);
        ImageFolder folder = new(file, descriptor, openNamed);
        DiscUtilsNode node = DiscUtilsNode.Open(
            file,
            () => new global::DiscUtils.Vmdk.Disk(folder, Path.GetFileName(file.Path), FileAccess.Read),
            folder.Parts,
            folder);
        return new ForeignImage(node, TypeOf(descriptor));
    }
}
