// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.Images.Journal;

namespace Fleece.Images;

/// <summary>Opens, describes, creates and checks image files.</summary>
/// <remarks>
/// <para>Threading. All members are safe from any thread; file work is done on the calling thread.</para>
/// <para>Errors are <see cref="BlockException"/>; a cancelled token is <see cref="OperationCanceledException"/>.
/// Opening for writing replays the journal of a killed process and the log of a VHDX, and counts the refcounts of a dirty qcow2 image anew;
/// no other opening changes a file. A failed creation leaves none.</para>
/// </remarks>
public static class Image
{
    private const int SectorBytes = 512;

    /// <summary>Opens an image, and the parents it names, as a block node, which the caller owns.</summary>
    /// <param name="path">The file.</param>
    /// <param name="options">How; null for the defaults.</param>
    /// <param name="cancellationToken">Checked before the file is touched.</param>
    /// <exception cref="BlockException">NotFound, NotAFile, InUse, PermissionDenied, EmptyImage, BadImageSize,
    /// Truncated, Corrupt, WrongFormat, AmbiguousFormat, Unsupported, ReferenceRefused, LimitExceeded, ImageHasSession,
    /// InvalidArgument, IoFailed.</exception>
    public static async ValueTask<(IBlockNode Node, ImageFormat Format)> OpenAsync(
        string path, ImageOpenOptions? options = null, CancellationToken cancellationToken = default)
    {
        (IBlockNode node, ImageFormat format, _) =
            await OpenWithEvidenceAsync(path, options, cancellationToken).ConfigureAwait(false);
        return (node, format);
    }

    /// <summary>As <see cref="OpenAsync"/>, and tells how the file was found: locked, and before a log is replayed or refcounts are
    /// counted anew.</summary>
    /// <inheritdoc cref="OpenAsync"/>
    internal static ValueTask<(IBlockNode Node, ImageFormat Format, FileEvidence Found)> OpenWithEvidenceAsync(
        string path, ImageOpenOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        options ??= new ImageOpenOptions();
        CheckOpenOptions(path, options);
        cancellationToken.ThrowIfCancellationRequested();
        JournalOpening journal = new();
        options = options with { FlushFailed = journal.Watch(options.FlushFailed) };
        LocalContainer file = new(LocalFile.Open(path, options.IsReadOnly, options.IsTransient, options.FlushFailed));
        try
        {
            options.CheckPlace?.Invoke(file.File.Place);
            if (!options.IsReadOnly)
            {
                SessionMarker.Check(file.File.Path, options.ResumedSessions, options.DiscardsSessions);
            }

            options.Watch(file.File);

            FileEvidence found = FileEvidence.Read(file.Path);
            IImageDriver driver = ImageProbe.Tell(file, options.Format, options.Parameters.Format);
            ImageChain chain = new(file.Path, ImageDrivers.Find, ReferencePolicy.From(options)) { Journal = journal };
            chain.AdmitFirst(driver, file);
            bool keepsJournal = options is { KeepsJournal: true, IsReadOnly: false, IsTransient: false } && driver.Replay is not null;
            IContainerFile view = journal.Recover(file, driver.Format, driver.Replay, keepsJournal);
            if (keepsJournal)
            {
                journal.Keep(file, driver.Format, options.LeavesJournal);
                journal.Touch(found.ModifiedTicks);
            }

            using Heartbeat? beat = journal.Kept is null ? null : Heartbeat.Start(() => journal.Touch(found.ModifiedTicks));
            IBlockNode node = driver.Open(view, options, chain);
            (node as ImageNode)?.Attach(journal);
            return new ValueTask<(IBlockNode Node, ImageFormat Format, FileEvidence Found)>((node, driver.Format, found));
        }
        catch
        {
            journal.Undo();
            file.Dispose();
            throw;
        }
    }

    /// <summary>Describes an image without changing it, and without opening any file that it names.</summary>
    /// <param name="path">The file.</param>
    /// <param name="format">The format, or null to tell it from the content.</param>
    /// <param name="cancellationToken">Checked before the file is touched.</param>
    /// <param name="untrusted">The limits of an image from a stranger; null for one that is trusted.</param>
    /// <exception cref="BlockException">As <see cref="OpenAsync"/>.</exception>
    public static ValueTask<ImageInfo> GetInfoAsync(
        string path, ImageFormat? format, CancellationToken cancellationToken, UntrustedLimits? untrusted = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        cancellationToken.ThrowIfCancellationRequested();
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
        IImageDriver driver = ImageProbe.Tell(file, format, ImageParameters.Default.Format);
        new ImageChain(file.Path, ImageDrivers.Find, new ReferencePolicy { Limits = untrusted }).AdmitFirst(driver, file);
        long fileBytes = file.GetLength();
        return new ValueTask<ImageInfo>(driver.Describe(file, new ImageInfo
        {
            Path = file.Path,
            Format = driver.Format,
            IsRawByName = IsRawByName(driver, format),
            SizeBytes = fileBytes,
            FileSizeBytes = fileBytes,
            AllocatedBytes = FileSystemSpace.TryGetAllocatedBytes(file.Path, out long bytes) ? bytes : fileBytes,
        }));
    }

