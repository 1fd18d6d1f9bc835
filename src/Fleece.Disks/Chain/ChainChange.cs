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
    // New requests wait while those in flight end, also on disks whose storage is well. Storage that answers does so sooner.
    private static readonly TimeSpan DrainPatience = TimeSpan.FromSeconds(10);

    private readonly DiskChain[] _chains;
    private readonly TimeSpan _patience;
    private readonly CancellationToken _cancellationToken;
    private readonly Stack<Func<ValueTask>> _undo = new();

    private ChainChange(DiskChain[] chains, TimeSpan patience, CancellationToken cancellationToken)
    {
        _chains = chains;
        _patience = patience;
        _cancellationToken = cancellationToken;
    }

    /// <summary>Runs a change under the locks of its chains.</summary>
    /// <param name="chains">The chains, each once.</param>
    /// <param name="body">The change.</param>
    /// <param name="cancellationToken">Gives up while it waits for a lock or for requests in flight, and before the steps.</param>
    /// <param name="patience">How long requests in flight may hold new ones back; null for 10 s.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskBusy"/>: they took longer.</exception>
    public static ValueTask RunAsync(
        IEnumerable<DiskChain> chains,
        Func<ChainChange, ValueTask> body,
        CancellationToken cancellationToken,
        TimeSpan? patience = null) => RunAsync(chains, body, patience ?? DrainPatience, cancellationToken);

    /// <summary>Runs a change that must happen, however long requests in flight take.</summary>
    /// <param name="chains">The chains, each once.</param>
    /// <param name="body">The change.</param>
    public static ValueTask RunToTheEndAsync(IEnumerable<DiskChain> chains, Func<ChainChange, ValueTask> body) =>
        RunAsync(chains, body, Timeout.InfiniteTimeSpan, CancellationToken.None);

    private static async ValueTask RunAsync(
        IEnumerable<DiskChain> chains, Func<ChainChange, ValueTask> body, TimeSpan patience, CancellationToken cancellationToken)
    {
        DiskChain[] ordered =
        [
            .. chains.OrderBy(chain => chain.Name, StringComparer.OrdinalIgnoreCase).ThenBy(chain => chain.Serial),
        ];
        ChainChange change = new(ordered, patience, cancellationToken);
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
                await QuiesceAsync(chain).ConfigureAwait(false);
                quiescedCount++;
            }

            _cancellationToken.ThrowIfCancellationRequested();
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

    private async ValueTask QuiesceAsync(DiskChain chain)
    {
        try
        {
            await chain.Device.QuiesceAsync(_patience, _cancellationToken).ConfigureAwait(false);
        }
        catch (TimeoutException e)
        {
            throw new BlockException(
                DiskErrors.DiskBusy,
                $"A request on the disk '{chain.Name}' has not ended for {_patience.TotalSeconds} s, and nothing can begin or change at an " +
                "instant while it runs. Nothing was changed, and guests go on. See why its storage, or the temp of one of its sessions, " +
                "does not answer, and try again.",
                cause: e);
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
