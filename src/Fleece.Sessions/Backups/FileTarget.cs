// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

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
    /// <remarks>Two overlap one's system call with the other's; compressing takes all the processors there are.</remarks>
    public int WritesAtOnce => layout.Compression == ImageCompression.None ? 2 : Math.Max(2, Environment.ProcessorCount);

    /// <summary>Makes the partial file.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.AlreadyExists"/> or why the file can't be made.</exception>
    public static async ValueTask<FileTarget> CreateAsync(
        BackupOptions options, long sizeBytes, CancellationToken cancellationToken)
    {
        CheckDestination(options);
        ImageCreateOptions layout = (options.Image ?? new ImageCreateOptions { Format = Images.Image.FormatForNewFile(options.Path) })
            with { SizeBytes = sizeBytes };
        string partialPath = options.Path + ".partial";
        CheckNoPartial(partialPath);
        await Images.Image.CreateAsync(partialPath, layout, cancellationToken).ConfigureAwait(false);
        try
        {
            ImageOpenOptions opening = new()
            {
                Format = layout.Format,
                Compression = layout.Compression == ImageCompression.None ? null : layout.Compression,
            };
            (IBlockNode image, _) = await Images.Image.OpenAsync(partialPath, opening, cancellationToken).ConfigureAwait(false);
            return new FileTarget(options, layout, partialPath, image);
        }
        catch
        {
            FileNames.Delete(partialPath);
            throw;
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
    public async ValueTask CompleteAsync(CancellationToken cancellationToken)
    {
        await image.FlushAsync(cancellationToken).ConfigureAwait(false);
        await image.DisposeAsync().ConfigureAwait(false);
        CheckNotInUse(options.Path);
        FileNames.Move(partialPath, options.Path, options.Overwrite);
    }

    /// <inheritdoc/>
    public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
    {
        await image.DisposeAsync().ConfigureAwait(false);
        if (!isOnlyCopy)
        {
            FileNames.Delete(partialPath);
        }

        return isOnlyCopy && File.Exists(partialPath) ? partialPath : null;
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
