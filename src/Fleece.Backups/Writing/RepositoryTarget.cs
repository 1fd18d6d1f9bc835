// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks;
using Fleece.Images;

namespace Fleece.Backups.Writing;

/// <summary>What the next backup of a repository is to be; whether it is full or incremental the snapshot decides.</summary>
internal record RepositoryTargetOptions
{
    /// <summary>The repository's folder.</summary>
    public required string RepositoryPath { get; init; }

    /// <inheritdoc cref="FileTargetOptions.DiskName"/>
    public string? DiskName { get; init; }

    /// <summary>The format; null for that of the backup it builds on, and qcow2 without one.</summary>
    public ImageFormat? Format { get; init; }

    /// <summary>The compression; null for zstd, where the format can.</summary>
    public ImageCompression? Compression { get; init; }

    /// <inheritdoc cref="FileTargetOptions.MustVerify"/>
    public bool MustVerify { get; init; }
}

/// <summary>The next backup of a repository.</summary>
/// <remarks>
/// <para>It is an overlay on the backup of the instant that the snapshot counts from, or a full one where the snapshot shows the whole
/// disk. That backup must be here: nothing else is ever built on.</para>
/// <para>The image gets its name when it is durable, and the manifest gets its own after that; only then is it a backup. A failed one is
/// deleted: the bitmap still has what was consumed, and the disk the rest. Of a session without a bitmap nothing is consumed before the
/// backup has its name.</para>
/// </remarks>
internal sealed class RepositoryTarget : IBackupTarget
{
    private readonly RepositoryFolder _folder;
    private readonly RepositoryFolder? _ownFolder;
    private readonly ISnapshotSource _source;
    private readonly RepositoryPlan _planned;
    private readonly PartialImage _image;
    private readonly BlockRange[] _expected;

    private RepositoryTarget(
        RepositoryFolder folder,
        RepositoryFolder? ownFolder,
        ISnapshotSource source,
        RepositoryPlan planned,
        PartialImage image,
        BlockRange[] expected,
        bool mustVerify)
    {
        _folder = folder;
        _ownFolder = ownFolder;
        _source = source;
        _planned = planned;
        _image = image;
        Traits = image.Traits with
        {
            KeepsManifest = true,
            MustVerify = mustVerify,

            // The session of a job, which takes the repository itself, ends with the job.
            ConfirmsWhenNamed = ownFolder is not null && source.Identity?.BitmapName is null,
        };
        _expected = expected;
    }

    public TargetTraits Traits { get; }

    public IBlockNode Image => _image.Node;

    /// <remarks>The next job deletes what a killed one leaves: the bitmap still has it, or the session.</remarks>
    public bool SurvivesKill => true;

    /// <summary>What tells that the backup may be of another disk than the one before it; whole sentences, null for nothing.</summary>
    public string? OtherSourceNote => _planned.OtherSourceNote;

    /// <inheritdoc cref="RepositoryFolder.InterruptedNote"/>
    public string? InterruptedNote => _folder.InterruptedNote;

    private string ManifestPath => _folder.InFolder(_planned.Manifest.ManifestName);

    /// <summary>Chooses full or incremental, and makes the partial file.</summary>
    /// <param name="options">What the backup is to be.</param>
    /// <param name="source">What it will be of.</param>
    /// <param name="taken">The repository, where the caller has taken it and gives it free; null to take it until the target has ended.
    /// </param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupParentMissing"/>, <see cref="DiskErrors.BackupForeign"/>,
    /// <see cref="BackupErrors.RepositoryBusy"/>, or why the file can't be made; <see cref="BackupErrors.BackupIncomplete"/>: ranges
    /// that it needs are consumed.</exception>
    public static async ValueTask<RepositoryTarget> CreateAsync(
        RepositoryTargetOptions options, ISnapshotSource source, RepositoryFolder? taken, CancellationToken cancellationToken)
    {
        _ = RepositoryPlan.Identify(source, options); // Before a folder is made for what it would not take.
        RepositoryFolder? own = taken is null ? RepositoryFolder.Take(options.RepositoryPath) : null;
        RepositoryFolder folder = taken ?? own!;
        try
        {
            Repository repository = folder.Read();
            RepositoryPlan plan = RepositoryPlan.Make(repository, source, options);
            await CheckChainAsync(repository, plan.Manifest, cancellationToken).ConfigureAwait(false);
            BlockRange[] expected = ExpectedOf(source.Identity, source.SizeBytes);
            if (own is not null)
            {
                await CheckReadableAsync(source, expected, folder, cancellationToken).ConfigureAwait(false);
            }

            string path = folder.InFolder(plan.Manifest.FileName);
            PartialImage image = await PartialImage
                .CreateAsync(path, plan.Layout, outlivesProcess: false, cancellationToken).ConfigureAwait(false);
            return new RepositoryTarget(folder, own, source, plan, image, expected, options.MustVerify);
        }
        catch
        {
            own?.Dispose();
            throw;
        }
    }

