// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Fleece.Block.Logs;

namespace Fleece.Images.Journal;

/// <summary>A journal that an earlier process has left, as its bytes say it.</summary>
/// <remarks>Threading. Immutable.</remarks>
internal sealed record StoredJournal
{
    /// <summary>Its fault, as a part of a sentence; null when it is whole. Then everything else is there.</summary>
    public string? Fault { get; private init; }

    public JournalState State { get; init; }

    public int FormatNumber { get; private init; }

    /// <summary>Of the image.</summary>
    public ulong FileId { get; private init; }

    /// <summary>Of the journal itself: a copy has another one.</summary>
    public ulong OwnFileId { get; private init; }

    /// <summary>The loss that its maker had not settled.</summary>
    public JournalLoss Loss { get; private init; }

    public Guid BootId { get; private init; }

    /// <summary>The file_write_guid of a VHDX image that was changed.</summary>
    public Guid? Witness { get; private init; }

    public JournalNotes Notes { get; private init; } = new();

    /// <summary>Reads a journal.</summary>
    /// <param name="file">All bytes of its file.</param>
    /// <returns>Null for a file that its maker did not finish, which has no notes.</returns>
    public static StoredJournal? Read(ReadOnlySpan<byte> file)
    {
        if (file.Length < JournalLayout.HeaderBytes || BinaryPrimitives.ReadUInt64LittleEndian(file) == 0)
        {
            return IsUnfinished(file) ? null : Damaged("its header is damaged, or it is too short");
        }

        if (BinaryPrimitives.ReadUInt64LittleEndian(file) != JournalLayout.Magic)
        {
            return Damaged("its header is damaged");
        }

        int version = BinaryPrimitives.ReadInt32LittleEndian(file[8..]);
        if (BinaryPrimitives.ReadUInt32LittleEndian(file[12..]) != JournalLayout.Checksum(file))
        {
            return Damaged("its header is damaged");
        }

        if (version != JournalLayout.Version)
        {
            return Damaged($"its version is {version}, and this program reads version {JournalLayout.Version}");
        }

        if (!TryReadNumber(file, JournalLayout.StateOffsetBytes, out ulong state) ||
            !TryReadNumber(file, JournalLayout.LossOffsetBytes, out ulong loss))
        {
            return Damaged("its state is damaged");
        }

        int regionBytes = BinaryPrimitives.ReadInt32LittleEndian(file[20..]);
        bool isClosed = (JournalState)state == JournalState.Closed;
        if (!isClosed && regionBytes != JournalLayout.RegionBytes(file.Length))
        {
            return Damaged($"it has {file.Length} bytes, and its regions {regionBytes} each");
        }

        Guid id = new(file[32..48]);
        Guid witness = new(file.Slice(JournalLayout.WitnessOffsetBytes, 16));
        uint seal = BinaryPrimitives.ReadUInt32LittleEndian(file[(JournalLayout.WitnessOffsetBytes + 16)..]);
        StoredJournal journal = new()
        {
            State = (JournalState)state,
            FormatNumber = BinaryPrimitives.ReadInt32LittleEndian(file[16..]),
            FileId = BinaryPrimitives.ReadUInt64LittleEndian(file[24..]),
            OwnFileId = BinaryPrimitives.ReadUInt64LittleEndian(file[64..]),
            Loss = (JournalLoss)loss,
            BootId = new Guid(file[48..64]),
            Witness = seal == JournalLayout.Checksum(id, witness) ? witness : null,
        };
        return isClosed ? journal : journal.WithNotes(file, id, regionBytes);
    }

    private StoredJournal WithNotes(ReadOnlySpan<byte> file, Guid id, int regionBytes)
    {
        List<(int Region, long Sequence, int CountBytes)> regions = [];
        long newest = 0;
        for (int region = 0; region < 2; region++)
        {
            if (!TryReadNumber(file, JournalLayout.SequenceOffsetBytes(region), out ulong sequence)
                || !TryReadNumber(file, JournalLayout.CountOffsetBytes(region), out ulong countBytes)
                || countBytes > (ulong)regionBytes)
            {
                return Damaged($"the numbers of its region {region} are damaged");
            }

            newest = Math.Max(newest, (long)sequence);
            if (countBytes != 0)
            {
                regions.Add((region, (long)sequence, (int)countBytes));
            }
        }

        JournalNotes all = new();
        regions.Sort((one, other) => one.Sequence.CompareTo(other.Sequence));
        foreach ((int region, long sequence, int countBytes) in regions)
        {
            JournalNotes.Collector collector = all.Begin();
            ReadOnlySpan<byte> notes = file.Slice(JournalLayout.RegionOffsetBytes(region, regionBytes), countBytes);
            for (int at = 0; at < countBytes;)
            {
                int noteBytes = ReadNote(notes[at..], id, sequence, at, collector);
                if (noteBytes == 0)
                {
                    return Damaged($"the note at offset {JournalLayout.RegionOffsetBytes(region, regionBytes) + at} is damaged");
                }

                at += noteBytes;
            }

            collector.End(isCaptured: sequence < newest);
        }

        return this with { Notes = all };
    }

    // Returns how long the note is; 0 for one that is damaged.
    private static int ReadNote(ReadOnlySpan<byte> notes, Guid id, long sequence, int at, JournalNotes.Collector collector)
    {
        int lengthBytes = notes.Length < JournalLayout.NoteHeaderBytes ? 0 : BinaryPrimitives.ReadUInt16LittleEndian(notes[4..]);
        int noteBytes = JournalLayout.NoteHeaderBytes + (2 * lengthBytes);
        if (lengthBytes is 0 or > JournalLayout.MaximumNoteBytes || lengthBytes % NotedBytes.CellBytes != 0 || noteBytes > notes.Length
            || BinaryPrimitives.ReadUInt32LittleEndian(notes) != JournalLayout.Checksum(id, sequence, at, notes[..noteBytes]))
        {
            return 0;
        }

        long offsetBytes = BinaryPrimitives.ReadInt64LittleEndian(notes[8..]);
        if (offsetBytes < 0 || offsetBytes % NotedBytes.CellBytes != 0)
        {
            return 0;
        }

        collector.Add(notes[6], offsetBytes, MemoryMarshal.Cast<byte, uint>(notes[JournalLayout.NoteHeaderBytes..noteBytes]));
        return noteBytes;
    }

    // Its maker writes the first eight bytes last, and no note before them.
    private static bool IsUnfinished(ReadOnlySpan<byte> file)
    {
        if (file[..Math.Min(file.Length, sizeof(ulong))].ContainsAnyExcept((byte)0))
        {
            return false;
        }

        for (int region = 0; region < 2 && file.Length >= JournalLayout.HeaderBytes; region++)
        {
            int atBytes = JournalLayout.CountOffsetBytes(region);
            bool isWritten = BinaryPrimitives.ReadUInt64LittleEndian(file[atBytes..]) != 0;
            if (isWritten && !(TryReadNumber(file, atBytes, out ulong countBytes) && countBytes == 0))
            {
                return false;
            }
        }

        return true;
    }

    private static bool TryReadNumber(ReadOnlySpan<byte> file, int offsetBytes, out ulong number) =>
        SealedWord.TryDecode((ulong)offsetBytes, BinaryPrimitives.ReadUInt64LittleEndian(file[offsetBytes..]), out number);

    private static StoredJournal Damaged(string fault) => new() { Fault = fault };
}
