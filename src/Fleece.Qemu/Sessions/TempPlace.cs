// SPDX-License-Identifier: MIT
using Fleece.Block.Files;

namespace Fleece.Qemu.Sessions;

/// <summary>Where the file with old data has come to lie.</summary>
internal static class TempPlace
{
    /// <summary>Lets judges see the place of the file, with all links followed.</summary>
    /// <param name="path">The file.</param>
    /// <param name="judges">What throws where no file may lie; null for none.</param>
    public static void Check(string path, params ReadOnlySpan<Action<string>?> judges)
    {
        using FileStream file = Open(path);
        string place = OperatingSystem.IsLinux()
            ? File.ResolveLinkTarget($"/proc/self/fd/{file.SafeFileHandle.DangerousGetHandle()}", returnFinalTarget: false)!.FullName
            : path;
        foreach (Action<string>? judge in judges)
        {
            judge?.Invoke(place);
        }
    }

    private static FileStream Open(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, path, "open");
        }
    }
}
