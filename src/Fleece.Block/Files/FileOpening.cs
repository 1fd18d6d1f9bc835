// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>How a path becomes an open file of this process alone, and what is undone when it does not.</summary>
/// <remarks>Threading. All calls are safe from any thread. Errors are <see cref="BlockException"/>, as <see cref="LocalFile"/> tells them.
/// </remarks>
internal static class FileOpening
{
    /// <summary>Opens a regular file and takes its locks.</summary>
    public static SafeFileHandle Open(string fullPath, bool isReadOnly)
    {
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
            throw failure.Kind == BlockErrors.InUse
                ? FileErrors.InUse(fullPath, "open", LockHolders.Find(fullPath), exception)
                : failure;
        }

        try
        {
            ImageLocks.Take(handle, fullPath, isReadOnly, "open");
            return handle;
        }
        catch
        {
            handle.Dispose();
            throw;
        }
    }

    /// <summary>Creates an empty file, whose locks are still to be taken.</summary>
    public static FileStream Create(string fullPath, bool deleteOnDispose)
    {
        if (Directory.Exists(fullPath))
        {
            // Windows says "access denied" here, which would send people to look at permissions.
            throw FileErrors.AlreadyExists(fullPath);
        }

        try
        {
            return new FileStream(fullPath, CreationOptions(deleteOnDispose));
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, fullPath, "create");
        }
    }

    /// <summary>Closes and deletes a file that could not be made as it should be.</summary>
    public static void Undo(LocalFile file)
    {
        // Unlinks under the lock where the system can, so that a file that another process creates meanwhile is not hit.
        using LocalFile open = file;
        try
        {
            if (OperatingSystem.IsWindows())
            {
                file.Dispose();
            }

            File.Delete(file.Path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            // The failure that led here says more to the user than this one.
        }
    }

    /// <summary>The full path of a file that a caller names.</summary>
    public static string FullPath(string path, string operation)
    {
        ArgumentNullException.ThrowIfNull(path);
        try
        {
            return Path.GetFullPath(path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, operation);
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

    private static bool IsSpecialFile(string fullPath) => OperatingSystem.IsWindows()
        ? Directory.Exists(fullPath) || fullPath.StartsWith(@"\\.\", StringComparison.Ordinal)
        : PosixStat.IsSpecialFile(fullPath);
}
