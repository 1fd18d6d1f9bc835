// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Logs;
using Fleece.Fuzz.Images;
using Fleece.Images;
using Fleece.Images.Container;
using Fleece.Images.Journal;
using Fleece.TestKit;

namespace Fleece.Fuzz.Journals;

/// <summary>The journal beside an image, which a killed process has left.</summary>
/// <remarks>
/// The oracle, where checksums are left as they are: the journal is refused with a reason, has no notes because its maker did not finish
/// it (the first eight bytes are zeros), or says what a journal of the corpus says. With mended checksums it is refused or replayed into
/// the image that it was kept for, within the bounds of a target, and what is shown before the replay is read after it.
/// </remarks>
internal sealed class JournalTarget(bool isMended) : FuzzTarget
{
    private static readonly ImageFormat[] Formats = [ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx];

    private HashSet<string>? _truths;

    /// <inheritdoc/>
    public override string Name => isMended ? "journal-mended" : "journal";

    /// <inheritdoc/>
    public override int SmokeCases => 300;

    /// <inheritdoc/>
    protected override string CorpusName => "journal";

    /// <inheritdoc/>
    public override IReadOnlyList<byte[]> Seeds() => [.. base.Seeds().Select(SparseForm.Unpack)];

    /// <inheritdoc/>
    public override byte[] Pack(byte[] input) => SparseForm.Pack(input);

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds)
    {
        byte[] journal = Mutator.Mutate(random, [seeds[random.Next(seeds.Count)]]);
        if (isMended)
        {
            Mend(journal);
        }

        return journal;
    }

    /// <inheritdoc/>
    protected override ValueTask JudgeAsync(byte[] input)
    {
        byte[] bytes = SparseForm.Unpack(input);
        switch (StoredJournal.Read(bytes))
        {
            case null when bytes.AsSpan(0, Math.Min(bytes.Length, sizeof(ulong))).ContainsAnyExcept((byte)0):
                throw new FuzzFindingException("A journal that was begun passes for one that was not.");
            case { Fault: "" }:
                throw new FuzzFindingException("A journal is refused without a reason.");
            case { Fault: null } journal when !isMended && !Truths().Contains(Facts(journal)):
                throw new FuzzFindingException("A damaged journal says something else.");
            case { Fault: null } journal when isMended:
                _ = Replay(journal);
                break;
        }

        return default;
    }

    private HashSet<string> Truths() => _truths ??= [.. Seeds().Select(seed => StoredJournal.Read(seed) switch
    {
        { Fault: null } journal when journal.Notes.All.CellCount != 0 && Replay(journal) => Facts(journal),
        var journal => throw new FuzzFindingException($"A journal of the corpus can't be replayed into its image: {journal?.Fault}"),
    })];

    // False when the image refuses it.
    private static bool Replay(StoredJournal journal)
    {
        ImageFormat? format = Formats.Cast<ImageFormat?>().FirstOrDefault(
            format => JournalLayout.FormatNumber(format!.Value) == journal.FormatNumber);
        if (format is not { } known || ImageDrivers.Find(known).Replay is not { } replay)
        {
            return false;
        }

        byte[] image = SparseForm.Unpack(File.ReadAllBytes(
            Path.Combine(AppContext.BaseDirectory, "Corpus", JournalCorpus.ImageFolder, $"{known}.bin".ToLowerInvariant())));
        try
        {
            if (replay.FindChange(new MemoryFile("/image", image, isReadOnly: true), journal) is not null)
            {
                return false;
            }

            byte[] shown = Content(replay.Show(new MemoryFile("/image", image, isReadOnly: true), journal.Notes));
            MemoryFile file = new("/image", image, isReadOnly: false);
            replay.Replay(file, journal.Notes, static () => { });

            // VHDX's replay goes through its own log, which changes more of the file than the tables.
            if (known != ImageFormat.Vhdx && !shown.AsSpan().SequenceEqual(Content(file)))
            {
                throw new FuzzFindingException("The replay leaves another image than the one that was shown.");
            }

            return true;
        }
        catch (BlockException refusal) when (
            refusal.Kind is ImageErrors.Corrupt or BlockErrors.Unsupported or BlockErrors.NoSpace or BlockErrors.OutOfRange)
        {
            return false;
        }
    }

    private static byte[] Content(IContainerFile file)
    {
        byte[] content = new byte[file.GetLength()];
        file.Read(0, content);
        return content;
    }

    private static string Facts(StoredJournal journal)
    {
        HashCode cells = default;
        Span<byte> cell = stackalloc byte[NotedBytes.CellBytes];
        for (int index = 0; index < journal.Notes.All.CellCount; index++)
        {
            journal.Notes.All.Patch(journal.Notes.All.CellOffsetBytes(index), cell);
            cells.Add(journal.Notes.All.CellOffsetBytes(index));
            cells.AddBytes(cell);
        }

        return $"{journal.State} {journal.FormatNumber} {journal.FileId} {journal.BootId} {journal.Notes.Generations.Count} " +
            $"{cells.ToHashCode()}";
    }

    private static void Mend(byte[] file)
    {
        if (file.Length < JournalLayout.HeaderBytes)
        {
            return;
        }

        MendWord(file, JournalLayout.StateOffsetBytes);
        Guid id = new(file.AsSpan(32, 16));
        int regionBytes = JournalLayout.RegionBytes(file.Length);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(20), regionBytes);
        for (int region = 0; region < 2; region++)
        {
            long sequence = MendWord(file, JournalLayout.SequenceOffsetBytes(region));
            long countBytes = MendWord(file, JournalLayout.CountOffsetBytes(region));
            int startAt = JournalLayout.RegionOffsetBytes(region, regionBytes);
            for (int at = 0; at < countBytes && at <= regionBytes - JournalLayout.NoteHeaderBytes;)
            {
                int noteBytes = JournalLayout.NoteHeaderBytes +
                    (2 * BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(startAt + at + 4)));
                if (noteBytes > regionBytes - at)
                {
                    break;
                }

                Span<byte> note = file.AsSpan(startAt + at, noteBytes);
                BinaryPrimitives.WriteUInt32LittleEndian(note, JournalLayout.Checksum(id, sequence, at, note));
                at += noteBytes;
            }
        }

        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(12), JournalLayout.Checksum(file));
    }

    private static long MendWord(byte[] file, int at)
    {
        ulong number = BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at)) & SealedWord.Maximum;
        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan(at), SealedWord.Encode((ulong)at, number));
        return (long)number;
    }
}
