// SPDX-License-Identifier: MIT
namespace Fleece.Block.Files;

/// <summary>A folder that is its user's alone, because its process trusts all that lies there.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal static class OwnFolder
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode OthersWrite = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

    /// <summary>Makes the folder where it is missing, durably and for its user alone.</summary>
    /// <param name="path">Its full path; the folder that holds it must be there.</param>
    /// <param name="name">The folder as a message calls it, with its path.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotFound"/>, or the error of the system.</exception>
    public static void Make(string path, string name)
    {
        if (Directory.Exists(path))
        {
            return;
        }

        if (!Directory.Exists(Path.GetDirectoryName(path)))
        {
            throw new BlockException(
                BlockErrors.NotFound,
                $"Cannot make {name}: the folder that is to hold it does not exist. Check the path, and whether its volume is mounted.",
                path,
                operation: "create");
        }

        try
        {
            _ = OperatingSystem.IsWindows() ? Directory.CreateDirectory(path) : Directory.CreateDirectory(path, OwnerOnly);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, path, "create");
        }

        FileNames.FlushName(path);
    }

    /// <summary>The user that the folder belongs to, where that is another one than the process's; null else, and on Windows.</summary>
    public static uint? FindOtherOwner(string path) =>
        !OperatingSystem.IsWindows() && PosixStat.TryLookHere(path, out PosixStat.FileLook look) && look.UserId != PosixStat.UserId
            ? look.UserId
            : null;

    /// <summary>True when other users can write to the folder; never on Windows.</summary>
    /// <exception cref="BlockException">The error of the system.</exception>
    public static bool IsOpenToOthers(string path)
    {
        try
        {
            return !OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & OthersWrite) != 0;
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, path, "look at");
        }
    }
}
