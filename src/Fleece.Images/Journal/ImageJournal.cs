// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Block.Logs;

namespace Fleece.Images.Journal;

/// <summary>The file beside an image in which a killed process leaves the changes of tables that were in its memory.</summary>
/// <remarks>
/// <para>A change is noted before another request can see it: else that one could be acknowledged for bytes which only the noted change
/// leads to. A note says what lies in a place of the image from now on, and what lay there before.</para>
/// <para>Two regions take turns. A write-back that captures the changes turns to the other one, and empties the old one when what it
/// captured is on the disk, before places that the disk has forgotten are used again: so no note is of a place that has become something
/// else.</para>
/// <para>A journal that can't be kept is given up, which its file says. The image goes on as one without.</para>
/// <para>Threading. <see cref="IsDue"/>, <see cref="HasRoom"/>, <see cref="WhyGivenUp"/>, <see cref="Touch"/> and
/// <see cref="GiveUp(JournalState, string)"/> from any thread, the rest under the metadata lock of the image. Ownership. It owns its file,
/// which stays beside the image until <see cref="Remove"/>.</para>
/// </remarks>
internal sealed class ImageJournal : IDisposable
{
    private readonly Lock _touching = new();
    private readonly MappedFile _file;
    private readonly Guid _id;
    private readonly int _regionBytes;
    private readonly byte[] _pending = new byte[JournalLayout.NoteHeaderBytes + (2 * JournalLayout.MaximumNoteBytes)];
    private readonly byte[] _before = new byte[JournalLayout.MaximumNoteBytes];
    private string? _whyGivenUp;
    private long _sequence = 1;
    private long _pendingOffsetBytes;
    private int _pendingBytes;
    private int _pendingStage;
    private int _region;
    private int _writtenBytes;
    private int _countedBytes;
    private bool _isMarked;
    private bool _isClosed;

    private ImageJournal(MappedFile file, string path, Guid id, int regionBytes)
    {
        _file = file;
        Path = path;
        _id = id;
        _regionBytes = regionBytes;
    }

    /// <summary>Full path of the file.</summary>
    public string Path { get; }

    /// <summary>Why it does not hold any more, as a part of a sentence; null while it does.</summary>
    public string? WhyGivenUp => Volatile.Read(ref _whyGivenUp);

    /// <summary>True when a region is half full, so that a request should write back before it changes more.</summary>
    public bool IsDue => Volatile.Read(ref _writtenBytes) >= _regionBytes / 2 && WhyGivenUp is null;

    /// <summary>True when the changes of some requests that run at once find room.</summary>
    public bool HasRoom => Volatile.Read(ref _writtenBytes) < _regionBytes / 8 * 5 || WhyGivenUp is not null;

    /// <summary>Makes the journal of an image, in the place of the one that is there, in one step.</summary>
    /// <param name="path">Where.</param>
    /// <param name="format">The image's format.</param>
    /// <param name="fileId">The image's <see cref="FileEvidence.FileId"/>.</param>
    /// <param name="loss">What became of the journal before, until <see cref="SettleLoss"/>.</param>
    /// <param name="fileBytes">Its size, a power of two; tests take less.</param>
    /// <exception cref="BlockException">As <see cref="MappedFile.Create"/>, or why it can't take its place: the file that was there is as
    /// it was then.</exception>
    public static ImageJournal Create(
        string path,
        ImageFormat format,
        ulong fileId,
        JournalLoss loss = JournalLoss.None,
        int fileBytes = JournalLayout.FileBytes)
    {
        string partialPath = path + WholeFile.Partial;
        FileNames.Delete(partialPath);
        MappedFile file = MappedFile.Create(partialPath, fileBytes);
        try
        {
            Guid id = Guid.NewGuid();
            int regionBytes = JournalLayout.RegionBytes(fileBytes);
            file.StoreNumber(JournalLayout.StateOffsetBytes, (ulong)JournalState.Kept);
            file.StoreNumber(JournalLayout.LossOffsetBytes, (ulong)loss);
            for (int region = 0; region < 2; region++)
            {
                file.StoreNumber(JournalLayout.SequenceOffsetBytes(region), region == 0 ? 1u : 0u);
                file.StoreNumber(JournalLayout.CountOffsetBytes(region), 0);
            }

            ulong ownFileId = FileEvidence.Read(partialPath).FileId;
            file.Write(0, JournalLayout.Encode(format, regionBytes, fileId, ownFileId, id, BootId.Current));
            FailPoint.Reach("image-journal-made-not-placed");
            FileNames.Replace(partialPath, path);
            FailPoint.Reach("image-journal-placed");
            return new ImageJournal(file, path, id, regionBytes);
        }
        catch
        {
            file.Dispose();
            FileNames.Delete(partialPath);
            throw;
        }
    }

