// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;

namespace Fleece.Backups.Repositories;

/// <summary>Repositories that lie in the folders of one folder, as a night of several disks makes them.</summary>
internal static class NestedRepositories
{
    private const int MostNames = 8;

    /// <summary>True for a folder that is a repository itself.</summary>
    public static bool IsRepository(string folderPath) => File.Exists(Path.Combine(folderPath, RepositoryNames.Lock));

    /// <summary>The folders of a folder that are repositories, sorted by name; none where the folder can't be read.</summary>
    public static IReadOnlyList<string> Find(string folderPath)
    {
        try
        {
            return [.. Directory.GetDirectories(folderPath).Where(IsRepository).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>What to tell of a folder that holds no backup; a sentence or two, null where no folder in it is a repository.</summary>
    public static string? Describe(string folderPath) => Find(folderPath) is [var first, ..] folders
        ? $"The folders in '{folderPath}' are repositories: {NamesOf(folders)}. Name one of them, such as '{first}'."
        : null;

    /// <summary>Refuses to begin the repository of one disk of a guest in a folder that holds those of several.</summary>
    /// <param name="folderPath">The folder.</param>
    /// <param name="device">The disk's device.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.InvalidArgument"/></exception>
    public static void CheckBegins(string folderPath, string device)
    {
        if (!IsRepository(folderPath) && Find(folderPath) is { Count: > 0 } folders)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"'{folderPath}' holds the repositories of several disks, in a folder for each: {NamesOf(folders)}. Give the one of the " +
                $"device '{device}' with -RepositoryPath '{Path.Combine(folderPath, device)}'.",
                folderPath);
        }
    }

    private static string NamesOf(IReadOnlyList<string> folders) =>
        string.Join(", ", folders.Take(MostNames).Select(folder => $"'{PrintableText.Of(Path.GetFileName(folder))}'")) +
        (folders.Count > MostNames ? ", and others" : string.Empty);
}
