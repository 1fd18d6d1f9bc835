// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <content>How a path becomes an open file, and what is undone when it does not.</content>
public sealed partial class LocalFile
{
    /// <summary>Opens a regular file that exists.</summary>
    /// <param name="path">The file.</param>
    /// <param name="isReadOnly">Reads only, and lets others read; otherwise nobody else may open it.</param>
    /// <param name="isTransient">True for a file that nobody needs any more when the system crashes: nothing makes it durable.</param>
    /// <param name="flushFailed">Hears once of the first flush that fails, on its thread and before it reports; null for none.</param>
    /// <remarks>
    /// What another process, QEMU's too, has open for writing is <see cref="BlockErrorKind.InUse"/> for a reader as well: its
    /// content can't be trusted.
    /// </remarks>
    /// <exception cref="BlockException">NotFound, NotAFile, InUse, PermissionDenied, InvalidArgument, IoFailed.
    /// </exception>
    public static LocalFile Open(
        string path, bool isReadOnly, bool isTransient = false, Action<BlockException>? flushFailed = null)
    {
        string fullPath = FullPath(path, "open");
        if (IsSpecialFile(fullPath))
        {
            throw FileErrors.NotAFile(fullPath);
        }

        FileAccess access = isReadOnly ? FileAccess.Read : FileAccess.ReadWrite;
        FileShare share = isReadOnly ? FileShare.Read : FileShare.None;
        SafeFileHandle handle;
        try
        {
            handle = File.OpenHandle(fullPath, FileMode.Open, access, share);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            BlockException failure = FileErrors.From(exception, fullPath, "open");
            throw failure.Kind == BlockErrorKind.InUse
                ? FileErrors.InUse(fullPath, "open", LockHolders.Find(fullPath), exception)
                : failure;
        }

        try
        {
            ImageLocks.Take(handle, fullPath, isReadOnly, "open");
            return new LocalFile(fullPath, handle, isReadOnly, isTransient: isTransient, flushFailed: flushFailed);
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Creates a sparse file that reads as zeros. A failure leaves nothing behind.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="lengthBytes">Its first length, 0 or more.</param>
    /// <param name="deleteOnDispose">
    /// True for a file that ends with this object; a killed process leaves it behind. Such a file holds what was on
    /// somebody's disk, so on Linux and macOS nobody but its owner may read it.
    /// </param>
    /// <exception cref="BlockException">AlreadyExists, NotFound (the folder), InUse (by who opened it the moment it was
    /// there), PermissionDenied, NoSpace (also for a length that the file system can't hold), InvalidArgument, InvalidRange,
    /// IoFailed.</exception>
    public static LocalFile Create(string path, long lengthBytes, bool deleteOnDispose = false)
    {
        _ = new BlockRange(0, lengthBytes);
        string fullPath = FullPath(path, "create");
        if (Directory.Exists(fullPath))
        {
            // Windows says "access denied" here, which would send people to look at permissions.
            throw FileErrors.AlreadyExists(fullPath);
        }

        LocalFile file;
        try
        {
            FileStream creation = new(fullPath, CreationOptions(deleteOnDispose));
            file = new LocalFile(fullPath, creation.SafeFileHandle, isReadOnly: false, creation);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, fullPath, "create");
        }

        try
        {
            ImageLocks.Take(file.Handle, fullPath, isReadOnly: false, "create");
            file.SetLength(lengthBytes);
            return file;
        }
        catch
        {
            file.Remove();
            throw;
        }
    }

    // A stream is the framework's only way to create a file with its final permissions; one that is narrowed afterwards
    // could be opened by others before. The stream is kept so that its finalizer can't run while the handle is in use.
    private static FileStreamOptions CreationOptions(bool deleteOnDispose)
    {
        FileStreamOptions options = new()
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Share = FileShare.None,
            BufferSize = 0,
            Options = deleteOnDispose ? FileOptions.DeleteOnClose : FileOptions.None,
        };
        if (deleteOnDispose && !OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        return options;
    }

    // Unlinks under the lock where the system can, so that a file somebody else creates meanwhile is not hit.
    private void Remove()
    {
        using LocalFile file = this;
        try
        {
            if (OperatingSystem.IsWindows())
            {
                Dispose();
            }

            File.Delete(Path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            // The failure that led here says more to the user than this one.
        }
    }

    private static bool IsSpecialFile(string fullPath) => OperatingSystem.IsWindows()
        ? Directory.Exists(fullPath) || fullPath.StartsWith(@"\\.\", StringComparison.Ordinal)
        : PosixFile.IsSpecialFile(fullPath);

    private static string FullPath(string path, string operation)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            return System.IO.Path.GetFullPath(path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, operation);
        }
    }
}
