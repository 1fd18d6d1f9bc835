// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Block.Logs;

namespace Fleece.Disks.Resuming;

/// <summary>One file of a log: its head, its words and its records.</summary>
/// <remarks>
/// <para>A segment more than the records need is allocated ahead, by a thread of its own. A copy needs it to be there; consuming and
/// confirming, which make room elsewhere, may use it.</para>
/// <para>Threading. Growing beside everything else; the rest one call at a time.</para>
/// </remarks>
internal sealed class SessionLogFile : IThreadWork, IDisposable
{
    private const int SegmentBytes = SessionLogLayout.SegmentBytes;
    private static readonly int RecordBytes = RecordLog.RecordBytes(SessionRecord.PayloadBytes);
    private static readonly WorkThreads Growers = new("Fleece session log growth", maximumThreads: 2);

    private readonly Lock _growing = new();
    private readonly MappedFile _file;
    private readonly LossWatch _watch;
    private readonly RecordLog _records;
    private readonly Guid _id;
    private readonly byte[] _description;
    private readonly Guid _fileId;
    private long _wantedBytes;
    private bool _isClosed;

    private SessionLogFile(MappedFile file, SessionLogHead head, byte[] description)
    {
        _file = file;
        _watch = LossWatch.Open(file.File);
        _id = head.Id;
        _fileId = head.FileId;
        _description = description;
        _records = new RecordLog(file, head.FileId, SessionLogLayout.CountAt, head.RecordsStartBytes);
        Head = head;
    }

    /// <summary>The head, before the records.</summary>
    public SessionLogHead Head { get; private set; }

    /// <summary>Bytes of records.</summary>
    public long CountBytes => _records.CountBytes;

    private long EndBytes => _records.StartBytes + _records.CountBytes;

    /// <summary>Makes a file that has no records.</summary>
    /// <exception cref="BlockException">Why it can't be made. No file is left then.</exception>
    public static SessionLogFile Create(string path, SessionLogHead content)
    {
        byte[] description = SessionDescriptionFormat.Encode(content.Description);
        if (description.Length > SessionDescriptionFormat.MaximumBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The session's description has {description.Length} bytes, and its log has room for " +
                $"{SessionDescriptionFormat.MaximumBytes}. Name fewer consumers.",
                path);
        }

