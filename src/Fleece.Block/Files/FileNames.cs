// SPDX-License-Identifier: MIT
using Microsoft.Win32.SafeHandles;

namespace Fleece.Block.Files;

/// <summary>Gives files names and times, and takes names away, with the engine's errors.</summary>
/// <remarks>Threading. All calls are safe from any thread.</remarks>
public static class FileNames
{
    /// <summary>Moves a file to another name of the same file system, at once and durably.</summary>
    /// <remarks>
    /// On Linux and macOS the folder is flushed, because a name that a crash forgets is a file that is lost; Windows journals
    /// names by itself. A folder that this user may not list can't be flushed and the system stores the name in its own time.
    /// </remarks>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.AlreadyExists"/> when there is one and
    /// <paramref name="overwrite"/> is false, or what the system reports.</exception>
    public static void Move(string path, string newPath, bool overwrite)
    {
        try
        {
            File.Move(path, newPath, overwrite);
        }
        catch (IOException) when (!overwrite && File.Exists(newPath))
        {
            throw new BlockException(
                BlockErrorKind.AlreadyExists,
                $"'{newPath}' exists already, so '{path}' keeps its name. Move one of them away.",
                newPath,
                operation: "rename");
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, newPath, "rename");
        }

        FlushFolder(newPath);
    }

    /// <summary>Deletes a file; one that is not there is no error.</summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public static void Delete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (DirectoryNotFoundException)
        {
            // Its folder is gone, and the file with it.
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, "delete");
        }
    }

    /// <summary>Gives a file the time of last change of another one.</summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public static void CopyTime(string fromPath, string path)
    {
        try
        {
            File.SetLastWriteTimeUtc(path, File.GetLastWriteTimeUtc(fromPath));
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, "set the time of");
        }
    }

    /// <summary>Deletes a file, durably: a crash does not bring it back. One that is not there is no error.</summary>
    /// <inheritdoc cref="Delete" path="/exception"/>
    public static void DeleteDurably(string path)
    {
        Delete(path);
        FlushFolder(path);
    }

    private static void FlushFolder(string path)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        string folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
        using SafeFileHandle? handle = PosixFile.OpenFolder(folder, out int errno);
        try
        {
            if (handle is not null)
            {
                RandomAccess.FlushToDisk(handle);
            }
            else if (FileErrors.FromCode(errno, folder, "flush") is { Kind: not BlockErrorKind.PermissionDenied } failure)
            {
                throw failure;
            }
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, folder, "flush");
        }
    }
}
