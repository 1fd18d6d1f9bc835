// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Disks.Chain;

/// <summary>One thing that is done while no request runs.</summary>
/// <param name="Do">Does it; it has changed nothing when it throws.</param>
/// <param name="Undo">Takes it back when a later step throws; null where there is nothing to take back. It does not throw.</param>
internal readonly record struct ChainStep(Action Do, Action? Undo = null);

/// <summary>How long a change may hold new requests back while those in flight end.</summary>
/// <param name="Patience">The time of one attempt, after which guests go on.</param>
/// <param name="Attempts">How many there are, with as much time for the guests between them.</param>
internal readonly record struct DrainLimit(TimeSpan Patience, int Attempts)
{
    /// <summary>Guests feel no attempt much, and storage that is well ends its requests within one.</summary>
    public static DrainLimit Default { get; } = new(TimeSpan.FromMilliseconds(500), 10);

    /// <summary>For a change that must happen.</summary>
    public static DrainLimit None { get; } = new(Timeout.InfiniteTimeSpan, 1);
}

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
    private readonly DrainLimit _limit;
    private readonly CancellationToken _cancellationToken;
    private readonly Stack<Func<ValueTask>> _undo = new();

    private ChainChange(DiskChain[] chains, DrainLimit limit, CancellationToken cancellationToken)
    {
        _chains = chains;
        _limit = limit;
        _cancellationToken = cancellationToken;
    }

    /// <summary>Runs a change under the locks of its chains.</summary>
    /// <param name="chains">The chains, each once.</param>
    /// <param name="body">The change.</param>
    /// <param name="cancellationToken">Gives up while it waits for a lock or for requests in flight, and before the steps.</param>
    /// <param name="limit">How long requests in flight may hold new ones back; null for the default.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.DiskBusy"/>: they took longer. <see cref="BlockErrors.Closed"/>: a disk
    /// is closed, and the body has not begun.</exception>
    public static ValueTask RunAsync(
        IEnumerable<DiskChain> chains,
        Func<ChainChange, ValueTask> body,
        CancellationToken cancellationToken,
        DrainLimit? limit = null) => RunAsync(chains, body, limit ?? DrainLimit.Default, mayBeClosed: false, cancellationToken);

    /// <summary>Runs a change that must happen, however long requests in flight take, also on a disk that is closed.</summary>
    /// <param name="chains">The chains, each once.</param>
    /// <param name="body">The change.</param>
    public static ValueTask RunToTheEndAsync(IEnumerable<DiskChain> chains, Func<ChainChange, ValueTask> body) =>
        RunAsync(chains, body, DrainLimit.None, mayBeClosed: true, CancellationToken.None);

    private static async ValueTask RunAsync(
        IEnumerable<DiskChain> chains,
        Func<ChainChange, ValueTask> body,
        DrainLimit limit,
        bool mayBeClosed,
        CancellationToken cancellationToken)
    {
        DiskChain[] ordered =
        [
            .. chains.OrderBy(chain => chain.Name, StringComparer.OrdinalIgnoreCase).ThenBy(chain => chain.Serial),
        ];
        ChainChange change = new(ordered, limit, cancellationToken);
        int lockedCount = 0;
        try
        {
            foreach (DiskChain chain in ordered)
            {
                await chain.Lock.WaitAsync(cancellationToken).ConfigureAwait(false);
                lockedCount++;
                if (!mayBeClosed)
                {
                    chain.Device.CheckOpen(); // Its disk may have been dismounted meanwhile, and all that it keeps is sealed.
                }
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
        for (int attempt = 1; !await TryAtInstantAsync(steps, attempt == _limit.Attempts).ConfigureAwait(false); attempt++)
        {
            await Task.Delay(_limit.Patience, _cancellationToken).ConfigureAwait(false);
        }
    }

    // False when requests in flight took longer than one attempt may.
    private async ValueTask<bool> TryAtInstantAsync(IReadOnlyList<ChainStep> steps, bool isLast)
    {
        int quiescedCount = 0;
        try
        {
            foreach (DiskChain chain in _chains)
            {
                await chain.Device.QuiesceAsync(_limit.Patience, _cancellationToken).ConfigureAwait(false);
                quiescedCount++;
            }

            _cancellationToken.ThrowIfCancellationRequested();
            Do(steps);
            return true;
        }
        catch (TimeoutException e) when (quiescedCount < _chains.Length)
        {
            return isLast ? throw Busy(_chains[quiescedCount], e) : false;
        }
        finally
        {
            foreach (DiskChain chain in _chains.AsSpan(0, quiescedCount))
            {
                chain.Device.Resume();
            }
        }
    }

    private static void Do(IReadOnlyList<ChainStep> steps)
    {
        int doneCount = 0;
        try
        {
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
    }

    private static BlockException Busy(DiskChain chain, TimeoutException cause) => new(
        DiskErrors.DiskBusy,
        $"A request on the disk '{chain.Name}' does not end, and nothing can begin or change at an instant while it runs. Nothing was " +
        "changed, and guests go on. See why its storage, or the temp of one of its sessions, does not answer, and try again.",
        cause: cause);

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
