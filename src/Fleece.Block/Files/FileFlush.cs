// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Makes files durable, and fails where the system says that it could not.</summary>
/// <remarks>
/// <para>The framework's own calls (<see cref="RandomAccess.FlushToDisk"/>, <see cref="FileStream.Flush(bool)"/>) do not: on Linux and
/// macOS .NET 10 takes the answer of its native wrapper for a success whatever it is.</para>
/// <para>Threading. All calls are safe from any thread. Errors are <see cref="BlockException"/>; <see cref="ObjectDisposedException"/> for
/// a handle that is closed.</para>
/// </remarks>
internal static class FileFlush
{
    /// <summary>Makes the file's data durable, and all that it takes to read it back: its length and where its blocks are.</summary>
    /// <remarks>
    /// On Linux that is fdatasync(2), which leaves out the file's times. They change with every write, so fsync(2) would pay a commit of
    /// the file system's journal for each flush of a guest that only overwrites.
    /// </remarks>
    public static void Data(SafeFileHandle handle, string path) => ThrowIfFailed(
        OperatingSystem.IsWindows() ? WindowsFile.Flush(handle)
            : OperatingSystem.IsLinux() ? PosixFlush.FlushData(handle)
            : PosixFlush.Flush(handle),
        path);

    /// <summary>As <see cref="Data"/>, and the file's times too.</summary>
    public static void All(SafeFileHandle handle, string path) =>
        ThrowIfFailed(OperatingSystem.IsWindows() ? WindowsFile.Flush(handle) : PosixFlush.Flush(handle), path);

    /// <summary>Makes the names in the folder that holds a path durable. Windows journals names by itself.</summary>
    /// <remarks>
    /// A folder that this user may not list can't be flushed, and some file systems have no flush for folders (EINVAL, ENOTSUP). There the
    /// name is stored in the system's own time.
    /// </remarks>
    public static void Folder(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        using SafeFileHandle? handle = PosixFlush.OpenUnlocked(folder, out int errno);
        if (handle is null)
        {
            if (FileErrors.FromCode(errno, folder, "flush") is { Kind: not BlockErrors.PermissionDenied } failure)
            {
                throw failure;
            }

            return;
        }

        errno = PosixFlush.Flush(handle);
        if (!PosixFlush.IsNoSuchFlush(errno))
        {
            ThrowIfFailed(errno, folder);
        }
    }

    /// <summary>Makes a closed file durable, with its times.</summary>
    public static void Closed(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
            All(file, path);
            return;
        }

        using SafeFileHandle? handle = PosixFlush.OpenUnlocked(path, out int errno);
        if (handle is null)
        {
            throw FileErrors.FromCode(errno, path, "flush");
        }

        All(handle, path);
    }

    private static void ThrowIfFailed(int code, string path)
    {
        if (code != 0)
        {
            throw FileErrors.FromCode(code, path, "flush");
        }
    }
}