    /// <summary>Notes bytes of a table before they change in memory, where nothing but what <see cref="Commit"/> follows may see them.
    /// </summary>
    /// <param name="stage">When a replay writes them; each stage is durable before the next.</param>
    /// <param name="offsetBytes">Where they lie in the image, a multiple of 4.</param>
    /// <param name="before">The bytes as they are, a multiple of 4 of them.</param>
    /// <param name="now">As many that take their place.</param>
    public void Note(int stage, long offsetBytes, ReadOnlySpan<byte> before, ReadOnlySpan<byte> now)
    {
        // Neighbours, and the same place again, go into one note.
        long inside = offsetBytes - _pendingOffsetBytes;
        if (_pendingBytes == 0 || stage != _pendingStage || inside < 0 || inside > _pendingBytes
            || inside + now.Length > JournalLayout.MaximumNoteBytes)
        {
            Append();
            _pendingStage = stage;
            _pendingOffsetBytes = offsetBytes;
            inside = 0;
        }

        int at = (int)inside;
        now.CopyTo(_pending.AsSpan(JournalLayout.NoteHeaderBytes + at));
        int knownBytes = Math.Clamp(_pendingBytes - at, 0, before.Length);
        before[knownBytes..].CopyTo(_before.AsSpan(at + knownBytes));
        _pendingBytes = Math.Max(_pendingBytes, at + now.Length);
    }

    /// <summary>Makes all notes count.</summary>
    public void Commit()
    {
        Append();
        if (_writtenBytes != _countedBytes && _whyGivenUp is null)
        {
            FailPoint.Reach("image-change-not-noted");
            Store(JournalLayout.CountOffsetBytes(_region), _writtenBytes);
            _countedBytes = _writtenBytes;
            FailPoint.Reach("image-change-noted-not-made");
        }
    }

    /// <summary>Makes all notes count, and says that tables are about to be written straight to the image, in no write-back.</summary>
    public void CommitBeforeWrite()
    {
        Append();
        if (!_isMarked)
        {
            _isMarked = true;
            Note(JournalLayout.MarkStage, 0, stackalloc byte[sizeof(uint)], stackalloc byte[sizeof(uint)]);
        }

        Commit();
    }

    /// <summary>Has later notes go to the other region, because a write-back has captured all changes so far.</summary>
    public void Turn()
    {
        Commit();
        _region = 1 - _region;
        _sequence++;
        _isMarked = false;
        Volatile.Write(ref _writtenBytes, 0);
        _countedBytes = 0;
        Store(JournalLayout.SequenceOffsetBytes(_region), _sequence);
        FailPoint.Reach("image-journal-turned");
    }

    /// <summary>Forgets the notes before the last <see cref="Turn"/>, whose changes are on the disk. Before places become free.</summary>
    public void EmptyOld()
    {
        FailPoint.Reach("image-written-back-journal-not-emptied");
        Store(JournalLayout.CountOffsetBytes(1 - _region), 0);
        FailPoint.Reach("image-journal-emptied");
    }

    /// <summary>Stores, before the header has it, the file_write_guid that the image gets before its first change.</summary>
    public void SetWitness(Guid fileWriteGuid)
    {
        Span<byte> bytes = stackalloc byte[20];
        fileWriteGuid.TryWriteBytes(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[16..], JournalLayout.Checksum(_id, fileWriteGuid));
        TryWrite(JournalLayout.WitnessOffsetBytes, bytes);
    }

