// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Sessions.Backups;

namespace Fleece.Sessions.Repositories;

/// <summary>Makes an image of what a disk was at a backup's instant.</summary>
/// <remarks>
/// <para>Every extent is checked against its digest before anything of it is written, and every byte is written once. The backups are
/// open, and so can't change, until the end.</para>
/// <para>An interrupted restore leaves "PATH.partial" and how far it came; the same restore goes on from there.</para>
/// <para>Threading. One caller at a time: <see cref="StepAsync"/> until it says false, then <see cref="CompleteAsync"/>.</para>
/// </remarks>
public sealed class BackupRestore : IAsyncDisposable
{
    // Seldom enough for flushes to cost nothing beside the data, often enough to lose little.
    private const long DurableEveryBytes = 256 * 1024 * 1024;

    private readonly RestoreOptions _options;
    private readonly RestorePlan _plan;
    private readonly ContentReader[] _layers;
    private readonly IBlockNode _image;
    private readonly string _partialPath;
    private readonly string _fingerprint;
    private int _doneSteps;
    private long _undurableBytes;
    private bool _isEnded;

    private BackupRestore(RestoreOptions options, RestorePlan plan, ContentReader[] layers, IBlockNode image, int doneSteps)
    {
        _options = options;
        _plan = plan;
        _layers = layers;
        _image = image;
        _partialPath = PartialPathOf(options);
        _fingerprint = plan.Fingerprint();
        _doneSteps = doneSteps;
        ResumedBytes = DoneBytes = plan.Steps.Take(doneSteps).Sum(LengthOf);
        DataBytes = plan.DataBytes;
    }

    /// <summary>Bytes of data to write; the rest of the image stays holes.</summary>
    public long DataBytes { get; }

    /// <summary>Bytes of them that are written.</summary>
    public long DoneBytes { get; private set; }

    /// <summary>Bytes of them that an interrupted restore had written before.</summary>
    public long ResumedBytes { get; }

    /// <summary>Opens the point's chain and the new file.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupChainBroken"/>, <see cref="BlockErrorKind.AlreadyExists"/>,
    /// <see cref="BlockErrorKind.RepositoryBusy"/>, or why a file can't be opened or made.</exception>
    public static async ValueTask<BackupRestore> OpenAsync(
        BackupPoint point, RestoreOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(point);
        ArgumentNullException.ThrowIfNull(options);
        BlockRange range = new(options.OffsetBytes, options.LengthBytes ?? Math.Max(0, point.SizeBytes - options.OffsetBytes));
        range.CheckWithin(point.SizeBytes, point.Path, "restore");
        FileTarget.CheckDestination(new BackupOptions { Path = options.DestinationPath, Overwrite = options.Overwrite });
        Repository repository = Repository.Read(point.RepositoryPath);
        IReadOnlyList<Manifest> chain = repository.ChainOf(point.Manifest);
        RestorePlan plan = RestorePlan.Make(chain, range, point.Path);
        List<ContentReader> layers = [];
        try
        {
            foreach (Manifest manifest in chain)
            {
                layers.Add(await repository.OpenAsync(manifest, cancellationToken).ConfigureAwait(false));
            }

            CheckUnchanged(repository, chain);
            (IBlockNode image, int doneSteps) = await OpenTargetAsync(options, plan, cancellationToken).ConfigureAwait(false);
            return new BackupRestore(options, plan, [.. layers], image, doneSteps);
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
    /// <exception cref="BlockException"><see cref="BlockErrorKind.BackupDigestMismatch"/>, or why it can't be read or written.
    /// </exception>
    public async ValueTask<bool> StepAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_doneSteps == _plan.Steps.Count)
        {
            return false;
        }

        RestoreStep step = _plan.Steps[_doneSteps];
        ReadOnlyMemory<byte> data = await _layers[step.LayerIndex].ReadAsync(step.Extent, cancellationToken).ConfigureAwait(false);
        foreach (BlockRange part in step.Parts)
        {
            await SparseWrite
                .WriteAsync(
                    _image,
                    part.OffsetBytes - _plan.Range.OffsetBytes,
                    data.Slice((int)(part.OffsetBytes - step.Extent.Range.OffsetBytes), (int)part.LengthBytes),
                    readsAsZero: true,
                    CancellationToken.None)
                .ConfigureAwait(false);
        }

        _doneSteps++;
        DoneBytes += LengthOf(step);
        _undurableBytes += LengthOf(step);
        if (_undurableBytes >= DurableEveryBytes)
        {
            await MakeDurableAsync(cancellationToken).ConfigureAwait(false);
        }

        return true;
    }

