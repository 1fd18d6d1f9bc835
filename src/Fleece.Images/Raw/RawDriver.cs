// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;

namespace Fleece.Images.Raw;

/// <summary>Raw images: byte n of the disk is byte n of the file. The disk has whole sectors: the file's length, rounded up.</summary>
internal sealed class RawDriver : IImageDriver
{
    /// <summary>The unit of a disk's size, as QEMU rounds it too.</summary>
    public const int SectorBytes = 512;

    public ImageFormat Format => ImageFormat.Raw;

    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) => false;

    public ImageClaims Measure(IContainerFile file) => new(file.GetLength(), TableBytes: 0);

    public long FindEnd(IContainerFile file, UntrustedLimits? limits) => file.GetLength();

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain)
    {
        CheckIsNotEmpty(file);
        return FileNode.Over(LocalFileOf(file), SectorBytes);
    }

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        new RawLayer(LocalFileOf(file));

    public ImageInfo Describe(IContainerFile file, ImageInfo info)
    {
        CheckIsNotEmpty(file);
        return info with
        {
            Type = info.AllocatedBytes < info.FileSizeBytes ? ImageType.Dynamic : ImageType.Fixed,
            SizeBytes = BlockRange.RoundUp(info.FileSizeBytes, SectorBytes),
        };
    }

    public void Create(IContainerFile file, ImageCreateOptions options, ParentImage? parent)
    {
        if (options.BlockSizeBytes is { } blockBytes)
        {
            throw Invalid(file, $"blocks of {blockBytes} bytes", "Leave the size out");
        }

        if (parent is not null)
        {
            throw Invalid(file, $"the parent '{parent.Layer.Path}'", "Leave the parent out");
        }

        file.SetLength(options.SizeBytes!.Value);
        file.Flush();
    }

    // A child knows it by its name.
    public void TakeOverIdentity(IContainerFile file, IContainerFile other) => CheckIsNotEmpty(file);

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken)
    {
        CheckIsNotEmpty(file);
        return new ImageReport { Path = file.Path, Format = Format };
    }

    private static LocalFile LocalFileOf(IContainerFile file) => ((LocalContainer)file).File;

    private static BlockException Invalid(IContainerFile file, string what, string instead) => new(
        BlockErrors.InvalidArgument,
        $"Cannot create '{file.Path}' with {what}: a raw image has none. {instead}, or choose another format.",
        file.Path);

    private static void CheckIsNotEmpty(IContainerFile file)
    {
        if (file.GetLength() == 0)
        {
            throw new BlockException(
                ImageErrors.EmptyImage, $"'{file.Path}' is empty: a disk has at least one byte.", file.Path);
        }
    }
}
