// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Block;
using Fleece.Images.Chain;

namespace Fleece.Backups.Repositories;

/// <summary>Tells the files that backups are made of, so that no cmdlet replaces or writes one by mistake.</summary>
/// <remarks>Threading. All members are safe from any thread.</remarks>
internal static class OwnedFiles
{
    /// <summary>Refuses to replace an image, a manifest or the lock of a repository, and the manifest of a backup that is a file of its
    /// own. Such a backup's image may be replaced.</summary>
    /// <param name="path">The file; it need not exist.</param>
    /// <exception cref="BlockException"><see cref="BackupErrors.FileOfBackup"/>, or why a manifest can't be read.</exception>
    public static void CheckReplaceable(string path)
    {
        if (FindRepository(path) is { } repositoryPath)
        {
            throw new BlockException(
                BackupErrors.FileOfBackup,
                $"'{path}' belongs to the repository '{repositoryPath}'; without it backups there can't be restored. Choose another " +
                "file, in another folder. To take old backups out of a repository, use Backup-FleeceDisk -Keep.",
                path);
        }

        if (FileManifest.ImageOf(path) is var imagePath && imagePath != path && FileManifest.IsManifest(path))
        {
            throw new BlockException(
                BackupErrors.FileOfBackup,
                $"'{path}' is the manifest of the backup '{imagePath}', which can't be restored without it. Choose another file.",
                path);
        }
    }

    /// <summary>Refuses to write to the image of a backup.</summary>
    /// <param name="path">The file; links are followed.</param>
    /// <exception cref="BlockException">As <see cref="CheckReplaceable"/>.</exception>
    public static void CheckWritable(string path)
    {
        if (Describe(path) is { } owner)
        {
            throw new BlockException(
                BackupErrors.FileOfBackup,
                $"'{path}' {owner}. A write would spoil it, and every backup that builds on it. Mount it with -ReadOnly, or choose " +
                "another file; to write to what it holds, restore it with Restore-FleeceBackup.",
                path);
        }
    }

    /// <summary>The backup that an image is, as the end of a sentence; null for an image that is none.</summary>
    /// <param name="path">The file; links are followed.</param>
    public static string? Describe(string path)
    {
        string realPath = RealPath.Find(Path.GetFullPath(path)) ?? path;
        return FindRepository(realPath) is { } repositoryPath ? $"is a backup in the repository '{repositoryPath}'"
            : FileManifest.IsManifest(FileManifest.PathFor(realPath)) ? $"is a backup, which '{FileManifest.PathFor(realPath)}' describes"
            : null;
    }

    private static string? FindRepository(string path)
    {
        string fullPath = Path.GetFullPath(path);
        string folderPath = Path.GetDirectoryName(fullPath) ?? fullPath;
        string name = Path.GetFileName(fullPath);
        bool isOwned = name == RepositoryNames.Lock
            ? File.Exists(fullPath)
            : RepositoryNames.TryParse(name, out _, out _) &&
              IsPoint(Path.Combine(folderPath, RepositoryNames.ManifestFor(name)), Path.Combine(folderPath, RepositoryNames.Lock));
        return isOwned ? folderPath : null;
    }

    private static bool IsPoint(string manifestPath, string lockPath)
    {
        try
        {
            return File.Exists(manifestPath) && !RepositoryFile.ReadManifest(manifestPath).IsSingleFile;
        }
        catch (BlockException e) when (e.Kind is BlockErrors.NotFound or BlockErrors.NotAFile)
        {
            return false; // A job has just taken it out; or it is no file of a repository.
        }
        catch (BlockException e) when (e.Kind == BackupErrors.ManifestInvalid)
        {
            return File.Exists(lockPath); // A damaged one can be put back; elsewhere it is another program's.
        }
    }
}
