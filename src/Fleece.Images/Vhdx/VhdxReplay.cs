// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.Images.Maps;
using Fleece.Images.Vhdx.Structures;

namespace Fleece.Images.Vhdx;

/// <summary>Brings the notes of a journal into a VHDX image: through its log, so that a crash keeps all of a commit or nothing.</summary>
/// <remarks>
/// <para>The log that the killed process has left is replayed first; the notes are later than it. Then each region of notes makes one entry
/// of the log, as the write-back would have made it; both make one where that has room.</para>
/// <para>file_write_guid is what the killed process made it until the notes are in the file, because it tells exactly that no other program
/// has changed the image: each gives the file a new one before its first change (MS-VHDX section 2.2.2).</para>
/// </remarks>
internal sealed class VhdxReplay : INoteReplay
{
    public string? FindChange(IContainerFile file, StoredJournal journal)
    {
        VhdxStructure structure = VhdxStructure.Read(file);
        return structure.Headers.Current.FileWriteGuid != journal.Witness
            ? "another program has changed the image since: its file_write_guid is another"
            : journal.Notes.FindContradiction(structure.Replayed ?? file, journal.State == JournalState.Replaying);
    }

    public IContainerFile Show(IContainerFile file, JournalNotes notes)
    {
        VhdxStructure structure = VhdxStructure.Read(file);
        NotedFile noted = new(structure.Replayed ?? file, notes.All);

        // The log is replayed below the notes, and must not be once more above them.
        return structure.Replayed is null ? noted : new NotedFile(noted, NoLog(structure.Headers.Current));
    }

    public void Replay(IContainerFile file, JournalNotes notes, Action beforeWrites)
    {
        beforeWrites();
        VhdxStructure structure = VhdxStructure.Read(file);
        structure.ReplayLog(keepsWriteGuid: true);
        LogWriter log = new(structure.Headers.Current);
        int mostPages = LogWriter.FindMaxPages(structure.Headers.Current);
        List<MetadataPage> pages = Pages(file, notes.All);
        if (pages.Count <= mostPages)
        {
            Commit(file, structure.Headers, log, pages, beforeWrites);
        }
        else
        {
            foreach (NotedBytes generation in notes.Generations)
            {
                Commit(file, structure.Headers, log, Pages(file, generation), beforeWrites);
            }
        }

        beforeWrites();
        structure.Headers.Update(header => header with { LogGuid = Guid.Empty });
    }

    private static void Commit(
        IContainerFile file, VhdxHeaders headers, LogWriter log, List<MetadataPage> pages, Action beforeWrites)
    {
        StagedWrites writes = new(BlockChanges.StageCount);
        writes.Flush(0);
        log.Append(writes, stage: 1, pages, file.GetLength());
        writes.Flush(1, headers.Current.LogGuid == log.LogGuid
            ? beforeWrites
            : () => headers.Update(header => header with { LogGuid = log.LogGuid }));
        foreach (MetadataPage page in pages)
        {
            page.Bytes.CopyTo(writes.Add(2, page.OffsetBytes, VhdxFormat.PageBytes));
        }

        writes.Flush(2);
        beforeWrites();
        writes.WriteTo(file);
    }

    private static List<MetadataPage> Pages(IContainerFile file, NotedBytes notes)
    {
        List<MetadataPage> pages = [];
        for (int i = 0; i < notes.CellCount; i++)
        {
            long index = notes.CellOffsetBytes(i) / VhdxFormat.PageBytes;
            if (pages.Count == 0 || pages[^1].Key != index)
            {
                MetadataPage page = new();
                page.BeginFilling(index);
                file.Read(page.OffsetBytes, page.Bytes);
                notes.Patch(page.OffsetBytes, page.Bytes);
                pages.Add(page);
            }
        }

        return pages;
    }

    // Both headers, saying that there is no log.
    private static NotedBytes NoLog(VhdxHeader header)
    {
        byte[] bytes = (header with { LogGuid = Guid.Empty }).ToBytes();
        Dictionary<long, (uint Value, byte Stage)> cells = [];
        foreach (long offsetBytes in VhdxFormat.HeaderOffsetsBytes)
        {
            for (int at = 0; at < bytes.Length; at += NotedBytes.CellBytes)
            {
                cells.Add(offsetBytes + at, (BitConverter.ToUInt32(bytes, at), 0));
            }
        }

        return new NotedBytes(cells);
    }
}