    /// <summary>Creates an image that reads as zeros, or as its parent, durably.</summary>
    /// <param name="path">Where; nothing may be there yet.</param>
    /// <param name="options">What it is to be.</param>
    /// <param name="cancellationToken">Checked before the file is made.</param>
    /// <exception cref="BlockException">AlreadyExists, ImageHasSession (of an image that was there), NotFound (the folder or the parent),
    /// EmptyImage, BadImageSize, InvalidArgument, PermissionDenied, NoSpace, IoFailed, or why the parent can't be opened.</exception>
    public static ValueTask CreateAsync(
        string path, ImageCreateOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(options);
        cancellationToken.ThrowIfCancellationRequested();
        IImageDriver driver = ImageDrivers.Find(options.Format);
        using ParentImage? parent = OpenParentOfNew(path, ref options);
        CheckNewSize(path, options.SizeBytes);
        SessionMarker.Check(path);
        LocalFile file = LocalFile.Create(path, 0);
        try
        {
            using LocalContainer container = new(file);
            driver.Create(container, options, parent);
            FileNames.FlushName(file.Path);
            JournalOpening.RemoveBeside(file.Path);
        }
        catch
        {
            RemoveFailed(file.Path);
            throw;
        }

        return default;
    }

    /// <summary>Closes an image whose file is deleted next: what it has not stored yet is dropped, and nothing is made durable.</summary>
    /// <param name="image">What <see cref="OpenAsync"/> gave.</param>
    public static ValueTask AbandonAsync(IBlockNode image)
    {
        ArgumentNullException.ThrowIfNull(image);
        (image as IAbandonable)?.Abandon();
        return image.DisposeAsync();
    }

    /// <summary>
    /// Makes an image, durably, the one that the children of another one take for their parent, once it has that one's name: what a format
    /// records of a parent besides its name, and the time at which the file was last changed, become the other one's.
    /// </summary>
    /// <remarks>
    /// <para>The caller vouches that both show the children the same disk, and gives the image the other one's name next: its own children,
    /// if it has any, no longer know it. Killed at any instant it leaves an image that opens, under one of the two identities; doing it
    /// again completes it.</para>
    /// </remarks>
    /// <param name="path">The image. Its own parent stays.</param>
    /// <param name="otherPath">The other one, which is not changed. Nobody may have it open, for it is to lose its name.</param>
    /// <param name="format">The format of both.</param>
    /// <param name="cancellationToken">Checked before the files are touched.</param>
    /// <exception cref="BlockException">As <see cref="OpenAsync"/>.</exception>
    public static ValueTask TakeOverIdentityAsync(
        string path, string otherPath, ImageFormat format, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(path);
        ArgumentNullException.ThrowIfNull(otherPath);
        cancellationToken.ThrowIfCancellationRequested();
        IImageDriver driver = ImageDrivers.Find(format);
        JournalOpening journal = new();
        using LocalContainer other = new(LocalFile.Open(otherPath, isReadOnly: false));
        using (LocalContainer file = new(LocalFile.Open(path, isReadOnly: false, flushFailed: journal.Watch(null))))
        {
            SessionMarker.Check(path);
            SessionMarker.Check(otherPath);
            driver.TakeOverIdentity(journal.Recover(file, format, driver.Replay), other);
        }

        JournalOpening.RemoveBeside(path);

        FileNames.CopyTime(otherPath, path);
        return default;
    }

