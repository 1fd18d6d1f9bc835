// SPDX-License-Identifier: MIT
using DiscUtils;
using DiscUtils.Streams;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.DiscUtils;

/// <summary>The files of one image, as DiscUtils asks for them: the one a user named and those that its descriptor names.</summary>
/// <remarks>
/// <para>A name is one of the same folder, and the caller opens the file and judges where a link there leads: a descriptor must not choose
/// among all files of the machine. All are opened and checked at once, each one time.</para>
/// <para>Threading. One thread opens an image. Ownership. It owns the files beside the image, until <see cref="CloseFiles"/>.</para>
/// </remarks>
internal sealed class ImageFolder : NativeFileSystem
{
    private readonly Dictionary<string, LocalFile> _files = [];
    private readonly List<DiskPart> _parts = [];
    private readonly LocalFile _image;
    private readonly Func<string, LocalFile> _openNamed;

    /// <summary>Opens and checks the files.</summary>
    /// <param name="image">The descriptor.</param>
    /// <param name="descriptor">Its content.</param>
    /// <param name="openNamed">Opens a file that the descriptor names, by its full path, or refuses it.</param>
    /// <exception cref="BlockException">Corrupt, Unsupported; errors of opening and reading.</exception>
    public ImageFolder(LocalFile image, VmdkDescriptor descriptor, Func<string, LocalFile> openNamed)
        : base(Path.GetDirectoryName(image.Path)!, readOnly: true)
    {
        _image = image;
        _openNamed = openNamed;
        try
        {
            long offsetBytes = 0;
            foreach (VmdkExtent extent in descriptor.Extents)
            {
                _parts.Add(Check(extent, new BlockRange(offsetBytes, extent.LengthBytes)));
                offsetBytes += extent.LengthBytes;
            }
        }
        catch
        {
            CloseFiles();
            throw;
        }
    }

    /// <summary>The extents of the disk, in its order.</summary>
    public IReadOnlyList<DiskPart> Parts => _parts;

    public override SparseStream OpenFile(string path, FileMode mode, FileAccess access)
    {
        LocalFile file = path == Path.GetFileName(_image.Path) ? _image
            : _files.TryGetValue(path, out LocalFile? found) ? found
            : throw new BlockException(ImageErrors.Corrupt, $"'{_image.Path}' does not name '{path}' as an extent.", _image.Path);
        return SparseStream.FromStream(new LocalFileStream(file), Ownership.None);
    }

    /// <summary>Closes the files beside the image. Idempotent.</summary>
    public void CloseFiles()
    {
        foreach (LocalFile file in _files.Values)
        {
            file.Dispose();
        }
    }

    private DiskPart Check(VmdkExtent extent, BlockRange range)
    {
        if (extent.IsZero)
        {
            return new DiskPart(range, BlockStatus.Unallocated, null);
        }

        if (extent.Name.AsSpan().IndexOfAny('/', '\\', ':') >= 0)
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"'{_image.Path}' has its data in '{extent.Name}', and only files of its own folder are read. Put them together, and " +
                "write the names without folders into the descriptor.",
                _image.Path);
        }

        if (!_files.TryGetValue(extent.Name, out LocalFile? file))
        {
            file = _openNamed(Path.Combine(BasePath, extent.Name));
            _files.Add(extent.Name, file);
        }

        SparseExtent? sparse = extent.IsSparse ? new SparseExtent(file) : null;
        if (sparse is { Tables.IsCompressed: true })
        {
            throw new BlockException(
                BlockErrors.Unsupported,
                $"'{_image.Path}' has the compressed extent '{extent.Name}'; only images that are one file are read compressed.",
                file.Path);
        }

        long foundBytes = sparse is null ? file.LengthBytes : sparse.CapacitySectors * ImageHeader.SectorBytes;
        return foundBytes == extent.LengthBytes ? new DiskPart(range, BlockStatus.Data, sparse?.Tables) : throw new BlockException(
            ImageErrors.Corrupt,
            $"'{_image.Path}' says that '{extent.Name}' holds {extent.LengthBytes} bytes, and it holds {foundBytes}. Restore both from a " +
            "copy.",
            file.Path);
    }
}
