// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Backups.Restoring;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>An image file that is written as "PATH.partial" and gets its name when it is complete.</summary>
internal sealed class FileTarget : IBackupTarget
{
    private readonly BackupOptions _options;
    private readonly ImageCreateOptions _layout;
    private readonly string _partialPath;
    private readonly Manifest? _manifest;

    /// <summary>Makes it of an open image.</summary>
    /// <param name="options">Where it is to be.</param>
    /// <param name="layout">What it is.</param>
    /// <param name="partialPath">Where it is now.</param>
    /// <param name="image">It.</param>
    /// <param name="manifest">What its manifest will say, apart from what is only known when it is complete; null for none.</param>
    public FileTarget(BackupOptions options, ImageCreateOptions layout, string partialPath, IBlockNode image, Manifest? manifest)
    {
        _options = options;
        _layout = layout;
        _partialPath = partialPath;
        _manifest = manifest;
        Image = image;
    }

    /// <inheritdoc/>
    public string Destination => _options.Path;

    /// <inheritdoc/>
    public ImageFormat? Format => _layout.Format;

    /// <inheritdoc/>
    public IBlockNode Image { get; }

    /// <inheritdoc/>
    public bool ReadsAsZero => _layout.ParentPath is null;

    /// <inheritdoc/>
    /// <remarks>A machine that goes down takes the sessions with it.</remarks>
    public bool ConfirmsWhenDurable => false;

    /// <inheritdoc/>
    public int WritesAtOnce => WritesAtOnceFor(_layout);

    /// <inheritdoc/>
    public bool KeepsManifest => _manifest is not null;

    /// <inheritdoc/>
    public BackupPoint? Point { get; private set; }

    /// <inheritdoc/>
    public string? OtherSourceNote => null;

    /// <summary>Tells tests how far the end of a backup has come.</summary>
    internal Action<string>? Reached { get; set; }

    private string ManifestPath => FileManifest.PathFor(_options.Path);

    /// <summary>Makes the partial file.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.AlreadyExists"/> or why the file can't be made.</exception>
    public static async ValueTask<FileTarget> CreateAsync(
        BackupOptions options, ISnapshotSource source, CancellationToken cancellationToken)
    {
        CheckDestination(options);
        SnapshotIdentity identity = SnapshotIdentity.Of(source, options.DiskName);
        ImageCreateOptions image = options.Image ?? new ImageCreateOptions { Format = Images.Image.FormatForNewFile(options.Path) };
        ImageCreateOptions layout = image with { SizeBytes = source.SizeBytes };
        string partialPath = options.Path + ".partial";
        CheckNoPartial(partialPath);
        IBlockNode node = await CreateImageAsync(partialPath, layout, cancellationToken).ConfigureAwait(false);
        RestoreProgress.Delete(partialPath); // The note of an earlier partial file does not hold for this one.
        Manifest? manifest = options.HasManifest
            ? Manifest.Begin(source, identity, Path.GetFileName(options.Path), layout.Format, layout.Compression)
            : null;
        return new FileTarget(options, layout, partialPath, node, manifest);
    }

    /// <summary>How many writes at a time serve a file best: two overlap one's system call with the other's; compressing takes all the
    /// processors there are.</summary>
    public static int WritesAtOnceFor(ImageCreateOptions layout) =>
        layout.Compression == ImageCompression.None ? 2 : Math.Max(2, Environment.ProcessorCount);

    /// <summary>Makes an image and opens it. A failure leaves nothing behind.</summary>
    public static async ValueTask<IBlockNode> CreateImageAsync(
        string path, ImageCreateOptions layout, CancellationToken cancellationToken)
    {
        await Images.Image.CreateAsync(path, layout, cancellationToken).ConfigureAwait(false);
        try
        {
            ImageOpenOptions opening = new()
            {
                Format = layout.Format,
                Compression = layout.Compression == ImageCompression.None ? null : layout.Compression,
                MustStoreZeroes = true,
                MustStayInFolder = layout.MustStayInFolder,
            };
            return (await Images.Image.OpenAsync(path, opening, cancellationToken).ConfigureAwait(false)).Node;
        }
        catch
        {
            FileNames.Delete(path);
            throw;
        }
    }