    /// <summary>Examines an image's metadata.</summary>
    /// <param name="path">The file.</param>
    /// <param name="format">The format, or null to tell it from the content.</param>
    /// <param name="repair">What may be changed.</param>
    /// <param name="cancellationToken">Ends the check between two steps; a repair that was begun is finished.</param>
    /// <param name="untrusted">The limits of an image from a stranger; null for one that is trusted.</param>
    /// <exception cref="BlockException">As <see cref="OpenAsync"/>, where the image is too damaged to be examined.</exception>
    public static ValueTask<ImageReport> CheckAsync(
        string path,
        ImageFormat? format,
        ImageRepair repair,
        CancellationToken cancellationToken,
        UntrustedLimits? untrusted = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        cancellationToken.ThrowIfCancellationRequested();
        JournalOpening journal = new();
        using LocalContainer file = new(LocalFile.Open(path, repair == ImageRepair.None, flushFailed: journal.Watch(null)));
        if (repair != ImageRepair.None)
        {
            SessionMarker.Check(file.Path);
        }

        IImageDriver driver = ImageProbe.Tell(file, format, ImageParameters.Default.Format);
        AdmitToCheck(driver, file, new ImageChain(file.Path, ImageDrivers.Find, new ReferencePolicy { Limits = untrusted }));
        IContainerFile view = journal.Recover(file, driver.Format, driver.Replay);
        ImageReport report =
            UntrustedLimits.WithinCheckTime(untrusted, file.Path, time => driver.Check(view, repair, time), cancellationToken);
        return new ValueTask<ImageReport>(report with { IsRawByName = IsRawByName(driver, format) });
    }

    /// <summary>The format a new file gets by its name's extension.</summary>
    /// <param name="path">The file.</param>
    /// <param name="parameters">The caller's parameters, for messages; null for those of most cmdlets.</param>
    /// <exception cref="BlockException">Unsupported: the extension names a format Fleece does not write.</exception>
    internal static ImageFormat FormatForNewFile(string path, ImageParameters? parameters = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        return ImageNames.ForNewFile(path, (parameters ?? ImageParameters.Default).Format);
    }

    /// <summary>True when a path leads to a file in the folder of an image, or below: an image may name such a data file.</summary>
    /// <param name="imagePath">Full path of the image.</param>
    /// <param name="path">A full path, which need not exist.</param>
    public static bool IsInFolderOf(string imagePath, string path) => new ImageHome(imagePath).Contains(path);

    // The content never says that a file is raw, so where no caller has said it the name did.
    private static bool IsRawByName(IImageDriver driver, ImageFormat? named) => named is null && driver.Format == ImageFormat.Raw;

    internal static void CheckOpenOptions(string path, ImageOpenOptions options)
    {
        if (!options.IsReadOnly && (options.IsLayerOnly || options.SnapshotName is not null))
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"A single layer, or an internal snapshot, of '{path}' can only be opened read-only.",
                path,
                operation: "open");
        }

        if (options is { Untrusted: not null, AllowsOutsideDataFile: true })
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"-Untrusted refuses every data file of '{path}', so -AllowOutsideDataFile contradicts it. Leave one of them out.",
                path,
                operation: "open");
        }
    }

    // A header that can't be read is what the check is to tell of.
    internal static void AdmitToCheck(IImageDriver driver, IContainerFile file, ImageChain chain)
    {
        try
        {
            chain.AdmitFirst(driver, file);
        }
        catch (BlockException failure) when (failure.Kind is not (ImageErrors.LimitExceeded or ImageErrors.ReferenceRefused))
        {
            return;
        }
    }

    // The user names the parent of a new image, so its format may be told from its content, once and for all.
    private static ParentImage? OpenParentOfNew(string path, ref ImageCreateOptions options)
    {
        if (options.ParentPath is not { } parentPath)
        {
            return null;
        }

        string fullPath = ImageChain.Resolve(path, parentPath);
        if (options.ParentFormat is null)
        {
            using LocalContainer file = new(LocalFile.Open(fullPath, isReadOnly: true));
            options = options with { ParentFormat = ImageProbe.Tell(file, null, "-ParentFormat").Format };
        }

        ReferencePolicy policy = new()
        {
            MustStayInFolder = options.MustStayInFolder,
            AllowsOutsideDataFile = options.AllowsOutsideDataFile,
        };
        ParentImage parent = new ImageChain(path, ImageDrivers.Find, policy).OpenParent(path, [fullPath], options.ParentFormat!.Value);
        options = options with { SizeBytes = options.SizeBytes ?? parent.Layer.LengthBytes };
        return parent;
    }

    // The error under way matters more than one of removing the useless file.
    private static void RemoveFailed(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return;
        }
    }

    private static void CheckNewSize(string path, long? sizeBytes)
    {
        if (sizeBytes is null or 0)
        {
            throw new BlockException(
                ImageErrors.EmptyImage,
                $"Cannot create '{path}' with 0 bytes: a disk has at least one sector. Name a size, or a parent.",
                path);
        }

        if (sizeBytes < 0 || sizeBytes % SectorBytes != 0)
        {
            throw new BlockException(
                ImageErrors.BadImageSize,
                $"Cannot create '{path}' with {sizeBytes} bytes: the size must be a positive multiple of 512.",
                path);
        }
    }
}
