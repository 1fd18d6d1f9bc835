// SPDX-License-Identifier: MIT
using Fleece.Hosting.Installing;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Installing;

/// <summary>Units that systemd's own programs read.</summary>
internal static class UnitFile
{
    /// <summary>A unit for programs in a folder, which exist, as systemd-analyze asks for.</summary>
    public static HostUnit In(string folder, params string[] imageFolders)
    {
        string program = Path.Combine(folder, "dotnet");
        File.WriteAllText(program, "#!/bin/sh\n");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }

        return new HostUnit
        {
            PowerShell = new PowerShellProgram(program, Path.Combine(folder, "pwsh.dll")),
            ModulePath = Path.Combine(folder, "Fleece.psd1"),
            ImageFolders = imageFolders,
        };
    }

    /// <summary>The verdict of "systemd-analyze verify", which says nothing of a good unit.</summary>
    public static async Task<PeerResult> VerifyAsync(TempFolder folder, HostUnit unit)
    {
        string path = Write(folder, unit);
        return await Peer.TryRunAsync("systemd-analyze", "verify", "--man=no", path);
    }

    /// <summary>Writes the unit to a folder.</summary>
    public static string Write(TempFolder folder, HostUnit unit)
    {
        string path = folder.File(HostUnit.Name);
        File.WriteAllText(path, unit.ToString());
        return path;
    }
}
