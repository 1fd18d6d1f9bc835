// SPDX-License-Identifier: MIT
using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Finds out on Linux who has a file locked, for messages.</summary>
/// <remarks>
/// /proc/locks names no process for the locks that QEMU takes, because they belong to an open file and not to one. So
/// each open file of each process is looked at, as far as this user may: the same file by stat(2), with a lock in its
/// fdinfo. Processes of other users and other containers stay unseen.
/// </remarks>
internal static class LockHolders
{
    /// <summary>Names the first holder found, as "qemu-nbd (process 4711)".</summary>
    /// <param name="path">The file.</param>
    /// <param name="own">A handle that does not count, or null.</param>
    /// <returns>Null when nobody is found.</returns>
    public static string? Find(string path, SafeFileHandle? own = null) =>
        FindProcess(path, own) is not { } processId ? null
        : processId == Environment.ProcessId ? "another mount in this process"
        : Name(processId);

    /// <summary>The process of the first holder found, which may be this one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="own">A handle that does not count, or null.</param>
    /// <returns>Null when none is found.</returns>
    public static int? FindProcess(string path, SafeFileHandle? own = null)
    {
        if (!PosixStat.TryLookHere(path, out PosixStat.FileLook wanted))
        {
            return null;
        }

        int ownDescriptor = own is { IsInvalid: false } ? (int)own.DangerousGetHandle() : -1;
        foreach (string process in Entries("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(process), CultureInfo.InvariantCulture, out int processId))
            {
                continue;
            }

            bool isThis = processId == Environment.ProcessId;
            foreach (string descriptor in Entries(Path.Combine(process, "fd")))
            {
                string number = Path.GetFileName(descriptor);
                bool isOwn = isThis && number == ownDescriptor.ToString(CultureInfo.InvariantCulture);
                if (!isOwn
                    && PosixStat.TryLookHere(descriptor, out PosixStat.FileLook found)
                    && found.IsSameFile(wanted)
                    && ReadText(Path.Combine(process, "fdinfo", number)).Contains("lock:", StringComparison.Ordinal))
                {
                    return processId;
                }
            }
        }

        return null;
    }

    // A process chooses its own name, so nothing in it may reach a terminal as more than text.
    private static string Name(int processId)
    {
        string name = ReadText(FormattableString.Invariant($"/proc/{processId}/comm")).Trim();
        return $"{(name.Length == 0 ? "a program" : name)} (process {processId})";
    }

    // Processes end while they are looked at, and those of others can't be looked into; both count as nothing there.
    private static string[] Entries(string folder)
    {
        try
        {
            return Directory.GetFileSystemEntries(folder);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            return [];
        }
    }

    private static string ReadText(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            return string.Empty;
        }
    }
}
