// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Journal;

namespace Fleece.Images.Maps;

/// <summary>Takes changed metadata to the disk in stages, so that a crash can interrupt it anywhere.</summary>
/// <remarks>
/// <para>All changes of one moment are copied under the metadata lock, then written outside it. A format says which change belongs into
/// which stage, and which stages are durable before the next begins.</para>
/// <para>Threading. One write-back at a time; others wait for it asynchronously.</para>
/// <para>Errors. The first failure poisons the image; later calls report it again.</para>
/// </remarks>
/// <param name="file">The image.</param>
/// <param name="dataFile">The external data file, which is flushed before the first stage; null when the data lies in the image.</param>
/// <param name="changes">Has what has changed.</param>
/// <param name="stageCount">Stages of the format.</param>
/// <param name="journal">Has what has changed for a process that is killed; null for an image without.</param>
internal sealed class StagedWriteBack(
    IContainerFile file, IContainerFile? dataFile, IStagedChanges changes, int stageCount, ImageJournal? journal = null) : IDisposable
{
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly StagedWrites _writes = new(stageCount);

    /// <summary>Makes everything that completed before the call durable.</summary>
    /// <exception cref="BlockException">The first failure.</exception>
    public async ValueTask RunAsync(CancellationToken cancellationToken)
    {
        await RequestThreads.TakeTurnAsync(_turn, cancellationToken).ConfigureAwait(false);
        try
        {
            Run();
        }
        finally
        {
            _turn.Release();
        }

        changes.Reclaim();
    }

    /// <summary>Leaves the file as a clean image, unless a failure forbids that or nothing was changed. No request may run.</summary>
    public void Finish()
    {
        if (changes.HasChanged && !changes.Poison.IsSet)
        {
            Run();
            changes.Reclaim();
            changes.Finish();
        }
    }

    public void Dispose() => _turn.Dispose();

    private void Run()
    {
        try
        {
            lock (changes.Sync)
            {
                changes.Poison.ThrowIfSet();
                _writes.Clear();
                journal?.Turn();
                changes.Capture(_writes);
            }

            dataFile?.Flush();
            _writes.WriteTo(file);
        }
        catch (Exception failure)
        {
            // Of any sort, also when there is no memory to capture with: the changes count as captured, and the disk lacks them.
            changes.Poison.Set(failure);
            throw;
        }

        lock (changes.Sync)
        {
            // Before places become free: a note of what a place was must not be left when it has become something else.
            journal?.EmptyOld();
            changes.EndWriteBack();
        }
    }
}