    /// <summary>Reads a file that was written back.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupDigestMismatch"/>, or why it can't be read.</exception>
    public static async ValueTask VerifyAsync(
        string path,
        ImageCreateOptions layout,
        IReadOnlyList<ContentExtent> content,
        CancellationToken cancellationToken)
    {
        ContentReader reader = await ContentReader.OpenAsync(
            path, layout.Format, layout.ParentPath is not null, layout.SizeBytes!.Value, cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            await reader.CheckAllAsync(content, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Refuses a folder, a file or manifest that must not be replaced, and a file that somebody has open.</summary>
    public static void CheckDestination(BackupOptions options)
    {
        if (Directory.Exists(options.Path))
        {
            throw new BlockException(
                BlockErrorKind.NotAFile, $"'{options.Path}' is a folder; name the backup's file.", options.Path);
        }

        if (File.Exists(options.Path) && !options.Overwrite)
        {
            throw new BlockException(
                BlockErrorKind.AlreadyExists,
                $"'{options.Path}' exists already. Name another file, or use -Force to replace it.",
                options.Path);
        }

        FileManifest.CheckDestination(options);
        CheckNotInUse(options.Path);
    }

    /// <inheritdoc/>
    /// <remarks>At every moment the manifest that is there, if any, is that of the image that is there.</remarks>
    public async ValueTask CompleteAsync(IReadOnlyList<ContentExtent> content, bool mustVerify, CancellationToken cancellationToken)
    {
        await Image.FlushAsync(cancellationToken).ConfigureAwait(false);
        await Image.DisposeAsync().ConfigureAwait(false);
        if (mustVerify)
        {
            await VerifyAsync(_partialPath, _layout, content, cancellationToken).ConfigureAwait(false);
        }

        Manifest? manifest = WriteManifest(content);
        CheckNotInUse(_options.Path);
        Reached?.Invoke("described");
        if (_options.Overwrite)
        {
            FileManifest.RemoveStale(_options.Path);
            Reached?.Invoke("forgotten");
        }

        FileNames.Move(_partialPath, _options.Path, _options.Overwrite);
        Reached?.Invoke("named");
        if (manifest is not null)
        {
            FileNames.Move(ManifestPath + RepositoryNames.Partial, ManifestPath, overwrite: false);
            Point = new BackupPoint(Path.GetDirectoryName(Path.GetFullPath(_options.Path))!, manifest);
        }
    }

    /// <inheritdoc/>
    public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
    {
        await CloseFailedAsync(Image, isKept: isOnlyCopy).ConfigureAwait(false);
        if (_manifest is not null)
        {
            FileNames.Delete(ManifestPath + RepositoryNames.Partial);
        }

        if (!isOnlyCopy)
        {
            FileNames.Delete(_partialPath);
        }

        return isOnlyCopy && File.Exists(_partialPath) ? _partialPath : null;
    }

    /// <summary>Closes an image that is given up. What it could not store any more has been reported, or matters to nobody.</summary>
    /// <param name="image">The image.</param>
    /// <param name="isKept">False when its file is deleted next: nothing of it is made durable then, which could take minutes.</param>
    public static async ValueTask CloseFailedAsync(IBlockNode image, bool isKept)
    {
        try
        {
            if (isKept)
            {
                await image.DisposeAsync().ConfigureAwait(false);
            }
            else
            {
                await Images.Image.AbandonAsync(image).ConfigureAwait(false);
            }
        }
        catch (BlockException)
        {
            return;
        }
    }

    // Chunks that came twice, or overlap, have digests that no manifest can hold: the image is good, and nothing describes it.
    private Manifest? WriteManifest(IReadOnlyList<ContentExtent> content)
    {
        if (_manifest is null || (_manifest with { Content = content }).FindFault() is not null)
        {
            return null;
        }

        Manifest manifest = _manifest.Complete(content, new FileInfo(_partialPath).Length);
        ManifestFile.WritePartial(ManifestPath, manifest);
        return manifest;
    }

    // A name can be taken from a file that is open, and its guest would go on writing to a disk that no name leads to any more.
    private static void CheckNotInUse(string path)
    {
        if (File.Exists(path))
        {
            LocalFile.Open(path, isReadOnly: false).Dispose();
        }
    }

    // It may hold the only copy of consumed chunks, so nobody but its owner deletes it, not even with Overwrite.
    private static void CheckNoPartial(string partialPath)
    {
        if (File.Exists(partialPath))
        {
            throw new BlockException(
                BlockErrorKind.AlreadyExists,
                $"'{partialPath}' exists: another backup is being written there, or an earlier one failed and left what it had " +
                "consumed. Move (rename) or delete that file, then try again.",
                partialPath);
        }
    }
}
