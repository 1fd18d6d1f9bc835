// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.TestKit;

/// <summary>A folder with a file system of its own, so that a test can fill it up or do without holes.</summary>
/// <remarks>Mounting needs Linux and root; <see cref="SkipReason"/> says when those are missing.</remarks>
public sealed class MountedFolder : IDisposable
{
    private readonly TempFolder _folder = new();

    /// <summary>Mounts an empty file system that lives in memory.</summary>
    /// <param name="fileSystem">"tmpfs", or "ramfs", which has no holes.</param>
    /// <param name="options">Mount options, such as "size=1m".</param>
    public MountedFolder(string fileSystem, string options = "rw")
    {
        if (!OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess)
        {
            SkipReason = $"Mounting a {fileSystem} needs Linux and root.";
            return;
        }

        if (!Run("mount", "-t", fileSystem, "-o", options, "none", _folder.Path))
        {
            SkipReason = $"This system refuses to mount a {fileSystem}.";
        }
    }

    /// <summary>Why there is no such folder, or null when there is.</summary>
    public string? SkipReason { get; }

    /// <summary>Full path of the folder.</summary>
    public string Path => _folder.Path;

    /// <summary>Full path of a name in the folder that nothing has yet.</summary>
    public string NewFile() => _folder.NewFile();

    /// <summary>Unmounts the file system, which ends with it, and removes the folder.</summary>
    public void Dispose()
    {
        if (SkipReason is null)
        {
            // Lazily, because a test that failed may have left a file open.
            Run("umount", "--lazy", _folder.Path);
        }

        _folder.Dispose();
    }

    private static bool Run(string command, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(command, arguments)
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        })!;
        process.WaitForExit();
        return process.ExitCode == 0;
    }
}
