// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>What a file system has to spare, and what a file takes of it.</summary>
/// <remarks>Threading. Both calls are safe from any thread. They look at a path, so they open and lock nothing.</remarks>
public static class FileSystemSpace
{
    /// <summary>Bytes that this user may still store on the file system that holds the path.</summary>
    /// <param name="path">A file or folder; the file itself need not exist, its folder must.</param>
    /// <param name="freeBytes">The answer, a snapshot that other writers outdate.</param>
    /// <returns>False when the system can't tell.</returns>
    public static bool TryGetFreeSpaceBytes(string path, out long freeBytes)
    {
        freeBytes = 0;
        try
        {
            string fullPath = Path.GetFullPath(path);
            string folder = Directory.Exists(fullPath) ? fullPath : Path.GetDirectoryName(fullPath) ?? fullPath;
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
    /// <returns>False when there is no such file or the system can't tell.</returns>
    public static bool TryGetAllocatedBytes(string path, out long allocatedBytes) =>
        OperatingSystem.IsWindows()
            ? WindowsFile.TryGetAllocatedBytes(path, out allocatedBytes)
            : PosixFile.TryGetAllocatedBytes(path, out allocatedBytes);
}
