// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Maps;

/// <summary>A run of places of a file on its way from being freed to being free.</summary>
/// <param name="First">The number of the first place; a format counts them in its own unit.</param>
/// <param name="Count">Places in the run.</param>
/// <param name="IsShared">True when others use the places too, or may: they keep their content.</param>
/// <param name="Epoch">When requests could last look them up.</param>
/// <param name="WriteBack">The write-back that takes what led to them off the disk.</param>
internal readonly record struct FreedRun(long First, long Count, bool IsShared, long Epoch, long WriteBack);

/// <summary>Places whose entries are gone in memory, which pass two gates before they are used again.</summary>
/// <remarks>
/// <para>First, every request that may have looked a place up has ended (<see cref="Epochs"/>): only then is it zeroed, which gives its
/// storage back, because a write that was under way could still land in it, and only then could new content be confused with old by a
/// read. Second, a write-back has made the disk forget what led to it: otherwise a crash would leave two parts of the disk in one
/// place. A shared place passes the same gates and is not zeroed.</para>
/// <para>Threading. <see cref="Reclaim"/> and <see cref="NeedsWriteBack"/> from any thread, the rest under the metadata lock.</para>
/// </remarks>
/// <param name="epochs">Counts the requests.</param>
/// <param name="sync">The metadata lock.</param>
/// <param name="poison">Once it is set, all stays where it is.</param>
/// <param name="mostPlaces">Places that may wait for a write-back; more need one, so that they are used again in time.</param>
/// <param name="zero">Makes a run read as zeros. Not under the lock.</param>
/// <param name="release">Makes a run free. Under the lock.</param>
/// <param name="hasRoom">False while a write-back must make room before a run is made free; null for none that must.</param>
internal sealed class FreedPlaces(
    Epochs epochs, Lock sync, Poison poison, long mostPlaces, Action<FreedRun> zero, Action<FreedRun> release, Func<bool>? hasRoom = null)
{
    private const int MostRuns = 65536;

    // Bounds what is released under one hold of the lock.
    private const int MostPlacesPerRun = 8192;

    private readonly Queue<FreedRun> _inUse = new();
    private readonly Queue<FreedRun> _zeroed = new();
    private FreedRun _newest;
    private long _uncapturedPlaces;
    private int _uncapturedRuns;
    private long _nextWriteBack = 1;
    private long _capturedWriteBack;
    private long _finishedWriteBack;

    /// <summary>True when so much waits for a write-back that one should begin. Places that wait for a request alone do not count: no
    /// write-back lets them go.</summary>
    public bool NeedsWriteBack =>
        Volatile.Read(ref _uncapturedPlaces) >= mostPlaces || Volatile.Read(ref _uncapturedRuns) >= MostRuns;

    /// <summary>Takes places whose entry has just been changed in memory.</summary>
    public void Add(long first, long count, bool isShared)
    {
        Volatile.Write(ref _uncapturedPlaces, _uncapturedPlaces + count);
        if (_newest.Count is > 0 and < MostPlacesPerRun && first == _newest.First + _newest.Count
            && _newest == _newest with { IsShared = isShared, Epoch = epochs.Current, WriteBack = _nextWriteBack })
        {
            _newest = _newest with { Count = _newest.Count + count };
            return;
        }

        CloseNewest();
        _newest = new FreedRun(first, count, isShared, epochs.Current, _nextWriteBack);
        Volatile.Write(ref _uncapturedRuns, _uncapturedRuns + 1);
    }

    /// <summary>Starts a write-back, after the one before has ended; its changes are those made so far.</summary>
    public void BeginWriteBack()
    {
        _capturedWriteBack = _nextWriteBack++;
        Volatile.Write(ref _uncapturedPlaces, 0);
        Volatile.Write(ref _uncapturedRuns, 0);
    }

    /// <summary>Notes that the changes of the write-back are durable.</summary>
    public void EndWriteBack() => _finishedWriteBack = _capturedWriteBack;

    /// <summary>Zeroes places that nothing uses any more and makes those free that the disk has forgotten.</summary>
    /// <remarks>Not from within a request that is counted in the epochs: its own places would stay.</remarks>
    public void Reclaim()
    {
        while (true)
        {
            FreedRun run;
            lock (sync)
            {
                if (poison.IsSet)
                {
                    return;
                }

                // One run under each hold of the lock.
                if (_zeroed.TryPeek(out run) && run.WriteBack <= _finishedWriteBack && hasRoom?.Invoke() != false)
                {
                    _zeroed.Dequeue();
                    release(run);
                    continue;
                }

                epochs.Advance();
                CloseNewest();
                if (!_inUse.TryPeek(out run) || !epochs.IsOver(run.Epoch))
                {
                    return;
                }

                _inUse.Dequeue();
                if (run.IsShared)
                {
                    _zeroed.Enqueue(run);
                    continue;
                }
            }

            Zero(run);
        }
    }

    // A run that can't be zeroed is leaked until the image is checked, which harms no request.
    private void Zero(FreedRun run)
    {
        try
        {
            zero(run);
        }
        catch (BlockException)
        {
            return;
        }

        lock (sync)
        {
            _zeroed.Enqueue(run);
        }
    }

    private void CloseNewest()
    {
        if (_newest.Count != 0)
        {
            _inUse.Enqueue(_newest);
            _newest = default;
        }
    }
}