    /// <summary>Says in the file that it does not hold any more; only the first time counts.</summary>
    /// <param name="state">What is so.</param>
    /// <param name="why">Why, as a part of a sentence.</param>
    public void GiveUp(JournalState state, string why)
    {
        if (Interlocked.CompareExchange(ref _whyGivenUp, why, null) is not null || _isClosed)
        {
            return;
        }

        try
        {
            _file.StoreNumber(JournalLayout.StateOffsetBytes, (ulong)state);
        }
        catch (BlockException)
        {
            FileNames.TryDelete(Path);
        }
    }

    /// <summary>As <see cref="IJournaledImage.Touch"/>.</summary>
    public void Touch(long notBeforeTicks)
    {
        lock (_touching)
        {
            if (_isClosed)
            {
                return;
            }

            try
            {
                File.SetLastWriteTimeUtc(_file.File.Handle, FileEvidence.WitnessTime(notBeforeTicks));
            }
            catch (Exception failure) when (FileErrors.IsFromSystem(failure))
            {
                GiveUp(JournalState.GivenUp, $"the time of its journal '{Path}' can't be set: {failure.Message}");
            }
        }
    }

    /// <summary>Says in the file that sessions and the host know of the loss that it followed.</summary>
    public void SettleLoss()
    {
        FailPoint.Reach("image-loss-not-settled");
        if (!_isClosed)
        {
            Store(JournalLayout.LossOffsetBytes, (long)JournalLoss.None);
        }
    }

    /// <summary>Closes the file, which stays and says that the image on disk has everything.</summary>
    public void Close()
    {
        FailPoint.Reach("image-closed-journal-open");
        Store(JournalLayout.StateOffsetBytes, (long)JournalState.Closed);
        Dispose();
        FailPoint.Reach("image-closed-journal-not-cut");
        FoundJournal.TryCut(Path);
    }

    /// <summary>As <see cref="Close"/>, and removes it.</summary>
    public void Remove()
    {
        FailPoint.Reach("image-closed-journal-not-removed");
        Store(JournalLayout.StateOffsetBytes, (long)JournalState.Closed);
        Dispose();

        // A file that stays says that the image was closed, or is judged by the times of both.
        FileNames.TryDelete(Path);
    }

    /// <summary>Closes the file as it is, for the next opener of the image.</summary>
    public void Dispose()
    {
        lock (_touching)
        {
            if (!_isClosed)
            {
                _isClosed = true;
                _file.Dispose();
            }
        }
    }

    // Writes the pending note behind the others; it does not count yet.
    private void Append()
    {
        int bytes = _pendingBytes;
        _pendingBytes = 0;
        if (bytes == 0 || _whyGivenUp is not null)
        {
            return;
        }

        int noteBytes = JournalLayout.NoteHeaderBytes + (2 * bytes);
        if (_writtenBytes + noteBytes > _regionBytes)
        {
            GiveUp(JournalState.GivenUp, "more of its tables changed at once than its journal has room for");
            return;
        }

        Span<byte> note = _pending.AsSpan(0, noteBytes);
        BinaryPrimitives.WriteInt32LittleEndian(note[4..], bytes | (_pendingStage << 16));
        BinaryPrimitives.WriteInt64LittleEndian(note[8..], _pendingOffsetBytes);
        _before.AsSpan(0, bytes).CopyTo(note[(JournalLayout.NoteHeaderBytes + bytes)..]);
        BinaryPrimitives.WriteUInt32LittleEndian(note, JournalLayout.Checksum(_id, _sequence, _writtenBytes, note));
        if (TryWrite(JournalLayout.RegionOffsetBytes(_region, _regionBytes) + _writtenBytes, note))
        {
            Volatile.Write(ref _writtenBytes, _writtenBytes + noteBytes);
        }
    }

    private bool TryWrite(long offsetBytes, ReadOnlySpan<byte> bytes)
    {
        try
        {
            _file.Write(offsetBytes, bytes);
            return true;
        }
        catch (BlockException failure)
        {
            GiveUp(failure);
            return false;
        }
    }

    private void Store(long offsetBytes, long number)
    {
        try
        {
            _file.StoreNumber(offsetBytes, (ulong)number);
        }
        catch (BlockException failure)
        {
            GiveUp(failure);
        }
    }

    private void GiveUp(BlockException failure) => GiveUp(JournalState.GivenUp, $"its journal can't be written: {failure.Message}");
}
