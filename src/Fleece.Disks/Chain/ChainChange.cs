// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks.Chain;

/// <summary>One thing that is done while no request runs.</summary>
/// <param name="Do">Does it; it has changed nothing when it throws.</param>
/// <param name="Undo">Takes it back when a later step throws; null where there is nothing to take back. It does not throw.</param>
internal readonly record struct ChainStep(Action Do, Action? Undo = null);

/// <summary>A change of the chains of one disk or several: all of it happens, or nothing.</summary>
/// <remarks>
/// <para>The chains are locked in one order, so two changes of the same disks can't wait for each other. The body does under the locks,
/// while guests go on, all that can fail or takes time; only the steps of <see cref="AtInstantAsync"/> hold guests up. When the body
/// throws, the actions that it gave to <see cref="OnFailure"/> run, last first, before the locks are given back.</para>
/// <para>Threading. The body of the change uses it, and nothing else.</para>
/// </remarks>
internal sealed class ChainChange
{
    private readonly DiskChain[] _chains;
    private readonly Stack<Func<ValueTask>> _undo = new();

    private ChainChange(DiskChain[] chains) => _chains = chains;

    /// <summary>Runs a change under the locks of its chains.</summary>
    /// <param name="chains">The chains, each once.</param>
    /// <param name="body">The change.</param>
    /// <param name="cancellationToken">Ends the wait for the locks.</param>
    public static async ValueTask RunAsync(
        IEnumerable<DiskChain> chains, Func<ChainChange, ValueTask> body, CancellationToken cancellationToken)
    {
        DiskChain[] ordered =
        [
            .. chains.OrderBy(chain => chain.Name, StringComparer.OrdinalIgnoreCase).ThenBy(chain => chain.Serial),
        ];
        ChainChange change = new(ordered);
        int lockedCount = 0;
        try
        {
            foreach (DiskChain chain in ordered)
            {
                await chain.Lock.WaitAsync(cancellationToken).ConfigureAwait(false);
                lockedCount++;
            }

            await body(change).ConfigureAwait(false);
        }
        catch
        {
            await change.UndoAsync().ConfigureAwait(false);
            throw;
        }
        finally
        {
            foreach (DiskChain chain in ordered.AsSpan(0, lockedCount))
            {
                chain.Lock.Release();
            }
        }
    }

    /// <summary>Takes something back when the change fails from here on.</summary>
    public void OnFailure(Func<ValueTask> undo) => _undo.Push(undo);

    /// <summary>Does the steps at an instant at which no request runs on any of the disks. When one throws, those before it are taken
    /// back at the same instant.</summary>
    /// <exception cref="BlockException"><see cref="BlockErrors.Closed"/>: one of the disks is, and nothing was done. Or what a step
    /// throws.</exception>
    public async ValueTask AtInstantAsync(params IReadOnlyList<ChainStep> steps)
    {
        int quiescedCount = 0;
        int doneCount = 0;
        try
        {
            foreach (DiskChain chain in _chains)
            {
                await chain.Device.QuiesceAsync().ConfigureAwait(false);
                quiescedCount++;
            }

            foreach (ChainStep step in steps)
            {
                step.Do();
                doneCount++;
            }
        }
        catch
        {
            while (doneCount > 0)
            {
                steps[--doneCount].Undo?.Invoke();
            }

            throw;
        }
        finally
        {
            foreach (DiskChain chain in _chains.AsSpan(0, quiescedCount))
            {
                chain.Device.Resume();
            }
        }
    }

    private async ValueTask UndoAsync()
    {
        while (_undo.TryPop(out Func<ValueTask>? undo))
        {
            try
            {
                await undo().ConfigureAwait(false);
            }
            catch (BlockException)
            {
                // The failure that led here says more, and the rest is taken back all the same.
            }
        }
    }
}
