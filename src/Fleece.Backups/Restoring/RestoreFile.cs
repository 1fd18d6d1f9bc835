// SPDX-License-Identifier: MIT
using Fleece.Backups.Manifests;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Backups.Restoring;

/// <summary>A new image that a point is restored to: "PATH.partial" until it is complete.</summary>
/// <remarks>Interrupted, it stays, with a note of how far it came; the same restore goes on from there.</remarks>
internal sealed class RestoreFile : IRestoreTarget
{
    private readonly RestoreOptions _options;
    private readonly RestorePlan _plan;
    private readonly string _partialPath;
    private readonly string _fingerprint;

    private RestoreFile(RestoreOptions options, RestorePlan plan, IBlockNode image, int resumedSteps, string? note = null)
    {
        _options = options;
        _plan = plan;
        _partialPath = PartialImage.PathFor(options.DestinationPath);
        _fingerprint = plan.Fingerprint();
        Image = image;
        ResumedSteps = resumedSteps;
        Note = note;
    }

    public IBlockNode Image { get; }

    public bool ReadsAsZero => true;

    public int ResumedSteps { get; }

    public string? Note { get; }

    /// <summary>Refuses a file that must not be replaced, and one that is open.</summary>
    public static void CheckDestination(RestoreOptions options)
    {
        PartialImage.CheckDestination(options.DestinationPath, options.Overwrite);
        FileManifest.CheckDestination(options.DestinationPath, options.Overwrite, hasManifest: false);
    }

    /// <summary>Makes the partial file, or takes up the one that an interrupted restore left.</summary>
    /// <remarks>A partial file without a note is no restore's: it may hold the only copy of what an interrupted export has consumed.
    /// </remarks>
    /// <exception cref="BlockException"><see cref="BlockErrors.AlreadyExists"/>, or why the file can't be made or opened.</exception>
    public static async ValueTask<RestoreFile> OpenAsync(RestoreOptions options, RestorePlan plan, CancellationToken cancellationToken)
    {
        string partialPath = PartialImage.PathFor(options.DestinationPath);
        ImageCreateOptions layout = options.Image with { SizeBytes = plan.Range.LengthBytes };
        int? doneSteps = RestoreProgress.Find(options.DestinationPath, plan, out bool isDamaged);
        string? note = isDamaged
            ? $"how far an interrupted one had come with '{partialPath}' is noted beside it, and that note is damaged"
            : null;
        bool isOfOtherRestore = doneSteps is null && RestoreProgress.Exists(options.DestinationPath);
        if (isOfOtherRestore && options.Overwrite)
        {
            note ??= $"'{partialPath}' was left by another one";
        }

        if (note is not null)
        {
            // This restore can't go on with the file, and all that is in it is in backups too. A restore that still runs has it open.
            LocalFile.Open(partialPath, isReadOnly: false).Dispose();
            FileNames.Delete(partialPath);
        }

        if (!File.Exists(partialPath))
        {
            PartialImage made = await PartialImage
                .CreateAsync(options.DestinationPath, layout, outlivesProcess: false, cancellationToken).ConfigureAwait(false);
            RestoreFile file = new(
                options, plan, made.Node, resumedSteps: 0, note is null ? null : $"The restore begins anew: {note}.");
            try
            {
                file.NoteProgress(0);
                return file;
            }
            catch
            {
                await file.AbandonAsync(0).ConfigureAwait(false);
                throw;
            }
        }

        if (doneSteps is null)
        {
            throw new BlockException(
                BlockErrors.AlreadyExists,
                isOfOtherRestore
                    ? $"'{partialPath}' exists and is of another restore, which runs or was interrupted. Replace it with -Force, or " +
                      "restore to another file."
                    : $"'{partialPath}' exists, and no restore has left it: it may be all there is of an export that was interrupted. " +
                      "Restore to another file, or see what it is (docs/ends.md) and remove it yourself.",
                partialPath);
        }

        (IBlockNode image, _) = await Images.Image
            .OpenAsync(partialPath, new ImageOpenOptions { Format = layout.Format }, cancellationToken).ConfigureAwait(false);
        return new RestoreFile(options, plan, image, doneSteps.Value);
    }

    public async ValueTask MakeDurableAsync(int steps, CancellationToken cancellationToken)
    {
        await Image.FlushAsync(cancellationToken).ConfigureAwait(false);
        NoteProgress(steps);
    }

    public async ValueTask CompleteAsync()
    {
        await Image.DisposeAsync().ConfigureAwait(false);
        PartialImage.CheckReplaceable(_options.DestinationPath);
        FileManifest.RemoveStale(_options.DestinationPath);
        FileNames.Move(_partialPath, _options.DestinationPath, _options.Overwrite);
        FileNames.Delete(PartialImage.ProgressPathFor(_options.DestinationPath));
    }

    public async ValueTask AbandonAsync(int steps)
    {
        if (steps == 0)
        {
            await Images.Image.AbandonAsync(Image).ConfigureAwait(false);
            FileNames.Delete(_partialPath);
            FileNames.Delete(PartialImage.ProgressPathFor(_options.DestinationPath));
            return;
        }

        try
        {
            await MakeDurableAsync(steps, CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException)
        {
            // What was noted before still holds; the error under way matters more.
        }
        finally
        {
            await Image.DisposeAsync().ConfigureAwait(false);
        }
    }

    private void NoteProgress(int steps) => RestoreProgress.Write(_options.DestinationPath, _plan, _fingerprint, steps);
}
