// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;

namespace Fleece.Block.Tests.CopyBeforeWrite.Model;

/// <summary>Notes in memory that outlive a <see cref="Life"/>, with maps that were written while notes came in.</summary>
/// <remarks>All notes are kept, for the reference; those before the newest maps are not read back.</remarks>
internal sealed class RecordedJournal(Func<Life> life, Func<bool> isFull) : ISessionJournal
{
    private readonly List<Note> _notes = [];
    private List<PageCopy> _maps = [];
    private int _mapsAt;

    private enum Kind
    {
        Done,
        Consumed,
        Confirmed,
    }

    /// <summary>Why the session is lost; null while it is whole.</summary>
    public BlockException? BrokenBy { get; private set; }

    /// <summary>How many maps have been written as a whole.</summary>
    public int Checkpoints { get; private set; }

    public BlockException? NoteDone(GranuleRun run, bool hasData) => Add(new Note(Kind.Done, 0, run, hasData));

    public BlockException? NoteConsumed(GranuleRun run) => Add(new Note(Kind.Consumed, 0, run, false));

    public BlockException? NoteConfirmed(int consumer, GranuleRun run) => Add(new Note(Kind.Confirmed, consumer, run, false));

    public void NoteBroken(BlockException cause)
    {
        // A killed process would not come so far; no caller would hear of it.
        if (!life().IsOver)
        {
            life().Change(() => BrokenBy ??= cause);
        }
    }

    /// <summary>Writes the maps page by page while others change them; they count from the moment when all are written.</summary>
    public async Task WriteMapsAsync(PointInTime point, Seeds seeds)
    {
        int startsAt = 0;
        point.BetweenChanges(() => life().Change(() => startsAt = _notes.Count));
        List<PageCopy> written = [];
        List<GranuleMap> maps = MapsOf(point.Maps);
        int[] order = [.. Enumerable.Range(0, maps.Count)];
        for (int i = order.Length - 1; i > 0; i--)
        {
            int other = seeds.Next(i + 1);
            (order[i], order[other]) = (order[other], order[i]);
        }

        foreach (int index in order)
        {
            for (int page = 0; page < maps[index].PageCount; page++)
            {
                ulong[] words = new ulong[GranuleMap.WordsPerPage];
                written.Add(new PageCopy(index, page, maps[index].GetPage(page, words), words));
            }

            await Task.Yield();
            life().ThrowIfOver();
        }

        life().Change(() => (_maps, _mapsAt, Checkpoints) = (written, startsAt, Checkpoints + 1));
    }

    /// <summary>The maps as a later process reads them.</summary>
    public PointInTimeMaps ReadBack(long granuleCount, int consumerCount, bool isLimited)
    {
        PointInTimeMaps maps = new(granuleCount, consumerCount, isLimited);
        List<GranuleMap> all = MapsOf(maps);
        foreach (PageCopy page in _maps)
        {
            all[page.Map].AddPage(page.Page, page.Kind, page.Words);
        }

        foreach (Note note in _notes[_mapsAt..])
        {
            switch (note.Kind)
            {
                case Kind.Done:
                    maps.AddDone(note.Run, note.HasData);
                    break;
                case Kind.Consumed:
                    maps.AddConsumed(note.Run);
                    break;
                default:
                    maps.AddConfirmed(note.Consumer, note.Run);
                    break;
            }
        }

        return maps;
    }

    /// <summary>True when a note says that temp has data of the granule.</summary>
    public bool HasData(long granule) => Has(granule, note => note.Kind == Kind.Done && note.HasData);

    /// <summary>True when notes say that the consumer is refused the granule, by itself or with everybody.</summary>
    public bool IsConfirmed(long granule, int consumer) =>
        Has(granule, note => note.Kind == Kind.Consumed || (note.Kind == Kind.Confirmed && note.Consumer == consumer));

    /// <summary>True when a note says that everybody is refused the granule.</summary>
    public bool IsConsumed(long granule) => Has(granule, note => note.Kind == Kind.Consumed);

    private BlockException? Add(Note note)
    {
        if (isFull())
        {
            return new BlockException(BlockErrors.NoSpace, "The log is full.");
        }

        life().Change(() => _notes.Add(note));
        return null;
    }

    private bool Has(long granule, Predicate<Note> wanted) =>
        _notes.Exists(note => granule >= note.Run.Start && granule < note.Run.End && wanted(note));

    private static List<GranuleMap> MapsOf(PointInTimeMaps maps) =>
        [maps.Done, maps.Stored, maps.Refused, .. maps.Confirmed, .. maps.Denied is { } denied ? [denied] : Array.Empty<GranuleMap>()];

    private readonly record struct Note(Kind Kind, int Consumer, GranuleRun Run, bool HasData);

    private sealed record PageCopy(int Map, int Page, GranulePageKind Kind, ulong[] Words);
}
