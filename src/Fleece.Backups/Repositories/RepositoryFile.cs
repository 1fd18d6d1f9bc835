// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Backups.Repositories;

/// <summary>Opens the small files of a repository, and lets no file of it be opened that is not one of the folder itself.</summary>
/// <remarks>
/// <para>A repository may come from a stranger. Names in it lead nowhere: a file is a regular one in the folder, so a symbolic link, a
/// folder, a device or a pipe is refused by its name and never opened. The folder itself may be reached through a link, which is the
/// user's own. A program that changes the folder at the same time is not guarded against.</para>
/// <para>Threading. All members are safe from any thread.</para>
/// </remarks>
internal static class RepositoryFile
{
    /// <summary>Refuses a symbolic link. All else that is no regular file <see cref="LocalFile.Open"/> refuses, without opening it.
    /// </summary>
    /// <param name="path">The file; it need not exist.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotAFile"/></exception>
    public static void CheckIsNoLink(string path)
    {
        if (new FileInfo(path).LinkTarget is { } target)
        {
            throw new BlockException(
                BlockErrors.NotAFile,
                $"'{path}' is a symbolic link to '{target}', and Fleece follows no links in a repository. Put the file itself in its " +
                "place; to have a repository on another volume, move the whole folder and make a link to that.",
                path,
                operation: "open");
        }
    }

    /// <inheritdoc cref="LocalFile.Open"/>
    public static LocalFile Open(string path, bool isReadOnly)
    {
        CheckIsNoLink(path);
        return LocalFile.Open(path, isReadOnly);
    }

    /// <inheritdoc cref="ManifestFile.Read"/>
    public static Manifest ReadManifest(string path)
    {
        CheckIsNoLink(path);
        return ManifestFile.Read(path);
    }
}
