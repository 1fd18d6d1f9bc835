// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Installing;

/// <summary>The program that runs PowerShell, and its first argument where that is a file of .NET.</summary>
/// <remarks>The launcher of a PowerShell that is a tool of .NET starts another process, and systemd would take the launcher for the
/// service: its signals and the messages of the host would go wrong. So the program is "dotnet" and its argument the PowerShell.</remarks>
/// <param name="Path">The program.</param>
/// <param name="Assembly">pwsh.dll, where the program is dotnet; null for a packaged pwsh.</param>
internal sealed record PowerShellProgram(string Path, string? Assembly)
{
    private const string AssemblyName = "pwsh.dll";

    /// <summary>The path by which a user knows it.</summary>
    public string ShownPath => Assembly ?? Path;

    /// <summary>The PowerShell of a folder, as $PSHOME names it, or of a file.</summary>
    /// <param name="path">A folder with pwsh or pwsh.dll, or one of these files.</param>
    /// <param name="processPath">The program that this process runs; it counts where it is dotnet.</param>
    /// <exception cref="BlockException">InvalidArgument: no PowerShell is there, or no dotnet to run it with.</exception>
    public static PowerShellProgram Find(string path, string? processPath)
    {
        string program = OperatingSystem.IsWindows() ? "pwsh.exe" : "pwsh";
        if (Directory.Exists(path))
        {
            string packaged = System.IO.Path.Combine(path, program);
            return Find(IsForAll(packaged) ? packaged : System.IO.Path.Combine(path, AssemblyName), processPath);
        }

        if (!File.Exists(path))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"There is no PowerShell at '{path}'. Name pwsh or pwsh.dll with -PowerShellPath.", path);
        }

        return System.IO.Path.GetFileName(path) == AssemblyName
            ? new PowerShellProgram(FindDotnet(processPath), path)
            : new PowerShellProgram(path, null);
    }

    // A tool of .NET has a pwsh too, which its owner alone may start and which looks for dotnet in places of its own.
    private static bool IsForAll(string program) =>
        File.Exists(program) && (OperatingSystem.IsWindows() || File.GetUnixFileMode(program).HasFlag(UnixFileMode.OtherExecute));

    private static string FindDotnet(string? processPath)
    {
        string name = OperatingSystem.IsWindows() ? "dotnet.exe" : "dotnet";
        if (processPath is not null && System.IO.Path.GetFileName(processPath) == name)
        {
            return processPath;
        }

        string[] folders = [.. (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(System.IO.Path.PathSeparator)];
        return folders.Where(System.IO.Path.IsPathFullyQualified)
            .Select(folder => System.IO.Path.Combine(folder, name)).FirstOrDefault(File.Exists)
            ?? throw new BlockException(
                BlockErrors.InvalidArgument, $"'{AssemblyName}' needs the program dotnet, and no folder of PATH has one.");
    }
}
