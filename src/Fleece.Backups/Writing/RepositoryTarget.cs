// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>The next backup of a repository.</summary>
/// <remarks>
/// <para>It is an overlay on the backup of the instant that the snapshot counts from, or a full one where the snapshot shows the whole
/// disk. That backup must be here: nothing else is ever built on.</para>
/// <para>The image gets its name when it is durable, and the manifest gets its own after that; only then is it a backup. A failed one is
/// deleted, consumed or not: the bitmap still has what it held, and the disk the rest.</para>
/// </remarks>
internal sealed class RepositoryTarget : IBackupTarget
{
    private readonly RepositoryFolder _folder;
    private readonly bool _ownsFolder;
    private readonly ISnapshotSource _source;
    private readonly RepositoryPlan _planned;
    private readonly BlockRange[] _expected;

    private RepositoryTarget(
        RepositoryFolder folder, bool ownsFolder, ISnapshotSource source, RepositoryPlan planned, IBlockNode image)
    {
        _folder = folder;
        _ownsFolder = ownsFolder;
        _source = source;
        _planned = planned;
        Image = image;
        _expected = source.Identity is { BaselineId: not null, Ranges: { } ranges }
            ? [.. RangeSet.Of(ranges).Ranges]
            : [new BlockRange(0, source.SizeBytes)];
    }

    /// <inheritdoc/>
    public string Destination => _folder.InFolder(_planned.Manifest.FileName);

    /// <inheritdoc/>
    public ImageFormat? Format => _planned.Manifest.Format;

    /// <inheritdoc/>
    public IBlockNode Image { get; }

    /// <inheritdoc/>
    public bool ReadsAsZero => _planned.Manifest.ParentId is null;

    /// <inheritdoc/>
    public bool ConfirmsWhenDurable => false;

    /// <inheritdoc/>
    public bool KeepsManifest => true;

    /// <inheritdoc/>
    public int WritesAtOnce => FileTarget.WritesAtOnceFor(_planned.Layout);

    /// <inheritdoc/>
    public BackupPoint? Point { get; private set; }

    /// <inheritdoc/>
    public string? OtherSourceNote => _planned.OtherSourceNote;

    private string PartialPath => Destination + RepositoryNames.Partial;

    private string ManifestPath => _folder.InFolder(RepositoryNames.ManifestFor(_planned.Manifest.FileName));

    /// <summary>Chooses full or incremental, and makes the partial file.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupParentMissing"/>, <see cref="BlockErrorKind.BackupForeign"/>,
    /// <see cref="BlockErrorKind.RepositoryBusy"/>, or why the file can't be made.</exception>
    public static async ValueTask<RepositoryTarget> CreateAsync(
        BackupOptions options, ISnapshotSource source, CancellationToken cancellationToken)
    {
        _ = RepositoryPlan.Identify(source, options); // Before a folder is made for what it would not take.
        RepositoryFolder folder = options.Repository ?? RepositoryFolder.Take(options.Path);
        bool ownsFolder = options.Repository is null;
        try
        {
            Repository repository = folder.Read();
            RepositoryPlan plan = RepositoryPlan.Make(repository, source, options);
            await CheckChainAsync(repository, plan.Manifest, cancellationToken).ConfigureAwait(false);
            string partialPath = folder.InFolder(plan.Manifest.FileName) + RepositoryNames.Partial;
            IBlockNode image = await FileTarget.CreateImageAsync(partialPath, plan.Layout, cancellationToken).ConfigureAwait(false);
            return new RepositoryTarget(folder, ownsFolder, source, plan, image);
        }
        catch
        {
            if (ownsFolder)
            {
                folder.Dispose();
            }

            throw;
        }
    }

    /// <inheritdoc/>
    public async ValueTask CompleteAsync(IReadOnlyList<ContentExtent> content, bool mustVerify, CancellationToken cancellationToken)
    {
        CheckCovers(_planned.Manifest with { Content = content });
        await Image.FlushAsync(cancellationToken).ConfigureAwait(false);
        await Image.DisposeAsync().ConfigureAwait(false);
        if (mustVerify)
        {
            await FileTarget.VerifyAsync(PartialPath, _planned.Layout, content, cancellationToken).ConfigureAwait(false);
        }

        Manifest manifest = _planned.Manifest.Complete(content, new FileInfo(PartialPath).Length);
        _folder.Reached?.Invoke("durable");
        ManifestFile.WritePartial(ManifestPath, manifest);
        _folder.Reached?.Invoke("described");
        FileNames.Move(PartialPath, Destination, overwrite: false);
        _folder.Reached?.Invoke("named");
        FileNames.Move(ManifestPath + RepositoryNames.Partial, ManifestPath, overwrite: false);
        _folder.Reached?.Invoke("complete");
        Point = new BackupPoint(_folder.Path, manifest);
        End();
    }

    /// <inheritdoc/>
    public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
    {
        try
        {
            await FileTarget.CloseFailedAsync(Image, isKept: false).ConfigureAwait(false);
            FileNames.Delete(PartialPath);
            if (!File.Exists(ManifestPath))
            {
                FileNames.Delete(Destination);
            }

            FileNames.Delete(ManifestPath + RepositoryNames.Partial);
        }
        finally
        {
            End();
        }

        return null;
    }

    // The new image is written with its parents open, and shows their content for ever.
    private static async ValueTask CheckChainAsync(Repository repository, Manifest plan, CancellationToken cancellationToken)
    {
        foreach (Manifest link in plan.ParentId is { } parentId ? repository.ChainOf(repository.Find(parentId)!) : [])
        {
            _ = await repository.CheckImageAsync(link, cancellationToken).ConfigureAwait(false);
        }
    }

    private void End()
    {
        if (_ownsFolder)
        {
            _folder.Dispose();
        }
    }

    // Each read is known to be whole; whether the reads were of all the snapshot had at its start comes out here.
    private void CheckCovers(Manifest manifest)
    {
        if (manifest.FindFault() is null && manifest.Ranges.Ranges.SequenceEqual(_expected))
        {
            return;
        }

        throw new BlockException(
            BlockErrorKind.BackupIncomplete,
            $"The backup '{Destination}' was not made: {manifest.Ranges.Ranges.Sum(range => range.LengthBytes)} bytes of '{_source.Id}' " +
            $"arrived, once or several times, and a repository takes all {_expected.Sum(range => range.LengthBytes)} of them, once. Read " +
            "the whole snapshot, before anything else consumes it.",
            Destination);
    }
}