    public async ValueTask<BackupPoint?> CompleteAsync(IReadOnlyList<ContentExtent> content, CancellationToken cancellationToken)
    {
        CheckCovers(_planned.Manifest with { Content = content });
        await _image.CloseAsync(Traits.MustVerify ? content : null, proved: null, cancellationToken).ConfigureAwait(false);
        Manifest manifest = _planned.Manifest.Complete(content, _image.FileSizeBytes);
        _folder.Reached?.Invoke("durable");
        ManifestFile.WritePartial(ManifestPath, manifest);
        _folder.Reached?.Invoke("described");
        _image.Rename(overwrite: false);
        _folder.Reached?.Invoke("named");
        ManifestFile.Rename(ManifestPath);
        _folder.Reached?.Invoke("complete");
        _ownFolder?.Dispose();
        return new BackupPoint(_folder.Path, manifest);
    }

    public async ValueTask<string?> AbandonAsync(bool isOnlyCopy)
    {
        try
        {
            _ = await _image.AbandonAsync(isKept: false).ConfigureAwait(false);
            if (!File.Exists(ManifestPath))
            {
                FileNames.Delete(Traits.Destination);
            }

            FileNames.Delete(ManifestPath + RepositoryNames.Partial);
        }
        finally
        {
            _ownFolder?.Dispose();
        }

        return null;
    }

    // The new image is written with its parents open, and shows their content for ever.
    private static async ValueTask CheckChainAsync(Repository repository, Manifest plan, CancellationToken cancellationToken)
    {
        foreach (Manifest link in plan.ParentId is { } parentId ? repository.ChainOf(repository.Find(parentId)!) : [])
        {
            _ = await repository.Images.CheckImageAsync(link, cancellationToken).ConfigureAwait(false);
        }
    }

    private static BlockRange[] ExpectedOf(SnapshotIdentity? identity, long sizeBytes) =>
        identity is { BaselineId: not null, Ranges: { } ranges } ? [.. RangeSet.Of(ranges).Ranges] : [new BlockRange(0, sizeBytes)];

    // Before a part is consumed of what can't become a backup any more.
    private static async ValueTask CheckReadableAsync(
        ISnapshotSource source, BlockRange[] expected, RepositoryFolder folder, CancellationToken cancellationToken)
    {
        foreach (BlockRange range in expected)
        {
            for (long atBytes = range.OffsetBytes; atBytes < range.EndBytes;)
            {
                BlockRange readable = await source.FindReadableAsync(atBytes, range.EndBytes, cancellationToken).ConfigureAwait(false);
                if (readable.IsEmpty || readable.OffsetBytes != atBytes)
                {
                    throw new BlockException(
                        BackupErrors.BackupIncomplete,
                        $"No backup was made in '{folder.Path}': a part of '{source.Id}' was consumed before, at the offset {atBytes}, " +
                        "and a repository takes whole snapshots. Nothing was consumed now. Name a file to keep the rest, or start a new " +
                        $"session for a backup in the repository. {folder.InterruptedNote}".TrimEnd(),
                        folder.Path,
                        atBytes);
                }

                atBytes = readable.EndBytes;
            }
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
            BackupErrors.BackupIncomplete,
            $"The backup '{Traits.Destination}' was not made: {manifest.Ranges.Ranges.Sum(range => range.LengthBytes)} bytes of " +
            $"'{_source.Id}' arrived, once or several times, and a repository takes all {_expected.Sum(range => range.LengthBytes)} of " +
            "them, once. Read the whole snapshot, before anything else consumes it.",
            Traits.Destination);
    }
}
