// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;

namespace Fleece.Images.Raw;

/// <summary>Raw images: byte n of the disk is byte n of the file.</summary>
internal sealed class RawDriver : IImageDriver
{
    private const int SectorBytes = 512;

    public ImageFormat Format => ImageFormat.Raw;

    public bool Recognizes(IContainerFile file, ReadOnlySpan<byte> head) => false;

    public ImageClaims Measure(IContainerFile file) => new(file.GetLength(), TableBytes: 0);

    public IBlockNode Open(IContainerFile file, ImageOpenOptions options, ImageChain chain)
    {
        CheckSize(file);
        return FileNode.Over(LocalFileOf(file));
    }

    public IImageLayer OpenLayer(IContainerFile file, ImageOpenOptions options, ImageChain chain) =>
        new RawLayer(LocalFileOf(file));

    public ImageInfo Describe(IContainerFile file, ImageInfo info)
    {
        CheckSize(file);
        return info with { Type = info.AllocatedBytes < info.FileSizeBytes ? ImageType.Dynamic : ImageType.Fixed };
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
    public void TakeOverIdentity(IContainerFile file, IContainerFile other) => CheckSize(file);

    public ImageReport Check(IContainerFile file, ImageRepair repair, CancellationToken cancellationToken)
    {
        CheckSize(file);
        return new ImageReport { Path = file.Path, Format = Format };
    }

    private static LocalFile LocalFileOf(IContainerFile file) => ((LocalContainer)file).File;

    private static BlockException Invalid(IContainerFile file, string what, string instead) => new(
        BlockErrorKind.InvalidArgument,
        $"Cannot create '{file.Path}' with {what}: a raw image has none. {instead}, or choose another format.",
        file.Path);

    private static void CheckSize(IContainerFile file)
    {
        long fileBytes = file.GetLength();
        if (fileBytes == 0)
        {
            throw new BlockException(
                BlockErrorKind.EmptyImage, $"'{file.Path}' is empty: a disk has at least one sector of 512 bytes.", file.Path);
        }

        if (fileBytes % SectorBytes != 0)
        {
            throw new BlockException(
                BlockErrorKind.BadImageSize,
                $"'{file.Path}' has {fileBytes} bytes, which is not a multiple of 512, so it is no raw disk. Name the " +
                "right format with -Format, or cut or extend the file.",
                file.Path);
        }
    }
}
