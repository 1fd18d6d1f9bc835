// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>What a file system has to spare, and what a file takes of it.</summary>
/// <remarks>Threading. Both calls are safe from any thread. They look at a path and open nothing.</remarks>
internal static class FileSystemSpace
{
    /// <summary>
    /// Asks for the bytes that this user may still store on the file system that holds a path, or will hold it: the
    /// nearest folder above that exists answers for a path that does not.
    /// </summary>
    /// <param name="path">A file or folder.</param>
    /// <param name="freeBytes">The answer, which other writers outdate; 0 when there is none.</param>
    /// <returns>False when the system does not tell, which is no reason to refuse work.</returns>
    public static bool TryGetFreeBytes(string path, out long freeBytes)
    {
        ArgumentNullException.ThrowIfNull(path);
        freeBytes = 0;
        try
        {
            string? folder = Path.GetFullPath(path);
            while (folder is not null && !Directory.Exists(folder))
            {
                folder = Path.GetDirectoryName(folder);
            }

            if (folder is null)
            {
                return false;
            }

            if (OperatingSystem.IsWindows())
            {
                // DriveInfo takes only drive letters there, and a temp may well lie on a share or a mounted folder.
                return WindowsFile.TryGetFreeBytes(folder, out freeBytes);
            }

            freeBytes = new DriveInfo(folder).AvailableFreeSpace;
            return true;
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            return false;
        }
    }

    /// <summary>Bytes of storage that a file takes; less than its size when it has holes.</summary>
    /// <param name="path">The file.</param>
    /// <param name="allocatedBytes">The answer, or 0.</param>
    /// <returns>False when there is no such file or the system can't tell.</returns>
    public static bool TryGetAllocatedBytes(string path, out long allocatedBytes)
    {
        ArgumentNullException.ThrowIfNull(path);
        return OperatingSystem.IsWindows()
            ? WindowsFile.TryGetAllocatedBytes(path, out allocatedBytes)
            : PosixStat.TryGetAllocatedBytes(path, out allocatedBytes);
    }
}