        FileNames.Delete(path);
        MappedFile file = MappedFile.Create(path, SegmentBytes);
        try
        {
            SessionLogHead head = content with
            {
                FileId = Guid.NewGuid(),
                OwnFileId = FileEvidence.Read(path).FileId,
                RecordsStartBytes = SessionLogLayout.RecordsAt(description.Length),
            };
            while (file.LengthBytes < head.RecordsStartBytes + RecordBytes + SegmentBytes)
            {
                file.Grow();
            }

            SessionLogFile made = new(file, head, description);
            file.Write(SessionLogLayout.DescriptionAt, description);
            made.WriteHead(head.Maps);
            made.StoreAll(head);
            made._records.Clear();
            return made;
        }
        catch
        {
            file.Dispose();
            FileNames.Delete(path);
            throw;
        }
    }

    /// <summary>Opens and locks a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="id">The id of its session.</param>
    /// <param name="fault">What is wrong with its head, as a part of a sentence; null when nothing is.</param>
    /// <returns>Null when something is wrong.</returns>
    /// <exception cref="BlockException">Why it can't be opened.</exception>
    public static SessionLogFile? Open(string path, Guid id, out string? fault)
    {
        MappedFile file = MappedFile.Open(path, SegmentBytes);
        try
        {
            byte[] bytes = new byte[Math.Min(file.LengthBytes, SessionLogLayout.HeadBytes)];
            file.Read(0, bytes);
            bytes = new byte[Math.Min(file.LengthBytes, SessionLogHead.BytesNeeded(bytes))];
            file.Read(0, bytes);
            SessionLogHead? head = SessionLogHead.Parse(bytes, id, out fault, out _);
            if (head is not null)
            {
                return new SessionLogFile(file, head, bytes[SessionLogLayout.DescriptionAt..]);
            }
        }
        catch
        {
            file.Dispose();
            throw;
        }

        file.Dispose();
        return null;
    }

    /// <summary>Reads the records, and goes on behind them.</summary>
    /// <inheritdoc cref="RecordLog.Read"/>
    public string? ReadRecords(PointInTimeMaps maps) =>
        _records.Read(_file.LengthBytes, (kind, payload) => SessionRecord.Apply(kind, payload, maps));

    /// <summary>Writes which maps the log goes on from. Only while no other process can find the file.</summary>
    public void WriteHead(SessionMapsReference maps)
    {
        Head = Head with { Maps = maps };
        _file.Write(0, SessionLogHead.Encode(_id, _fileId, Head.OwnFileId, maps, _description));
    }

    /// <summary>Stores the state by one store.</summary>
    public void StoreState(StoredState state)
    {
        _file.StoreNumber(SessionLogLayout.StateAt, SessionLogHead.StateWord(state, Head.SlotIndex));
        Head = Head with { State = state };
    }

    /// <summary>Stores a state with what belongs to it: the slot that does not count, then the word that makes it count.</summary>
    public void StoreState(StoredState state, SessionSlot slot, bool isDurable)
    {
        int slotIndex = 1 - Head.SlotIndex;
        _file.Write(SessionLogLayout.SlotsAt + slotIndex * SessionLogLayout.SlotStrideBytes, slot.Encode(_id));
        if (isDurable)
        {
            Flush();
        }

        FailPoint.Reach("log-slot-written");
        _file.StoreNumber(SessionLogLayout.StateAt, SessionLogHead.StateWord(state, slotIndex));
        Head = Head with { State = state, Slot = slot, SlotIndex = slotIndex };
    }

    /// <summary>Stores why the session broke.</summary>
    public void StoreBroken(BlockException cause)
    {
        StoreText(SessionLogLayout.BrokenAt, SessionLogLayout.BrokenTextAt, SessionTexts.Encode(_id, cause));
        Head = Head with { BrokenBy = cause };
    }

    /// <summary>Stores why the session is lost; the state is stored apart.</summary>
    public void StoreLostReason(string reason)
    {
        StoreText(SessionLogLayout.LostAt, SessionLogLayout.LostTextAt, SessionTexts.Encode(_id, reason));
        Head = Head with { LostReason = reason };
    }

    /// <summary>Stores what another file of the same session has before its records.</summary>
    public void StoreAll(SessionLogHead head)
    {
        _file.Write(SessionLogLayout.SlotsAt + head.SlotIndex * SessionLogLayout.SlotStrideBytes, head.Slot.Encode(_id));
        _file.StoreNumber(SessionLogLayout.BrokenAt, 0);
        _file.StoreNumber(SessionLogLayout.LostAt, 0);
        Head = head with { Maps = Head.Maps, FileId = _fileId, OwnFileId = Head.OwnFileId, RecordsStartBytes = Head.RecordsStartBytes };
        if (head.BrokenBy is { } cause)
        {
            StoreBroken(cause);
        }

        if (head.LostReason is { } reason)
        {
            StoreLostReason(reason);
        }

        StoreState(head.State);
    }

    /// <summary>Sees to it that there is room for one more record.</summary>
    /// <param name="mayUseSpare">True for one that may take the last room there is.</param>
    /// <returns>Null, or why there is none.</returns>
    public BlockException? MakeRoom(bool mayUseSpare)
    {
        long endBytes = EndBytes + RecordBytes;
        long lengthBytes = _file.LengthBytes;
        if (endBytes + SegmentBytes <= lengthBytes)
        {
            if (endBytes + SegmentBytes + SegmentBytes / 2 > lengthBytes && _wantedBytes <= lengthBytes)
            {
                // Once for each segment: where it fails, the record that needs the room tries again.
                _wantedBytes = lengthBytes + SegmentBytes;
                Growers.Post(this);
            }

            return null;
        }

        BlockException? cause = Grow(endBytes + SegmentBytes);
        return mayUseSpare && endBytes <= _file.LengthBytes ? null : cause;
    }

    /// <summary>Adds a record, which counts when the call returns. There is room for it.</summary>
    public void Append(SessionRecord record)
    {
        Span<byte> payload = stackalloc byte[SessionRecord.PayloadBytes];
        record.Encode(payload);
        bool hasRoom = _records.TryAppend((ushort)record.Kind, payload, _file.LengthBytes);
        Invariant.Require(hasRoom, "I10", "a record is added where there is room for it");
    }

    /// <summary>Why the system could not store something of the file; null while it could.</summary>
    /// <param name="path">What the file is called now, for messages.</param>
    public BlockException? FindLoss(string path)
    {
        _watch.Path = path;
        return _watch.Find();
    }

    /// <summary>Makes all that was stored durable.</summary>
    public void Flush() => _file.Flush();

    /// <inheritdoc/>
    void IThreadWork.Execute() => _ = Grow(Volatile.Read(ref _wantedBytes));

    /// <summary>Closes the file as it is.</summary>
    public void Dispose()
    {
        lock (_growing)
        {
            _isClosed = true;
            _watch.Dispose();
            _file.Dispose();
        }
    }

    private BlockException? Grow(long lengthBytes)
    {
        lock (_growing)
        {
            try
            {
                while (!_isClosed && _file.LengthBytes < lengthBytes)
                {
                    FailPoint.Reach("log-grow");
                    _file.Grow();
                }

                return null;
            }
            catch (BlockException e)
            {
                return e;
            }
        }
    }

    private void StoreText(int wordAt, int textAt, byte[] text)
    {
        _file.Write(textAt, text);
        FailPoint.Reach("log-text-written");
        _file.StoreNumber(wordAt, (ulong)text.Length);
    }
}
