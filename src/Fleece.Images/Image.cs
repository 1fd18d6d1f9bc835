// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Container;
using Fleece.Images.Qcow2;

namespace Fleece.Images;

/// <summary>Opens, describes and creates image files.</summary>
/// <remarks>
/// <para>Threading. All members are safe from any thread; file work is done on the calling thread.</para>
/// <para>Errors are <see cref="BlockException"/>; a cancelled token is <see cref="OperationCanceledException"/>.
/// Opening never changes a file, and a failed creation leaves none.</para>
/// </remarks>
public static class Image
{
    private const int SectorBytes = 512;

    /// <summary>Opens an image as a block node, which the caller owns.</summary>
    /// <param name="path">The file.</param>
    /// <param name="format">The format, or null to tell it from the content.</param>
    /// <param name="isReadOnly">True to refuse writes and share the file with other readers.</param>
    /// <param name="cancellationToken">Checked before the file is touched.</param>
    /// <exception cref="BlockException">NotFound, NotAFile, InUse, PermissionDenied, EmptyImage, BadImageSize,
    /// Truncated, Corrupt, WrongFormat, AmbiguousFormat, Unsupported, IoFailed.</exception>
    public static ValueTask<(IBlockNode Node, ImageFormat Format)> OpenAsync(
        string path, ImageFormat? format, bool isReadOnly, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(path);
        cancellationToken.ThrowIfCancellationRequested();
        LocalContainer? container = new(LocalFile.Open(path, isReadOnly));
        try
        {
            ImageFormat told = ImageProbe.Tell(container, format);
            IBlockNode node;
            if (told == ImageFormat.Qcow2)
            {
                node = Qcow2Node.Open(container);
                container = null;
            }
            else
            {
                CheckRawSize(container.Path, container.GetLength());
                container.Dispose();
                container = null;
                node = FileNode.Open(path, isReadOnly);
            }

            return new ValueTask<(IBlockNode Node, ImageFormat Format)>((node, told));
        }
        finally
        {
            container?.Dispose();
        }
    }

    /// <summary>Describes an image without changing it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="format">The format, or null to tell it from the content.</param>
    /// <param name="cancellationToken">Checked before the file is touched.</param>
    /// <exception cref="BlockException">As <see cref="OpenAsync"/>.</exception>
    public static ValueTask<ImageInfo> GetInfoAsync(
        string path, ImageFormat? format, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(path);
        cancellationToken.ThrowIfCancellationRequested();
        using LocalContainer container = new(LocalFile.Open(path, isReadOnly: true));
        long fileBytes = container.GetLength();
        ImageFormat told = ImageProbe.Tell(container, format);
        ImageInfo info = new()
        {
            Path = container.Path,
            Format = told,
            SizeBytes = fileBytes,
            FileSizeBytes = fileBytes,
            AllocatedBytes = FileSystemSpace.TryGetAllocatedBytes(container.Path, out long bytes) ? bytes : fileBytes,
        };
        if (told == ImageFormat.Raw)
        {
            CheckRawSize(container.Path, fileBytes);
            return new ValueTask<ImageInfo>(info);
        }

        Qcow2Header header = Qcow2Header.Read(container);
        return new ValueTask<ImageInfo>(info with
        {
            SizeBytes = header.SizeBytes,
            ClusterSizeBytes = header.ClusterBytes,
            FormatVersion = header.Version,
            IsDirty = header.IsDirty,
            IsCorrupt = header.IsCorrupt,
            SnapshotCount = header.SnapshotCount,
        });
    }

    /// <summary>Creates an image that reads as zeros.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="format">Its format.</param>
    /// <param name="sizeBytes">Size of the disk, a multiple of 512 and not 0.</param>
    /// <param name="clusterSizeBytes">For qcow2: a power of two from 512 to 2 MiB, 64 KiB when null.</param>
    /// <param name="cancellationToken">Checked before the file is made.</param>
    /// <exception cref="BlockException">AlreadyExists, NotFound (the folder), EmptyImage, BadImageSize,
    /// InvalidArgument, PermissionDenied, NoSpace, IoFailed.</exception>
    public static ValueTask CreateAsync(
        string path,
        ImageFormat format,
        long sizeBytes,
        int? clusterSizeBytes = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        cancellationToken.ThrowIfCancellationRequested();
        CheckNewSize(path, sizeBytes);
        switch (format)
        {
            case ImageFormat.Raw:
                CheckNoClusters(path, clusterSizeBytes);
                LocalFile.Create(path, sizeBytes).Dispose();
                return default;
            case ImageFormat.Qcow2:
                CreateQcow2(path, new Qcow2Layout(
                    path, sizeBytes, clusterSizeBytes ?? 1 << Qcow2Limits.DefaultClusterBits));
                return default;
            default:
                throw new BlockException(
                    BlockErrorKind.InvalidArgument, $"The format {format} is none that Fleece can create.", path);
        }
    }

    /// <summary>The format a new file gets by its name's extension.</summary>
    /// <exception cref="BlockException">Unsupported: the extension names a format Fleece does not write.</exception>
    public static ImageFormat FormatForNewFile(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        string extension = System.IO.Path.GetExtension(path);
        return extension.ToUpperInvariant() switch
        {
            ".QCOW2" or ".QCOW" => ImageFormat.Qcow2,
            ".VHD" or ".VHDX" or ".VMDK" or ".VDI" => throw new BlockException(
                BlockErrorKind.Unsupported,
                $"Fleece does not write {extension[1..].ToUpperInvariant()} images. Give '{path}' the extension " +
                ".qcow2 or .raw, or name the format with -Format.",
                path),
            _ => ImageFormat.Raw,
        };
    }

    private static void CreateQcow2(string path, Qcow2Layout layout)
    {
        LocalFile file = LocalFile.Create(path, 0);
        try
        {
            using LocalContainer container = new(file);
            layout.WriteTo(container);
        }
        catch (BlockException)
        {
            RemoveFailed(file.Path);
            throw;
        }
    }

    // The error under way matters more than one of removing the useless file.
    private static void RemoveFailed(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return;
        }
    }

    private static void CheckRawSize(string path, long fileBytes)
    {
        if (fileBytes == 0)
        {
            throw new BlockException(
                BlockErrorKind.EmptyImage, $"'{path}' is empty: a disk has at least one sector of 512 bytes.", path);
        }

        if (fileBytes % SectorBytes != 0)
        {
            throw new BlockException(
                BlockErrorKind.BadImageSize,
                $"'{path}' has {fileBytes} bytes, which is not a multiple of 512, so it is no raw disk. Name the " +
                "right format with -Format, or cut or extend the file.",
                path);
        }
    }

    private static void CheckNewSize(string path, long sizeBytes)
    {
        if (sizeBytes == 0)
        {
            throw new BlockException(
                BlockErrorKind.EmptyImage,
                $"Cannot create '{path}' with 0 bytes: a disk has at least one sector.",
                path);
        }

        if (sizeBytes < 0 || sizeBytes % SectorBytes != 0)
        {
            throw new BlockException(
                BlockErrorKind.BadImageSize,
                $"Cannot create '{path}' with {sizeBytes} bytes: the size must be a positive multiple of 512.",
                path);
        }
    }

    private static void CheckNoClusters(string path, int? clusterSizeBytes)
    {
        if (clusterSizeBytes is not null)
        {
            throw new BlockException(
                BlockErrorKind.InvalidArgument,
                $"Cannot create '{path}' with clusters of {clusterSizeBytes} bytes: a raw image has none. Leave the " +
                "size out, or choose qcow2.",
                path);
        }
    }
}
