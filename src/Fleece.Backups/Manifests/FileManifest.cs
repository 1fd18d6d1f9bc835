// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;

namespace Fleece.Backups.Manifests;

/// <summary>The manifest of a backup that is one file and in no repository: "IMAGE.json" beside "IMAGE".</summary>
/// <remarks>
/// It goes before the image that it describes is replaced, and comes after the new one has its name: so one that is there describes the
/// image beside it, unless something else than a backup has replaced that.
/// </remarks>
internal static class FileManifest
{
    private const string Extension = ".json";

    /// <summary>The manifest of an image.</summary>
    public static string PathFor(string imagePath) => imagePath + Extension;

    /// <summary>The image of a manifest; another path stays as it is.</summary>
    public static string ImageOf(string path) => path.EndsWith(Extension, StringComparison.Ordinal) ? path[..^Extension.Length] : path;

    /// <summary>Refuses a destination beside which a manifest would describe the wrong image, or where none can be written.</summary>
    /// <param name="imagePath">The image.</param>
    /// <param name="overwrite">True when the image that is there, and its manifest, are to be replaced.</param>
    /// <param name="hasManifest">True when the new image is to have a manifest.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.AlreadyExists"/></exception>
    public static void CheckDestination(string imagePath, bool overwrite, bool hasManifest)
    {
        string path = PathFor(imagePath);
        if (!File.Exists(path))
        {
            return;
        }

        bool isManifest = IsManifest(path);
        if (isManifest && !overwrite)
        {
            throw new BlockException(
                BlockErrors.AlreadyExists,
                $"'{path}' exists already and describes another backup than the one that would lie beside it. Name another file, or use " +
                "-Force to replace it.",
                path);
        }

        if (!isManifest && hasManifest)
        {
            throw new BlockException(
                BlockErrors.AlreadyExists,
                $"'{path}', which is to be the backup's manifest, exists already and is none, or is damaged. Delete it or move it " +
                "away, or name another file.",
                path);
        }
    }

    /// <summary>Takes away what describes an image that is about to be replaced.</summary>
    public static void RemoveStale(string imagePath)
    {
        string path = PathFor(imagePath);
        if (IsManifest(path))
        {
            FileNames.DeleteDurably(path);
        }
    }

    /// <summary>Reads the manifest of an image.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupUnknown"/>: there is none; or what is wrong with it.</exception>
    public static Manifest Read(string imagePath)
    {
        string path = PathFor(imagePath);
        if (!File.Exists(path))
        {
            string manifestName = RepositoryNames.IsInRepository(imagePath)
                ? RepositoryNames.ManifestFor(Path.GetFileName(imagePath))
                : Path.GetFileName(path);
            throw new BlockException(
                BackupErrors.BackupUnknown,
                $"Nothing says what '{imagePath}' is a backup of: its manifest '{manifestName}' is not beside it. Put that " +
                "back; or copy the image as it is, unchecked, with Convert-FleeceImage.",
                imagePath,
                operation: "open");
        }

        Manifest manifest = ManifestFile.Read(path);
        return manifest.IsSingleFile
            ? manifest
            : throw ManifestReader.Invalid(path, $"its number is {manifest.Number}, and only backups in a repository have one");
    }

    /// <summary>True for a file that is there and is the manifest of a backup that is one file.</summary>
    public static bool IsManifest(string path)
    {
        try
        {
            return File.Exists(path) && ManifestFile.Read(path).IsSingleFile;
        }
        catch (BlockException e) when (e.Kind == BackupErrors.ManifestInvalid)
        {
            return false;
        }
    }
}
