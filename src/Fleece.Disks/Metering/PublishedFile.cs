// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Disks.Metering;

/// <summary>Replaces small files that other programs read at any time, and that several processes may write at once: a reader finds one
/// writer's file, whole.</summary>
/// <remarks>
/// <para>Each writer has a file of its own beside the one that is meant, under a name that no other has, and gives it the name at the end.
/// The last one stays. A failure leaves the old file and nothing beside it; a killed writer leaves its own, which a later writer of the
/// same file removes when it is old.</para>
/// <para>Threading. All calls are safe from any thread and any process. Errors. <see cref="BlockException"/>, of the file that is
/// meant.</para>
/// </remarks>
internal static class PublishedFile
{
    /// <summary>A file beside the one that is meant is left over when it is older than this: no write takes so long.</summary>
    public static readonly TimeSpan LeftoverAge = TimeSpan.FromHours(1);

    private const string IdFormat = "N";
    private const int IdLength = 32;

    // ".ID.partial"
    private static readonly int SuffixLength = 1 + IdLength + WholeFile.Partial.Length;

    /// <summary>Writes a file in one step, in place of the one that is there, durably.</summary>
    /// <param name="path">The full path of the file.</param>
    /// <param name="bytes">Its content.</param>
    /// <param name="mode">Its rights where the system has such, whatever the umask is.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotAFile"/>: a folder stands there;
    /// <see cref="BlockErrors.InvalidArgument"/>: its name is too long; or what the system reports.</exception>
    public static void Write(string path, ReadOnlySpan<byte> bytes, UnixFileMode mode)
    {
        CheckName(path);
        string partialPath = $"{Stem(path)}.{Guid.NewGuid().ToString(IdFormat, CultureInfo.InvariantCulture)}{WholeFile.Partial}";
        try
        {
            using (LocalFile file = LocalFile.Create(partialPath, 0))
            {
                SetMode(file, mode);
                file.Write(0, bytes);
                file.Flush();
            }

            FileNames.Move(partialPath, path, overwrite: true);
        }
        catch (BlockException failure)
        {
            FileNames.TryDelete(partialPath);
            throw OfTarget(failure, path);
        }

        RemoveLeftovers(path);
    }

    private static void CheckName(string path)
    {
        if (Directory.Exists(path))
        {
            throw new BlockException(
                BlockErrors.NotAFile, $"Cannot write '{path}': it is a folder. Name a file in it.", path, operation: "write");
        }

        if (FileNames.Shorten(Path.GetFileName(path), FileNames.MaximumBytes).Length != Path.GetFileName(path).Length)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"Cannot write '{path}': a file's name has at most {FileNames.MaximumBytes} bytes. Give a shorter one.",
                path,
                operation: "write");
        }
    }

    // A long name leaves no room for the suffix, so the files beside it are named by its beginning.
    private static string Stem(string path) => Path.Join(
        Path.GetDirectoryName(path), FileNames.Shorten(Path.GetFileName(path), FileNames.MaximumBytes - SuffixLength));

    private static void SetMode(LocalFile file, UnixFileMode mode)
    {
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        try
        {
            File.SetUnixFileMode(file.Handle, mode);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, file.Path, "set the rights of");
        }
    }

    // The user knows nothing of the file beside it.
    private static BlockException OfTarget(BlockException failure, string path) =>
        failure.InnerException is { } cause && FileErrors.IsFromSystem(cause)
            ? FileErrors.From(cause, path, "write")
            : new BlockException(failure.Kind, $"Cannot write '{path}': {failure.Message}", path, operation: "write", cause: failure);

    // The file is written by then, so a leftover that can't be removed is no failure.
    private static void RemoveLeftovers(string path)
    {
        string stem = Stem(path);
        try
        {
            foreach (string other in Directory.EnumerateFiles(Path.GetDirectoryName(path)!, "*" + WholeFile.Partial))
            {
                if (other.Length == stem.Length + SuffixLength &&
                    other.StartsWith(stem + ".", StringComparison.Ordinal) &&
                    Guid.TryParseExact(other.AsSpan(stem.Length + 1, IdLength), IdFormat, out _) &&
                    DateTime.UtcNow - File.GetLastWriteTimeUtc(other) > LeftoverAge)
                {
                    FileNames.TryDelete(other);
                }
            }
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            return;
        }
    }
}
