// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.TestKit;

namespace Fleece.Block.Tests.Logs;

/// <summary>A small file system of a kind on a loop device. Needs Linux, root and the program that makes it.</summary>
internal sealed class LoopFolder : IDisposable
{
    public const int SizeBytes = 8 * 1024 * 1024;

    private readonly TempFolder _folder = new();
    private readonly TempFolder _mounted = new();

    public LoopFolder(string program, params string[] arguments)
    {
        string device = _folder.NewFile();
        using (FileStream file = File.Create(device))
        {
            file.SetLength(SizeBytes);
        }

        SkipReason = !OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess ? "Mounting a file system needs Linux and root."
            : !Peer.Has(program) ? $"{program} is not installed here."
            : !Run(program, [.. arguments, device]) || !Run("mount", "-o", "loop", device, _mounted.Path)
                ? $"This system refuses to mount what {program} makes over a loop device."
                : null;
    }

    public string? SkipReason { get; }

    public string NewFile() => _mounted.NewFile();

    public void Dispose()
    {
        if (SkipReason is null && !Run("umount", _mounted.Path))
        {
            Run("umount", "--lazy", _mounted.Path);
        }

        _mounted.Dispose();
        _folder.Dispose();
    }

    private static bool Run(string program, params string[] arguments)
    {
        using Process process = Peer.Start(program, arguments);
        process.StandardInput.Close();
        process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0;
    }
}
