// SPDX-License-Identifier: MIT
using Fleece.Backups.Content;
using Fleece.Backups.Manifests;
using Fleece.Backups.Repositories;
using Fleece.Block;
using Fleece.Block.Telemetry;

namespace Fleece.Backups.Restoring;

/// <summary>Makes an image, or the content of an export, of what a disk was at a backup's instant.</summary>
/// <remarks>
/// <para>Every extent is checked against its digest before anything of it is written, and every byte is written once. The backups are
/// open, and so can't change, until the end.</para>
/// <para>What an interrupted restore leaves is the target's business: <see cref="RestoreFile"/>, <see cref="RestoreExport"/>.</para>
/// <para>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="CompleteAsync"/>.</para>
/// </remarks>
internal sealed class BackupRestore : IAsyncDisposable
{
    // Seldom enough for flushes to cost nothing beside the data, often enough to lose little.
    private const long DurableEveryBytes = 256 * 1024 * 1024;

    private readonly RestorePlan _plan;
    private readonly ContentReader[] _layers;
    private readonly IRestoreTarget _target;
    private readonly WorkActivity _activity;
    private int _doneSteps;
    private long _undurableBytes;
    private bool _isEnded;

    private BackupRestore(
        RestorePlan plan, ContentReader[] layers, IRestoreTarget target, IReadOnlyList<string> notes, WorkActivity activity)
    {
        Notes = notes;
        _plan = plan;
        _layers = layers;
        _target = target;
        _doneSteps = target.ResumedSteps;
        ResumedBytes = DoneBytes = plan.Steps.Take(_doneSteps).Sum(step => step.DataBytes);
        DataBytes = plan.DataBytes;
        _activity = activity;
    }

    /// <summary>What the user should hear though the restore goes on; whole sentences.</summary>
    public IReadOnlyList<string> Notes { get; }

    /// <summary>Bytes of data to write; the rest is zeros.</summary>
    public long DataBytes { get; }

    /// <summary>Bytes of them that are written.</summary>
    public long DoneBytes { get; private set; }

    /// <summary>Bytes of them that an interrupted restore had written before.</summary>
    public long ResumedBytes { get; }

    /// <summary>Refuses to replace the backup itself, and a file that other backups need.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.FileOfBackup"/></exception>
    public static void CheckOwner(BackupPoint point, RestoreOptions options)
    {
        if (options.DestinationUri is not null)
        {
            return;
        }

        OwnedFiles.CheckReplaceable(options.DestinationPath);
        if (Path.GetFullPath(options.DestinationPath) == point.Path)
        {
            throw new BlockException(
                BackupErrors.FileOfBackup, $"'{point.Path}' is the backup that is to be restored. Choose another file.", point.Path);
        }
    }

    /// <summary>Opens the point's chain and the new file, or connects to the export.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupChainBroken"/>, <see cref="BlockErrors.AlreadyExists"/>,
    /// <see cref="BackupErrors.RepositoryBusy"/>, or why a file can't be opened or made.</exception>
    public static async ValueTask<BackupRestore> OpenAsync(
        BackupPoint point, RestoreOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(point);
        ArgumentNullException.ThrowIfNull(options);
        BlockRange range = new(options.OffsetBytes, options.LengthBytes ?? Math.Max(0, point.SizeBytes - options.OffsetBytes));
        range.CheckWithin(point.SizeBytes, point.Path, "restore");
        CheckOwner(point, options);
        Repository repository = RepositoryReader.ReadFor(point);
        IReadOnlyList<Manifest> chain = repository.ChainOf(point.Manifest);
        RestorePlan plan = RestorePlan.Make(chain, range, point.Path);
        List<ContentReader> layers = [];
        try
        {
            await OpenLayersAsync(repository, point, chain, layers, cancellationToken).ConfigureAwait(false);
            if (options.DestinationUri is null)
            {
                RestoreFile.CheckDestination(options); // With the backup open, so that it is found in use by whatever path it is named.
            }

            CheckUnchanged(RepositoryReader.ReadFor(point), chain);
            await CheckUnsealedAsync(repository, chain, layers, cancellationToken).ConfigureAwait(false);
            IRestoreTarget target = options.DestinationUri is null
                ? await RestoreFile.OpenAsync(options, plan, cancellationToken).ConfigureAwait(false)
                : await RestoreExport.ConnectAsync(options, plan, cancellationToken).ConfigureAwait(false);
            return new BackupRestore(
                target.ReadsAsZero ? plan : plan.WithZeroes(),
                [.. layers],
                target,
                NotesOn(repository, chain, target),
                WorkActivity.Begin("fleece.restore", ("source", point.Path)));
        }
        catch
        {
            foreach (ContentReader layer in layers)
            {
                await layer.DisposeAsync().ConfigureAwait(false);
            }

            throw;
        }
    }

