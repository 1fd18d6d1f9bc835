// SPDX-License-Identifier: MIT
using DiscUtils;
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
            ImageFormat.Vmdk when ForeignHeaders.IsSparseExtent(file) => OpenSparse(file),
            ImageFormat.Vmdk => OpenDescriptor(file),
            _ => throw new BlockException(BlockErrorKind.Unsupported, $"The adapter does not read the format {format}.", file.Path),
        };
    }

    private static ForeignImage OpenVdi(LocalFile file)
    {
        bool isFixed = ForeignHeaders.CheckVdi(file);
        return new ForeignImage(
            DiscUtilsNode.Open(file, () => new global::DiscUtils.Vdi.Disk(new LocalFileStream(file), Ownership.None), null),
            isFixed ? ImageType.Fixed : ImageType.Dynamic);
    }

    // By its stream and not by its name: then DiscUtils refuses a descriptor inside that leads to other files.
    private static ForeignImage OpenSparse(LocalFile file)
    {
        _ = ForeignHeaders.CheckSparseExtent(file);
        return new ForeignImage(
            DiscUtilsNode.Open(file, () => new global::DiscUtils.Vmdk.Disk(new LocalFileStream(file), Ownership.None), null),
            ImageType.Dynamic);
    }

    private static ForeignImage OpenDescriptor(LocalFile file)
    {
        VmdkDescriptor descriptor = new(file);
        ImageFolder folder = new(file, descriptor);
        VirtualDisk OpenDisk() => new global::DiscUtils.Vmdk.Disk(folder, Path.GetFileName(file.Path), FileAccess.Read);
        return new ForeignImage(
            DiscUtilsNode.Open(file, OpenDisk, folder), descriptor.IsFixed ? ImageType.Fixed : ImageType.Dynamic);
    }
}