    /// <summary>Makes the new image durable and gives it its name.</summary>
    public async ValueTask CompleteAsync(CancellationToken cancellationToken = default)
    {
        Invariant.Require(_doneSteps == _plan.Steps.Count, "I1", "a restore is complete when all of it is written");
        await _image.FlushAsync(cancellationToken).ConfigureAwait(false);
        _isEnded = true;
        await _image.DisposeAsync().ConfigureAwait(false);
        FileNames.Move(_partialPath, _options.DestinationPath, _options.Overwrite);
        RestoreProgress.Delete(_partialPath);
    }

    /// <summary>Closes everything. A restore that was not completed can be taken up again.</summary>
    public async ValueTask DisposeAsync()
    {
        foreach (ContentReader layer in _layers)
        {
            await layer.DisposeAsync().ConfigureAwait(false);
        }

        if (_isEnded)
        {
            return;
        }

        _isEnded = true;
        if (_doneSteps == 0)
        {
            await _image.DisposeAsync().ConfigureAwait(false);
            FileNames.Delete(_partialPath);
            return;
        }

        try
        {
            await MakeDurableAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // What was noted before still holds; the error under way matters more.
        }
        finally
        {
            await _image.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static long LengthOf(RestoreStep step) => step.Parts.Sum(part => part.LengthBytes);

    private static string PartialPathOf(RestoreOptions options) => options.DestinationPath + RepositoryNames.Partial;

    private static async ValueTask<(IBlockNode Image, int DoneSteps)> OpenTargetAsync(
        RestoreOptions options, RestorePlan plan, CancellationToken cancellationToken)
    {
        string partialPath = PartialPathOf(options);
        ImageCreateOptions layout = options.Image with { SizeBytes = plan.Range.LengthBytes };
        if (!File.Exists(partialPath))
        {
            RestoreProgress.Delete(partialPath);
            return (await FileTarget.CreateImageAsync(partialPath, layout, cancellationToken).ConfigureAwait(false), 0);
        }

        if (RestoreProgress.Find(partialPath, plan) is not { } doneSteps)
        {
            throw new BlockException(
                BlockErrorKind.AlreadyExists,
                $"'{partialPath}' exists and is not of this restore: another one is being written there, or was interrupted. Delete that " +
                "file, or restore to another.",
                partialPath);
        }

        (IBlockNode image, _) = await Image
            .OpenAsync(partialPath, new ImageOpenOptions { Format = layout.Format }, cancellationToken).ConfigureAwait(false);
        return (image, doneSteps);
    }

    // A job may have begun to merge one of the backups between the reading of the manifests and the opening of the images. From here
    // on none can.
    private static void CheckUnchanged(Repository repository, IReadOnlyList<Manifest> chain)
    {
        Repository now = Repository.Read(repository.Path);
        if (chain.Any(before => now.Find(before.Id) is not { } found || found.State != before.State || found.ParentId != before.ParentId))
        {
            throw new BlockException(
                BlockErrorKind.RepositoryBusy,
                $"A job has just merged backups in '{repository.Path}'. Try again.",
                repository.Path);
        }
    }

    private async ValueTask MakeDurableAsync(CancellationToken cancellationToken)
    {
        await _image.FlushAsync(cancellationToken).ConfigureAwait(false);
        RestoreProgress.Write(_partialPath, _plan, _fingerprint, _doneSteps);
        _undurableBytes = 0;
    }
}
