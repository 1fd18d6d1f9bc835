// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>Removes files that a process which was killed has left behind.</summary>
/// <remarks>
/// <para>Such a file has no lock any more. It is opened and locked first, and its name is taken away only while it still leads to the
/// file that is locked: neither a file that another process begins to use, nor one behind a symbolic link, is hit.</para>
/// <para>Threading. All calls are safe from any thread, and any number of processes may remove one file.</para>
/// </remarks>
internal static class LeftFile
{
    /// <summary>Removes a regular file of this user that has one name and no lock.</summary>
    /// <param name="path">The file.</param>
    /// <returns>Null when the file is gone, or in use; otherwise why it is still there. On Linux only: elsewhere the locks are no proof,
    /// and on Windows the system deletes the temp files of a killed process itself.</returns>
    public static string? Remove(string path)
    {
        if (!OperatingSystem.IsLinux() || !Environment.Is64BitProcess)
        {
            return "On this system it is not certain that no process uses it";
        }

        if (!PosixStat.TryLook(path, out PosixStat.FileLook look))
        {
            return null;
        }

        if (!look.IsRegular || look.NameCount != 1 || look.UserId != PosixStat.UserId)
        {
            return "It is a link, has several names, or belongs to another user";
        }

        try
        {
            using LocalFile file = LocalFile.Open(path, isReadOnly: false);
            if (!PosixLocks.HasLocks(file.Handle))
            {
                return "Its file system has no locks, so it is not certain that no process uses it";
            }

            if (PosixStat.TryLook(file.Handle, out PosixStat.FileLook opened) && PosixStat.TryLook(path, out look) && look == opened)
            {
                FileNames.Delete(path);
            }

            return null;
        }
        catch (BlockException e) when (e.Kind is BlockErrors.InUse or BlockErrors.NotFound)
        {
            return null;
        }
        catch (BlockException e)
        {
            return e.Message;
        }
    }
}
