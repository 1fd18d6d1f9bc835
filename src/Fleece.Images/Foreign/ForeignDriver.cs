// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;

namespace Fleece.Images.Foreign;

/// <summary>A format that Fleece knows by its magic only: the adapter reads it where it is installed.</summary>
/// <param name="format">VMDK or VDI.</param>
/// <param name="findAdapter">The <see cref="IForeignImages"/>, or the exception that says why there is none.</param>
internal sealed class ForeignDriver(ImageFormat format, Func<object> findAdapter) : IImageDriver
{
    // VirtualBox's VDICore.h: VDI_IMAGE_SIGNATURE, behind 64 bytes of text.
    private const int VdiMagicOffsetBytes = 64;
    private const uint VdiMagic = 0xbeda107f;

    public ImageFormat Format => format;

    private string Name => format.ToString().ToUpperInvariant();

    /// <remarks>VMDK, by VMware's Virtual Disk Format 5.0: a sparse extent, an ESX extent, or a descriptor.</remarks>
    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) => format == ImageFormat.Vmdk
        ? head.StartsWith("KDMV"u8) || head.StartsWith("COWD"u8) || head.StartsWith("# Disk DescriptorFile"u8)
        : BinaryPrimitives.ReadUInt32LittleEndian(head[VdiMagicOffsetBytes..]) == VdiMagic;

    /// <remarks>The adapter bounds its tables itself (docs/formats/discutils.md).</remarks>
    public ImageClaims Measure(IContainerFile file) =>
        new(FindAdapter(file).Describe(LocalFileOf(file), format).DiskBytes, TableBytes: 0);

    public long FindEnd(IContainerFile file, UntrustedLimits? limits) => file.GetLength();

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain)
    {
        if (options.SnapshotName is { } snapshot)
        {
            throw Refuse(file, $"has no internal snapshot '{snapshot}' that could be read", "Leave the snapshot out");
        }

        // Whoever lacks the adapter must hear of that first.
        IForeignImages adapter = FindAdapter(file);
        if (!options.IsReadOnly)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"'{file.Path}' is a {Name} image, which Fleece does not write. Open it read-only, or convert it with " +
                "Convert-FleeceImage first.",
                file.Path,
                operation: "open");
        }

        return adapter.Open(LocalFileOf(file), format, path => chain.OpenExtent(file.Path, path)).Node;
    }

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        throw Refuse(file, "can't be the parent of another image", "Convert it with Convert-FleeceImage first");

    public ImageInfo Describe(IContainerFile file, ImageInfo info)
    {
        ForeignDescription image = FindAdapter(file).Describe(LocalFileOf(file), format);
        return info with { Type = image.Type, SizeBytes = image.DiskBytes };
    }

    public void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent) =>
        throw Refuse(file, "can't be created", "Choose another format with -Format");

    public void TakeOverIdentity(IContainerFile file, IContainerFile other) =>
        throw Refuse(file, "can't take another one's place", "Convert it with Convert-FleeceImage first");

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken) =>
        throw Refuse(file, "can't be checked", "Use 'qemu-img check'");

    private LocalFile LocalFileOf(IContainerFile file) => file is LocalContainer local
        ? local.File
        : throw Refuse(file, "can't be read from an export", "Copy it to a file, or convert it with 'qemu-img convert -O qcow2'");

    private BlockException Refuse(IContainerFile file, string what, string instead) => new(
        BlockErrors.Unsupported, $"'{file.Path}' is a {Name} image, which {what}. {instead}.", file.Path);

    private IForeignImages FindAdapter(IContainerFile file)
    {
        object found = findAdapter();
        return found as IForeignImages ?? throw new BlockException(
            BlockErrors.Unsupported,
            $"'{file.Path}' is a {Name} image, which Fleece does not open by itself: the adapter '{ForeignAdapter.ExpectedPath}' " +
            $"would read it, and that can't be loaded: {((Exception)found).Message} Install the adapter, convert the image with " +
            "'qemu-img convert -O qcow2', or, if it is a raw disk that only looks like one, name Raw as its format.",
            file.Path,
            cause: (Exception)found);
    }
}