    /// <summary>Restores the next piece; false when there was none left.</summary>
    /// <exception cref="BlockException"><see cref="BackupErrors.BackupDigestMismatch"/>, or why it can't be read or written.
    /// </exception>
    public async ValueTask<bool> StepAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_doneSteps == _plan.Steps.Count)
        {
            return false;
        }

        RestoreStep step = _plan.Steps[_doneSteps];
        if (step.Extent.IsZero)
        {
            await ZeroAsync(step, cancellationToken).ConfigureAwait(false);
        }
        else
        {
            await CopyAsync(step, cancellationToken).ConfigureAwait(false);
        }

        _doneSteps++;
        DoneBytes += step.DataBytes;
        _undurableBytes += step.DataBytes;
        if (_undurableBytes >= DurableEveryBytes)
        {
            await _target.MakeDurableAsync(_doneSteps, cancellationToken).ConfigureAwait(false);
            _undurableBytes = 0;
        }

        return true;
    }

    /// <summary>Makes the new image durable and gives it its name.</summary>
    public async ValueTask CompleteAsync(CancellationToken cancellationToken = default)
    {
        Invariant.Require(_doneSteps == _plan.Steps.Count, "I1", "a restore is complete when all of it is written");
        await _target.MakeDurableAsync(_doneSteps, cancellationToken).ConfigureAwait(false);
        _isEnded = true;
        await _target.CompleteAsync().ConfigureAwait(false);
        _activity.Succeed();
    }

    /// <summary>Closes everything. A file that was not completed can be taken up again.</summary>
    public async ValueTask DisposeAsync()
    {
        using WorkActivity activity = _activity;
        foreach (ContentReader layer in _layers)
        {
            await layer.DisposeAsync().ConfigureAwait(false);
        }

        if (!_isEnded)
        {
            _isEnded = true;
            await _target.AbandonAsync(_doneSteps).ConfigureAwait(false);
        }
    }

    // A job that merges changes what an image names as its parent, and its manifest after that.
    private static async ValueTask OpenLayersAsync(
        Repository repository,
        BackupPoint point,
        IReadOnlyList<Manifest> chain,
        List<ContentReader> layers,
        CancellationToken cancellationToken)
    {
        try
        {
            foreach (Manifest manifest in chain)
            {
                layers.Add(await repository.Images.OpenAsync(manifest, cancellationToken).ConfigureAwait(false));
            }
        }
        catch (BlockException e) when (e.Kind == BackupErrors.BackupChainBroken)
        {
            CheckUnchanged(RepositoryReader.ReadFor(point), chain);
            throw;
        }
    }

    // A job may have begun to merge one of the backups between the reading of the manifests and the opening of the images. From here
    // on none can.
    private static void CheckUnchanged(Repository now, IReadOnlyList<Manifest> chain)
    {
        if (chain.Any(before => now.Find(before.Id) is not { } found || found.State != before.State || found.ParentId != before.ParentId))
        {
            throw new BlockException(
                BackupErrors.RepositoryBusy,
                $"A job has just changed backups in '{now.Path}'. Try again.",
                now.Path);
        }
    }

    // Nothing but the image itself tells whether a list without a seal is whole.
    private static async ValueTask CheckUnsealedAsync(
        Repository repository, IReadOnlyList<Manifest> chain, List<ContentReader> layers, CancellationToken cancellationToken)
    {
        for (int layer = 0; layer < chain.Count; layer++)
        {
            if (!chain[layer].IsSealed)
            {
                await repository.Images.CheckMapAsync(chain[layer], layers[layer], cancellationToken).ConfigureAwait(false);
            }
        }
    }

    private static List<string> NotesOn(Repository repository, IReadOnlyList<Manifest> chain, IRestoreTarget target)
    {
        List<string> notes = [];
        if (chain.FirstOrDefault(manifest => !manifest.IsSealed) is { } unsealed)
        {
            notes.Add(new BackupPoint(repository.Path, unsealed).DescribeMissingSeal());
        }

        if (chain.FirstOrDefault(manifest => manifest.IsShared) is { } shared)
        {
            notes.Add(new BackupPoint(repository.Path, shared).DescribeSharing());
        }

        if (target.Note is { } note)
        {
            notes.Add(note);
        }

        return notes;
    }

    private async ValueTask CopyAsync(RestoreStep step, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<byte> data = await _layers[step.LayerIndex!.Value].ReadAsync(step.Extent, cancellationToken).ConfigureAwait(false);
        foreach (BlockRange part in step.Parts)
        {
            await SparseWrite
                .WriteAsync(
                    _target.Image,
                    part.OffsetBytes - _plan.Range.OffsetBytes,
                    data.Slice((int)(part.OffsetBytes - step.Extent.Range.OffsetBytes), (int)part.LengthBytes),
                    _target.ReadsAsZero,
                    cancellationToken)
                .ConfigureAwait(false);
        }
    }

    private async ValueTask ZeroAsync(RestoreStep step, CancellationToken cancellationToken)
    {
        if (step.LayerIndex is { } layer)
        {
            await _layers[layer].CheckAsync(step.Extent, cancellationToken).ConfigureAwait(false);
        }

        foreach (BlockRange part in step.Parts)
        {
            await _target.Image
                .WriteZeroesAsync(part.OffsetBytes - _plan.Range.OffsetBytes, part.LengthBytes, WriteFlags.None, cancellationToken)
                .ConfigureAwait(false);
        }
    }
}
