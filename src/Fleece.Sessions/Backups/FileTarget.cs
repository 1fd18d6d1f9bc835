// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Sessions.Repositories;

namespace Fleece.Sessions.Backups;

/// <summary>An image file that is written as "PATH.partial" and gets its name when it is complete.</summary>
internal sealed class FileTarget(BackupOptions options, ImageCreateOptions layout, string partialPath, IBlockNode image)
    : IBackupTarget
{
    /// <inheritdoc/>
    public string Destination => options.Path;

    /// <inheritdoc/>
    public ImageFormat? Format => layout.Format;

    /// <inheritdoc/>
    public IBlockNode Image => image;

    /// <inheritdoc/>
    public bool ReadsAsZero => layout.ParentPath is null;

    /// <inheritdoc/>
    /// <remarks>A machine that goes down takes the sessions with it.</remarks>
    public bool ConfirmsWhenDurable => false;

    /// <inheritdoc/>
    public int WritesAtOnce => WritesAtOnceFor(layout);

    /// <inheritdoc/>
    public bool KeepsManifest => false;

    /// <inheritdoc/>
    public BackupPoint? Point => null;

    /// <summary>Makes the partial file.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.AlreadyExists"/> or why the file can't be made.</exception>
    public static async ValueTask<FileTarget> CreateAsync(
        BackupOptions options, long sizeBytes, CancellationToken cancellationToken)
    {
        CheckDestination(options);
        ImageCreateOptions image = options.Image ?? new ImageCreateOptions { Format = Images.Image.FormatForNewFile(options.Path) };
        ImageCreateOptions layout = image with { SizeBytes = sizeBytes };
        string partialPath = options.Path + ".partial";
        CheckNoPartial(partialPath);
        IBlockNode node = await CreateImageAsync(partialPath, layout, cancellationToken).ConfigureAwait(false);
        return new FileTarget(options, layout, partialPath, node);
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

    /// <summary>Refuses a folder, a file that must not be replaced, and a file that somebody has open.</summary>
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

        CheckNotInUse(options.Path);
    }

    /// <inheritdoc/>
    public async ValueTask CompleteAsync(IReadOnlyList<ContentExtent> content, bool mustVerify, CancellationToken cancellationToken)
    {
        await image.FlushAsync(cancellationToken).ConfigureAwait(false);
        await image.DisposeAsync().ConfigureAwait(false);
        if (mustVerify)
        {
            await VerifyAsync(partialPath, layout, content, cancellationToken).ConfigureAwait(false);
        }

        CheckNotInUse(options.Path);
        FileNames.Move(partialPath, options.Path, options.Overwrite);
    }

    /// <inheritdoc/>
    public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
    {
        await CloseFailedAsync(image).ConfigureAwait(false);
        if (!isOnlyCopy)
        {
            FileNames.Delete(partialPath);
        }

        return isOnlyCopy && File.Exists(partialPath) ? partialPath : null;
    }

    /// <summary>Closes an image that is given up. What it could not store any more has been reported, or matters to nobody.</summary>
    public static async ValueTask CloseFailedAsync(IBlockNode image)
    {
        try
        {
            await image.DisposeAsync().ConfigureAwait(false);
        }
        catch (BlockException)
        {
            return;
        }
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
                "consumed. Keep or delete that file, then try again.",
                partialPath);
        }
    }
}
