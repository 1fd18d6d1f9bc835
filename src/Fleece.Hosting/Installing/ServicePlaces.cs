// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Installing;

/// <summary>Where a program that runs as a service may lie.</summary>
internal static class ServicePlaces
{
    // Folders that a clean-up of packages may empty at any time.
    private static readonly string[] CacheParts = ["/.nuget/packages/", "/.store/", "/.dotnet/tools/", "/.cache/"];

    // hier(7), file-hierarchy(7).
    private static readonly string[] HomeFolders = ["/home/", "/root/", "/run/user/"];
    private static readonly string[] TemporaryFolders = ["/tmp/", "/var/tmp/", "/dev/shm/"];

    /// <summary>Why a file is no part of a service that is to run next year; null where nothing is against it.</summary>
    /// <param name="path">The absolute path.</param>
    /// <param name="home">The user's home folder.</param>
    /// <param name="packages">NuGet's folder of packages where it is set (NUGET_PACKAGES).</param>
    public static string? WhyNot(string path, string? home, string? packages)
    {
        string full = Path.GetFullPath(path).Replace('\\', '/');
        return Array.Exists(CacheParts, part => full.Contains(part, StringComparison.OrdinalIgnoreCase)) || IsBelow(full, packages)
                ? "lies in a cache of packages, which may be emptied at any time" :
            Array.Exists(TemporaryFolders, folder => full.StartsWith(folder, StringComparison.Ordinal))
                ? "lies in a folder for temporary files" :
            IsInHome(full) || IsBelow(full, home)
                ? "lies in a home folder, whose user can change it" :
            null;
    }

    /// <summary>True for a path in the folders that ProtectHome= hides.</summary>
    public static bool IsInHome(string path) =>
        Array.Exists(HomeFolders, folder => (path.TrimEnd('/') + "/").StartsWith(folder, StringComparison.Ordinal));

    /// <summary>Refuses a folder of images that the service would not see.</summary>
    /// <exception cref="BlockException">InvalidArgument: it is relative, the root folder, or one for temporary files, or there is no
    /// such folder.</exception>
    public static void CheckImageFolder(string path)
    {
        string? reason =
            !Path.IsPathFullyQualified(path) ? "is no absolute path" :
            Path.GetFullPath(path) == "/" ? "is the whole system" :
            Array.Exists(TemporaryFolders[..2], folder => (path.TrimEnd('/') + "/").StartsWith(folder, StringComparison.Ordinal))
                ? "is for temporary files, and the service gets folders of its own in place of /tmp and /var/tmp" :
            null;
        if (reason is not null)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"'{path}' {reason}. Name a folder that holds disk images and nothing else.", path);
        }

        if (!Directory.Exists(path))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument, $"There is no folder '{path}'. Make it first, or name another one.", path);
        }
    }

    /// <summary>Refuses a file that lies where no service should run from.</summary>
    /// <param name="path">The file that was found, and that the user did not name.</param>
    /// <param name="role">Beginning of the message: the PowerShell, the module.</param>
    /// <param name="advice">End of the message: how to name one.</param>
    /// <exception cref="BlockException"><see cref="HostErrors.PathRefused"/>.</exception>
    public static void Check(string path, string role, string advice)
    {
        string? reason = WhyNot(
            path, Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), Environment.GetEnvironmentVariable("NUGET_PACKAGES"));
        if (reason is not null)
        {
            throw new BlockException(HostErrors.PathRefused, $"{role} '{path}' {reason}. {advice}", path);
        }
    }

    private static bool IsBelow(string path, string? folder) =>
        !string.IsNullOrEmpty(folder) && folder != "/" &&
        path.StartsWith(folder.Replace('\\', '/').TrimEnd('/') + "/", StringComparison.OrdinalIgnoreCase);
}
