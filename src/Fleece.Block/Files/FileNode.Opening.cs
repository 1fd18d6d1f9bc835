// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <content>How a file becomes a node.</content>
public sealed partial class FileNode
{
    /// <summary>Opens an existing file; its present length is the node's.</summary>
    /// <param name="path">The file; a relative path starts at the process's folder.</param>
    /// <param name="isReadOnly">True to refuse writes and share the file with other readers.</param>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.NotFound"/>, <see cref="BlockErrorKind.NotAFile"/>,
    /// <see cref="BlockErrorKind.InUse"/>, <see cref="BlockErrorKind.PermissionDenied"/>,
    /// <see cref="BlockErrorKind.InvalidArgument"/>, <see cref="BlockErrorKind.IoFailed"/>.</exception>
    public static FileNode Open(string path, bool isReadOnly = false)
    {
        ArgumentNullException.ThrowIfNull(path);
        SafeFileHandle? handle = null;
        try
        {
            string fullPath = System.IO.Path.GetFullPath(path);
            if (OperatingSystem.IsWindows() ? Directory.Exists(fullPath) : PosixFile.IsSpecialFile(fullPath))
            {
                throw FileErrors.NotAFile(fullPath);
            }

            handle = File.OpenHandle(
                fullPath,
                FileMode.Open,
                isReadOnly ? FileAccess.Read : FileAccess.ReadWrite,
                isReadOnly ? FileShare.Read : FileShare.None);
            return new FileNode(handle, fullPath, RandomAccess.GetLength(handle), isReadOnly);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            handle?.Dispose();
            throw FileErrors.From(exception, path, "open");
        }
    }

    /// <summary>Creates a file that holds one hole of the given length. When it fails, no file stays behind.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="lengthBytes">Size of the disk, at least 0.</param>
    /// <param name="deleteOnDispose">
    /// True for a file that ends with the node. It may hold what its owner has overwritten on the disk, so on Linux and
    /// macOS only the owner may read it. A killed process leaves it behind.
    /// </param>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.AlreadyExists"/>,
    /// <see cref="BlockErrorKind.NotFound"/> for a missing folder, <see cref="BlockErrorKind.PermissionDenied"/>,
    /// <see cref="BlockErrorKind.NoSpace"/>, also for a length the file system can't hold,
    /// <see cref="BlockErrorKind.InvalidArgument"/>, <see cref="BlockErrorKind.IoFailed"/>.</exception>
    public static FileNode Create(string path, long lengthBytes, bool deleteOnDispose = false)
    {
        ArgumentNullException.ThrowIfNull(path);
        _ = new BlockRange(0, lengthBytes);
        string fullPath = path;
        FileStream? creation = null;
        try
        {
            fullPath = System.IO.Path.GetFullPath(path);
            creation = new FileStream(fullPath, CreationOptions(isPrivate: deleteOnDispose));

            // Windows fills the gap of a file that is not yet sparse, so the mark comes before the length.
            FileNode node = new(creation.SafeFileHandle, fullPath, lengthBytes, isReadOnly: false, creation);
            RandomAccess.SetLength(creation.SafeFileHandle, lengthBytes);
            return node;
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            if (creation is not null)
            {
                creation.Dispose();
                RemoveQuietly(fullPath);
            }
            else if (OperatingSystem.IsWindows() && exception is UnauthorizedAccessException
                && System.IO.Path.Exists(fullPath))
            {
                // Windows denies access when a folder has the name.
                throw FileErrors.AlreadyExists(fullPath, exception);
            }

            throw FileErrors.From(exception, fullPath, "create");
        }
    }

    // A stream is the framework's only way to create a file with its final permissions. The node keeps it, so that its
    // finalizer can't run while the handle is in use.
    private static FileStreamOptions CreationOptions(bool isPrivate)
    {
        FileStreamOptions options = new()
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Share = FileShare.None,
            BufferSize = 0,
            Options = isPrivate ? FileOptions.DeleteOnClose : FileOptions.None,
        };
        if (isPrivate && !OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return options;
    }

    private static void RemoveQuietly(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            // The failure that led here says more to the user than this one.
        }
    }
}
