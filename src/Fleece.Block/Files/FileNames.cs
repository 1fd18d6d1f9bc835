// SPDX-License-Identifier: MIT
using System.Text;

namespace Fleece.Block.Files;

/// <summary>Gives files names and times, and takes names away, with the engine's errors.</summary>
/// <remarks>Threading. All calls are safe from any thread.</remarks>
internal static class FileNames
{
    /// <summary>The longest name of a file in bytes of UTF-8, as the usual file systems have it.</summary>
    public const int MaximumBytes = 255;

    /// <summary>The beginning of a name that takes no more than so many bytes of UTF-8, with no character cut in two.</summary>
    public static string Shorten(string name, int maximumBytes)
    {
        ArgumentNullException.ThrowIfNull(name);
        int lengthBytes = 0;
        int length = 0;
        foreach (Rune rune in name.EnumerateRunes())
        {
            lengthBytes += rune.Utf8SequenceLength;
            if (lengthBytes > maximumBytes)
            {
                return name[..length];
            }

            length += rune.Utf16SequenceLength;
        }

        return name;
    }

    /// <summary>Moves a file to another name of the same file system, at once and durably.</summary>
    /// <remarks>The folder is flushed (<see cref="FileFlush.Folder"/>), because a name that a crash forgets is a file that is lost.
    /// </remarks>
    /// <exception cref="BlockException"><see cref="BlockErrors.AlreadyExists"/> when there is one and
    /// <paramref name="overwrite"/> is false, or what the system reports.</exception>
    public static void Move(string path, string newPath, bool overwrite)
    {
        try
        {
            Rename(path, newPath, overwrite);
        }
        catch (IOException) when (!overwrite && File.Exists(newPath))
        {
            throw AlreadyExists(path, newPath);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, newPath, "rename");
        }

        FileFlush.Folder(newPath);
    }

    /// <summary>Gives a file the name of another one, which it replaces in one step, if it is there. A crash of the system may forget it.
    /// </summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public static void Replace(string path, string newPath)
    {
        try
        {
            Rename(path, newPath, overwrite: true);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, newPath, "rename");
        }
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

    /// <summary>Removes a file where that is possible; the failure that led here says more than one of this.</summary>
    public static void TryDelete(string path)
    {
        try
        {
            Delete(path);
        }
        catch (BlockException)
        {
            return;
        }
    }

    /// <summary>The file of that extension beside a file, whichever link leads to it.</summary>
    /// <remarks>Of a file that can't be looked at, because its folder is gone for one, beside the path as it is.</remarks>
    public static string Beside(string path, string extension)
    {
        try
        {
            return (File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? path) + extension;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return path + extension;
        }
    }

    /// <summary>Makes a file's time of change the present one, or the one that it witnesses where that lies ahead.</summary>
    /// <param name="path">The file.</param>
    /// <param name="notBeforeTicks">As for <see cref="FileEvidence.WitnessTime"/>.</param>
    /// <exception cref="BlockException">The error of the system.</exception>
    public static void Touch(string path, long notBeforeTicks)
    {
        try
        {
            File.SetLastWriteTimeUtc(path, FileEvidence.WitnessTime(notBeforeTicks));
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, path, "set the time of");
        }
    }

    /// <summary>As <see cref="Touch"/>, for a witness of changes: one that gets older than what it vouches for is not believed.</summary>
    public static void TryTouch(string path, long notBeforeTicks)
    {
        try
        {
            Touch(path, notBeforeTicks);
        }
        catch (BlockException)
        {
            return;
        }
    }

    /// <summary>Makes a closed file durable with its time of last change, which flushes of its data leave out.</summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public static void FlushClosed(string path)
    {
        try
        {
            FileFlush.Closed(path);
        }
        catch (Exception exception) when (FileErrors.IsFromSystem(exception))
        {
            throw FileErrors.From(exception, path, "flush");
        }
    }

    /// <summary>Makes the name of a new file durable.</summary>
    /// <exception cref="BlockException">What the system reports.</exception>
    public static void FlushName(string path) => FileFlush.Folder(path);

    /// <summary>Gives a file the time of last change of another one, durably.</summary>
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

        FlushClosed(path);
    }

    /// <summary>Deletes a file, durably: a crash does not bring it back. One that is not there is no error.</summary>
    /// <inheritdoc cref="Delete" path="/exception"/>
    public static void DeleteDurably(string path)
    {
        Delete(path);
        FileFlush.Folder(path);
    }

    private static void Rename(string path, string newPath, bool overwrite)
    {
        if (OperatingSystem.IsWindows())
        {
            File.Move(path, newPath, overwrite);
            return;
        }

        if (!overwrite && Path.Exists(newPath))
        {
            throw AlreadyExists(path, newPath);
        }

        // Not the framework's move: where the system refuses to rename, that copies the file, and nothing makes the copy durable.
        int errno = PosixFlush.Rename(Path.GetFullPath(path), Path.GetFullPath(newPath));
        if (errno != 0)
        {
            throw FileErrors.FromCode(errno, newPath, "rename");
        }
    }

    private static BlockException AlreadyExists(string path, string newPath) => new(
        BlockErrors.AlreadyExists,
        $"'{newPath}' exists already, so '{path}' keeps its name. Move one of them away.",
        newPath,
        operation: "rename");
}
