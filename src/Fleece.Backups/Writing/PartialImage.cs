// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Images.Chain;

namespace Fleece.Backups.Writing;

/// <summary>A new image, which is "PATH.partial" until it is complete.</summary>
/// <remarks>
/// <para>One that is to outlive its process keeps the journal of an image with tables beside it, which counts only while the image is not
/// changed much later than it; so its time is set once a second, and at each question whether a write survives a kill.</para>
/// <para>Threading. One caller at a time; <see cref="SurvivesKill"/> from any thread. Ownership. It owns the open image.</para>
/// </remarks>
#pragma warning disable CA1001 // The heartbeat ends with CloseAsync or AbandonAsync.
internal sealed class PartialImage
{
    private readonly string _path;
    private readonly ImageCreateOptions _layout;
    private readonly IJournaledImage _journal;
    private readonly Heartbeat? _heartbeat;

    /// <param name="path">The name that it is to have.</param>
    /// <param name="layout">What it was made as, with its size.</param>
    /// <param name="node">It, open.</param>
    public PartialImage(string path, ImageCreateOptions layout, IBlockNode node)
    {
        _path = path;
        _layout = layout;
        Node = node;
        _journal = ImageJournals.Of(node, layout.Format);
        if (_journal.SurvivesKill && layout.Format != ImageFormat.Raw)
        {
            // A request may wait long for a write-back that changes the image at its end.
            _heartbeat = Heartbeat.Start(() => _journal.Touch(notBeforeTicks: 0));
        }
    }

    /// <summary>The image.</summary>
    public IBlockNode Node { get; }

    /// <summary>True when all that was written by now is there behind a kill of the process.</summary>
    public bool SurvivesKill
    {
        get
        {
            _journal.Touch(notBeforeTicks: 0);
            return _journal.SurvivesKill;
        }
    }

    /// <summary>How it is written to: two writes at a time overlap one's system call with the other's; compressing takes all the
    /// processors there are.</summary>
    public TargetTraits Traits => new()
    {
        Destination = _path,
        Format = _layout.Format,
        ReadsAsZero = _layout.ParentPath is null,
        WritesAtOnce = _layout.Compression == ImageCompression.None ? 2 : Math.Max(2, Environment.ProcessorCount),
    };

    /// <summary>Length of the file in bytes.</summary>
    public long FileSizeBytes => new FileInfo(PathFor(_path)).Length;

    /// <summary>Where an image is until it is complete.</summary>
    public static string PathFor(string path) => path + RepositoryNames.Partial;

    /// <summary>Where an interrupted restore notes how far it has come with a partial image.</summary>
    public static string ProgressPathFor(string path) => PathFor(path) + ".progress";

    /// <summary>Makes an image and opens it. A failure leaves nothing behind.</summary>
    /// <param name="path">The name that it is to have.</param>
    /// <param name="layout">What it is to be, with its size.</param>
    /// <param name="outlivesProcess">True to keep a journal, where it has tables, so that a killed process leaves all that was written.
    /// </param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException">Why the file can't be made.</exception>
    public static async ValueTask<PartialImage> CreateAsync(
        string path, ImageCreateOptions layout, bool outlivesProcess, CancellationToken cancellationToken)
    {
        string partialPath = PathFor(path);
        if (!File.Exists(partialPath))
        {
            FileNames.Delete(ProgressPathFor(path)); // The note of an earlier partial image does not hold for this one.
        }

        await Image.CreateAsync(partialPath, layout, cancellationToken).ConfigureAwait(false);
        try
        {
            ImageOpenOptions opening = new()
            {
                Format = layout.Format,
                Compression = layout.Compression == ImageCompression.None ? null : layout.Compression,
                MustStoreZeroes = true,
                MustStayInFolder = layout.MustStayInFolder,
                KeepsJournal = outlivesProcess,
            };
            (IBlockNode node, _) = await Image.OpenAsync(partialPath, opening, cancellationToken).ConfigureAwait(false);
            return new PartialImage(path, layout, node);
        }
        catch
        {
            FileNames.Delete(partialPath);
            throw;
        }
    }

    /// <summary>Refuses a folder, a file that must not be replaced, and what <see cref="CheckReplaceable"/> refuses.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.NotAFile"/>, <see cref="BlockErrors.AlreadyExists"/>,
    /// <see cref="BlockErrors.InUse"/>, <see cref="ImageErrors.ImageHasSession"/>, <see cref="BackupErrors.FileOfBackup"/>.</exception>
    public static void CheckDestination(string path, bool overwrite)
    {
        if (Directory.Exists(path))
        {
            throw new BlockException(BlockErrors.NotAFile, $"'{path}' is a folder; name the backup's file.", path);
        }

        OwnedFiles.CheckReplaceable(path); // First, because -Force would not help.
        if (File.Exists(path) && !overwrite)
        {
            throw new BlockException(
                BlockErrors.AlreadyExists, $"'{path}' exists already. Name another file, or use -Force to replace it.", path);
        }

        CheckNotInUse(path);
    }

    /// <summary>Refuses a file of a repository, one that is open, and one with sessions that go on: a name can be taken from an open file,
    /// and its guest would go on writing to a disk that no name leads to any more.</summary>
    public static void CheckReplaceable(string path)
    {
        OwnedFiles.CheckReplaceable(path);
        CheckNotInUse(path);
    }

    private static void CheckNotInUse(string path)
    {
        if (File.Exists(path))
        {
            LocalFile.Open(path, isReadOnly: false).Dispose();
        }

        SessionMarker.Check(path);
    }

    /// <summary>Makes what was written durable and closes the image.</summary>
    /// <param name="toVerify">What is read back then; null for nothing.</param>
    /// <param name="proved">Hears of it when it is durable, and was read back where it is to be, and is still locked; null for nothing to
    /// do then.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupDigestMismatch"/>, or why it can't be written or read.</exception>
    public async ValueTask CloseAsync(
        IReadOnlyList<ContentExtent>? toVerify, Action? proved, CancellationToken cancellationToken)
    {
        await Node.FlushAsync(cancellationToken).ConfigureAwait(false);
        if (toVerify is null)
        {
            proved?.Invoke();
        }

        _heartbeat?.Dispose();
        await Node.DisposeAsync().ConfigureAwait(false);
        if (toVerify is null)
        {
            return;
        }

        bool isOverlay = _layout.ParentPath is not null;
        ContentReader reader = await ContentReader
            .OpenAsync(PathFor(_path), _layout.Format, isOverlay, _layout.SizeBytes!.Value, cancellationToken).ConfigureAwait(false);
        await using (reader.ConfigureAwait(false))
        {
            await reader.CheckAllAsync(toVerify, cancellationToken).ConfigureAwait(false);
            proved?.Invoke();
        }
    }

    /// <summary>Gives the image its name.</summary>
    public void Rename(bool overwrite) => FileNames.Move(PathFor(_path), _path, overwrite);

    /// <summary>Closes an image that is given up. An error of that is dropped: the one that led here matters more.</summary>
    /// <param name="isKept">False to delete its file: nothing of it is made durable then, which could take minutes.</param>
    /// <returns>The file that is kept; null for none.</returns>
    public async ValueTask<string?> AbandonAsync(bool isKept)
    {
        _heartbeat?.Dispose();
        try
        {
            ValueTask closing = isKept ? Node.DisposeAsync() : Image.AbandonAsync(Node);
            await closing.ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // As the summary says.
        }

        if (!isKept)
        {
            FileNames.Delete(PathFor(_path));
        }

        return isKept && File.Exists(PathFor(_path)) ? PathFor(_path) : null;
    }
}
