// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;

namespace Fleece.Interleavings;

/// <summary>The notes of a session: all that a process would know of it that goes on after a kill (I10).</summary>
internal sealed class ModelJournal(string name, int granules, Action<GranuleRun, bool> checkDone) : ISessionJournal
{
    private readonly bool[] _done = new bool[granules];
    private readonly bool[] _consumed = new bool[granules];
    private readonly bool[,] _confirmed = new bool[2, granules];

    /// <summary>The next notes that find no room.</summary>
    public int FailingNotes { get; set; }

    /// <summary>True when the session has been told to stop: it may not note any more.</summary>
    public bool IsClosed { get; set; }

    /// <summary>The causes that were noted.</summary>
    public List<BlockException> Causes { get; } = [];

    /// <inheritdoc/>
    public BlockException? NoteDone(GranuleRun run, bool hasData)
    {
        checkDone(run, hasData);
        return Note(run, granule => _done[granule] = true);
    }

    /// <inheritdoc/>
    public BlockException? NoteConsumed(GranuleRun run) => Note(run, granule => _consumed[granule] = true);

    /// <inheritdoc/>
    public BlockException? NoteConfirmed(int consumer, GranuleRun run) => Note(run, granule => _confirmed[consumer, granule] = true);

    /// <inheritdoc/>
    public void NoteBroken(BlockException cause)
    {
        Begin();
        Causes.Add(cause);
        Interleaving.Point("a note is made");
    }

    /// <summary>True when a process that goes on now reads the granule from temp.</summary>
    public bool IsReadFromTemp(int granule) => Causes.Count == 0 && _done[granule] && !IsRefused(granule);

    /// <summary>True when a process that goes on now reads the granule from the disk.</summary>
    public bool IsReadFromDisk(int granule) => Causes.Count == 0 && !_done[granule] && !IsRefused(granule);

    private bool IsRefused(int granule) => _consumed[granule] || (_confirmed[0, granule] && _confirmed[1, granule]);

    // The lock of the point in time keeps other notes away; what needs no lock may run before and behind.
    private BlockException? Note(GranuleRun run, Action<long> note)
    {
        Begin();
        if (FailingNotes > 0)
        {
            FailingNotes--;
            return new BlockException(BlockErrors.NoSpace, $"{name}'s log is full.");
        }

        for (long granule = run.Start; granule < run.End; granule++)
        {
            note(granule);
        }

        Interleaving.Point("a note is made");
        return null;
    }

    private void Begin()
    {
        Interleaving.Point("a note begins");
        if (IsClosed)
        {
            Interleaving.Violated($"{name} notes behind its stop");
        }

        if (Causes.Count != 0)
        {
            Interleaving.Violated($"{name} notes behind its break");
        }
    }
}
