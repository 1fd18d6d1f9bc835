// SPDX-License-Identifier: MIT
using DiscUtils;
using DiscUtils.Streams;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.DiscUtils;

/// <summary>The files of one image, as DiscUtils asks for them: the one a user named and those beside it.</summary>
/// <remarks>
/// <para>Every name comes from a descriptor, so it names a file of the same folder or nothing: whoever wrote the descriptor
/// must not choose among all files of the machine.</para>
/// <para>Threading. One thread opens an image. Ownership. It owns those beside, until <see cref="CloseFiles"/>.</para>
/// </remarks>
internal sealed class ImageFolder(LocalFile image, VmdkDescriptor descriptor)
    : NativeFileSystem(Path.GetDirectoryName(image.Path)!, readOnly: true)
{
    private readonly List<LocalFile> _opened = [];

    public override SparseStream OpenFile(string path, FileMode mode, FileAccess access)
    {
        if (path == Path.GetFileName(image.Path))
        {
            return SparseStream.FromStream(new LocalFileStream(image), Ownership.None);
        }

        if (path.AsSpan().IndexOfAny('/', '\\', ':') >= 0)
        {
            throw new BlockException(
                BlockErrorKind.Unsupported,
                $"'{image.Path}' has its data in '{path}', and only files of its own folder are read. Put them together, and write the " +
                "names without folders into the descriptor.",
                image.Path);
        }

        LocalFile file = LocalFile.Open(Path.Combine(BasePath, path), isReadOnly: true);
        _opened.Add(file);
        descriptor.CheckExtent(path, file);
        return SparseStream.FromStream(new LocalFileStream(file), Ownership.None);
    }

    /// <summary>Closes the files beside the image. Idempotent.</summary>
    public void CloseFiles()
    {
        foreach (LocalFile file in _opened)
        {
            file.Dispose();
        }
    }
}
