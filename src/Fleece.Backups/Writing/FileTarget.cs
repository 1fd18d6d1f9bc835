// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>What a backup's file is to be.</summary>
internal sealed record FileTargetOptions
{
    /// <summary>The file, which appears under this name only when it is complete.</summary>
    public required string Path { get; init; }

    /// <summary>What it is to be, apart from its size; null for the format of its extension and that format's defaults.</summary>
    public ImageCreateOptions? Image { get; init; }

    /// <summary>The disk that the snapshot is of, where that does not tell; null for none. A snapshot that tells another is refused.
    /// </summary>
    public string? DiskName { get; init; }

    /// <summary>True where chunks are consumed: then the partial file of a killed process must have them.</summary>
    public bool MayBeOnlyCopy { get; init; }

    /// <summary>True to describe the backup in a manifest beside its file, by which it can be tested and restored.</summary>
    public bool HasManifest { get; init; } = true;

    /// <summary>True to replace an existing file, and its manifest.</summary>
    public bool Overwrite { get; init; }

    /// <summary>True to read the file back, and compare it with what went in, before it counts as a backup.</summary>
    public bool MustVerify { get; init; }
}

/// <summary>An image file, with its manifest beside it.</summary>
/// <param name="options">What it is to be.</param>
/// <param name="image">The image.</param>
/// <param name="manifest">What its manifest will say, apart from what is only known when it is complete; null for none.</param>
/// <param name="note">Says of the partial file that nothing in it was consumed.</param>
internal sealed class FileTarget(FileTargetOptions options, PartialImage image, Manifest? manifest, PartialNote note) : IBackupTarget
{
    private readonly string _manifestPath = FileManifest.PathFor(options.Path);

    /// <summary>What the user should know of a job before this one; null for nothing.</summary>
    public string? Note { get; private init; }

    public TargetTraits Traits { get; } =
        image.Traits with { KeepsManifest = manifest is not null, MustVerify = options.MustVerify };

    public IBlockNode Image => image.Node;

    public bool SurvivesKill => image.SurvivesKill;

    /// <summary>Tells tests how far the end of a backup has come.</summary>
    internal Action<string>? Reached { get; set; }

    /// <summary>Makes the partial file.</summary>
    /// <exception cref="BlockException">As <see cref="CheckDestination"/>, or why the file can't be made.</exception>
    public static async ValueTask<FileTarget> CreateAsync(
        FileTargetOptions options, ISnapshotSource source, CancellationToken cancellationToken)
    {
        CheckDestination(options);
        SnapshotIdentity identity = SnapshotIdentity.Of(source, options.DiskName);
        string? left = RemoveLeft(options.Path);
        PartialNote.RemoveStale(options.Path);
        ImageCreateOptions image = options.Image ?? new ImageCreateOptions { Format = Images.Image.FormatForNewFile(options.Path) };
        ImageCreateOptions layout = image with { SizeBytes = source.SizeBytes };
        PartialImage made = await PartialImage
            .CreateAsync(options.Path, layout, options.MayBeOnlyCopy, cancellationToken).ConfigureAwait(false);
        Manifest? manifest = options.HasManifest
            ? Manifest.Begin(source, identity, Path.GetFileName(options.Path), layout.Format, layout.Compression)
            : null;
        return new FileTarget(options, made, manifest, PartialNote.Begin(options.Path)) { Note = left };
    }

    /// <summary>Refuses a folder, a file or manifest that must not be replaced, and a file that is open.</summary>
    /// <exception cref="BlockException">As <see cref="PartialImage.CheckDestination"/> and <see cref="FileManifest.CheckDestination"/>.
    /// </exception>
    public static void CheckDestination(FileTargetOptions options)
    {
        PartialImage.CheckDestination(options.Path, options.Overwrite);
        FileManifest.CheckDestination(options.Path, options.Overwrite, options.HasManifest);
    }

    public void BecomeOnlyCopy() => note.End();

    /// <remarks>At every moment the manifest that is there, if any, is that of the image that is there.</remarks>
    public async ValueTask<BackupPoint?> CompleteAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken)
    {
        await image.CloseAsync(options.MustVerify ? content : null, note.End, cancellationToken).ConfigureAwait(false);
        Manifest? described = WriteManifest(content);
        PartialImage.CheckReplaceable(options.Path);
        Reached?.Invoke("described");
        if (options.Overwrite)
        {
            FileManifest.RemoveStale(options.Path);
            Reached?.Invoke("forgotten");
        }

        image.Rename(options.Overwrite);
        Reached?.Invoke("named");
        if (described is null)
        {
            return null;
        }

        ManifestFile.Rename(_manifestPath);
        return new BackupPoint(Path.GetDirectoryName(Path.GetFullPath(options.Path))!, described);
    }

    public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
    {
        note.Dispose();
        string? keptAt = await image.AbandonAsync(isOnlyCopy).ConfigureAwait(false);
        if (manifest is not null)
        {
            FileNames.Delete(_manifestPath + RepositoryNames.Partial);
        }

        return keptAt;
    }

    // Chunks that came twice, or overlap, have digests that no manifest can hold: the image is good, and nothing describes it.
    private Manifest? WriteManifest(IReadOnlyList<ContentExtent> content)
    {
        if (manifest is null || (manifest with { Content = content }).FindFault() is not null)
        {
            return null;
        }

        Manifest complete = manifest.Complete(content, image.FileSizeBytes);
        ManifestFile.WritePartial(_manifestPath, complete);
        return complete;
    }

    // One that may hold the only copy of consumed chunks is deleted by its owner alone, and not by Overwrite.
    private static string? RemoveLeft(string path)
    {
        string partialPath = PartialImage.PathFor(path);
        if (!File.Exists(partialPath))
        {
            return null;
        }

        if (PartialNote.TryRemoveLeft(path))
        {
            return $"'{partialPath}' was left by a job that was killed and had consumed nothing. It was removed, and the file is made " +
                "anew.";
        }

        throw new BlockException(
            BlockErrors.AlreadyExists,
            $"'{partialPath}' exists: an earlier job ended early and may have left there the only copy of what it had consumed. " +
            "Test-FleeceImage shows what it holds, with the -Format that it was made in. To complete that backup, mount the file in its " +
            "format with -ListenUri, and export the rest of the snapshot to that address, as Get-Help about_Fleece says. Use another " +
            "name, or delete that file if you need nothing of it.",
            partialPath);
    }
}
