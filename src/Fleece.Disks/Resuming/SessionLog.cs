// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Images;

namespace Fleece.Disks.Resuming;

/// <summary>The log of a session that runs: what a killed process leaves for the next one.</summary>
/// <remarks>
/// <para>All of it counts when the call returns, for as long as the system runs; what is to outlive the system says so.</para>
/// <para>Compaction. A log of more than 8 MiB is replaced: <see cref="SessionCompaction"/> writes the maps on a thread of its own while
/// every record goes to the old log and to the new one.</para>
/// <para>Threading. All members from any thread; <see cref="Suspend"/>, <see cref="Delete"/> and <see cref="Dispose"/> behind the last
/// note. No call but these waits for a compaction. Ownership. It owns its files, which are locked. Errors. <see cref="BlockException"/>;
/// those of notes are returned.</para>
/// </remarks>
internal sealed class SessionLog : ISessionJournal, IDisposable
{
    /// <summary>Bytes of records from which on a log is compacted.</summary>
    public const long DefaultCompactionBytes = 8 * 1024 * 1024;

    /// <summary>The end of a log's name.</summary>
    public const string Extension = ".log";

    private readonly Lock _lock = new();
    private readonly SessionLogFiles _files;
    private string? _disownedReason;
    private SessionCompaction? _compaction;
    private PointInTimeMaps? _live;
    private long _compactAtBytes = DefaultCompactionBytes;
    private bool _isEnding;

    private SessionLog(string path, SessionLogFile file)
    {
        Path = path;
        _files = new SessionLogFiles(path, file);
    }

    /// <summary>Full path of the log.</summary>
    public string Path { get; }

    /// <summary>The part that never changes.</summary>
    public SessionDescription Description => Head.Description;

    /// <summary>The state that was stored last.</summary>
    public StoredState State => Head.State;

    /// <summary>The instant; null until <see cref="StoreInstant"/>.</summary>
    public DateTimeOffset? StartedAt => Head.Slot.StartedAt;

    /// <summary>Why the point in time was lost; null while it is whole.</summary>
    public BlockException? BrokenBy => Head.BrokenBy;

    /// <summary>Why the last compaction failed; null when it did not. The log is as it was then, and the next compaction begins when it
    /// has grown as much again.</summary>
    public BlockException? CompactionFailure => _files.Failure;

    /// <summary>Bytes of records from which on the log is compacted, for tests.</summary>
    internal long CompactionBytes { get; set; } = DefaultCompactionBytes;

    /// <summary>Where the image lies now; null where it lies where the description says.</summary>
    internal string? ImagePath { get; set; }

    /// <summary>Tells tests how far a compaction has come.</summary>
    internal Action<string>? Reached { get; set; }

    /// <summary>The head, before the records.</summary>
    internal SessionLogHead Head => _files.Head;

    /// <summary>Bytes of the records, for tests.</summary>
    internal long RecordsBytes => _files.CountBytes;

    /// <summary>How far it has come.</summary>
    internal LogPosition Position => _files.Position;

    /// <summary>The maps that the log goes on from.</summary>
    internal SessionMapsReference Maps => Head.Maps;

    /// <summary>Makes the log of a session whose instant has not come: <see cref="StoredState.Starting"/>. It is durable.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="description">What never changes.</param>
    /// <param name="maps">What the snapshot refuses from the start; null for nothing, and where <see cref="StoreDenied"/> follows.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.NoSpace"/>, or why it can't be made. No file is left then.</exception>
    public static SessionLog Create(SessionFolder folder, SessionDescription description, PointInTimeMaps? maps = null)
    {
        string path = folder.LogPathFor(description.Id);
        string partialPath = path + WholeFile.Partial;
        SessionLogFile? file = null;
        try
        {
            file = SessionLogFile.Create(partialPath, new SessionLogHead
            {
                Id = description.Id,
                FileId = Guid.Empty,
                OwnFileId = 0,
                Maps = SessionMapsReference.None,
                Description = description,
                State = StoredState.Starting,
                SlotIndex = 0,
                Slot = new SessionSlot(BootId.Current, null, null),
                RecordsStartBytes = 0,
            });

            // Behind the locked file that says that they are needed.
            if (maps is not null)
            {
                file.WriteHead(StoreFirstMaps(path, description.Id, maps));
            }

            file.Flush();
            FailPoint.Reach("log-made");
            FileNames.Move(partialPath, path, overwrite: false);
            FailPoint.Reach("log-named");
            return new SessionLog(path, file);
        }
        catch
        {
            file?.Dispose();
            if (file is not null && !File.Exists(partialPath))
            {
                FileNames.Delete(path); // It had its name, and the flush of the folder failed.
            }

            FileNames.Delete(partialPath);
            FileNames.Delete(SessionMapsReference.PathFor(path, 1));
            throw;
        }
    }

    /// <summary>Opens the log of a session whose process has ended.</summary>
    /// <param name="path">The log.</param>
    /// <param name="id">The id in its name.</param>
    /// <param name="fault">What is wrong, as a part of a sentence; null when nothing is.</param>
    /// <returns>The log and the maps; null when something is wrong.</returns>
    internal static (SessionLog Log, PointInTimeMaps Maps)? Open(string path, Guid id, out string? fault)
    {
        if (SessionLogFile.Open(path, id, out fault) is not { } file)
        {
            return null;
        }

        try
        {
            SessionDescription description = file.Head.Description;
            PointInTimeMaps? maps = file.Head.Maps.Number != 0
                ? SessionMapsReader.Read(
                    SessionMapsReference.PathFor(path, file.Head.Maps.Number), description, file.Head.Maps, out fault)
                : new PointInTimeMaps(
                    description.GranuleCount, description.Consumers.Count, description.IsLimited || description.HasRanges);

            // Linux tells a failure that no process has heard of to the next one that opens the file.
            fault ??= file.FindLoss(path)?.Message.TrimEnd('.') ?? file.ReadRecords(maps!);
            if (fault is null)
            {
                return (new SessionLog(path, file), maps!);
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

    /// <summary>Opens a log to change its state alone; null when its head is damaged.</summary>
    internal static SessionLog? OpenHead(string path, Guid id) =>
        SessionLogFile.Open(path, id, out _) is { } file ? new SessionLog(path, file) : null;

    /// <summary>Stores what the snapshot refuses from the start, where that is known at the instant alone. While Starting, before any
    /// note. Guests wait for the instant, so nothing is flushed; <see cref="Flush"/> behind it lets the log outlive the system.</summary>
    /// <exception cref="BlockException">Why it can't be stored. Nothing has changed then.</exception>
    public void StoreDenied(PointInTimeMaps maps) => SessionCompaction.Run(this, maps);

    /// <summary>Stores the instant, in each log of a start, before the leader's <see cref="StoredState.Running"/>.</summary>
    public void StoreInstant(DateTimeOffset instant) =>
        StoreState(StoredState.Starting, Head.Slot with { StartedAt = instant }, isDurable: false);

    /// <summary>Gives the maps that compactions write: the live ones of the point in time. Before the first note; without them the log only
    /// grows.</summary>
    public void Follow(PointInTimeMaps live)
    {
        lock (_lock)
        {
            _live = live;
            _compactAtBytes = Math.Max(CompactionBytes, _files.CountBytes);
        }
    }

    /// <summary>Stores the state in one step.</summary>
    /// <param name="state">Starting, Running, EndingSuccess or EndingFailure.</param>
    /// <param name="isDurable">Makes it outlive the system.</param>
    public void StoreState(StoredState state, bool isDurable = false)
    {
        FailPoint.Reach("log-state");
        _files.Store(file => file.StoreState(state));
        FailPoint.Reach("log-state-stored");
        if (isDurable)
        {
            Flush();
        }
    }

    /// <summary>Stores that the session runs in this run of the system: the last step of a resume, before the first request. Durable.
    /// </summary>
    public void StoreResumed() =>
        // The evidence holds until the word changes, so that an end before that leaves the session as it was.
        StoreState(StoredState.Running, new SessionSlot(BootId.Current, StartedAt, null), isDurable: true);

    /// <summary>Stores that the session can't be resumed. Durable.</summary>
    /// <param name="reason">Why, as a sentence; a very long one is cut.</param>
    public void StoreLost(string reason)
    {
        _files.Store(file => file.StoreLostReason(reason));
        StoreState(StoredState.Lost, isDurable: true);
    }

    /// <summary>Stores that the process ends in order, with how it leaves the files: the last step of all. Durable. A compaction that runs
    /// is given up.</summary>
    public void Suspend(SessionEvidence evidence)
    {
        EndCompaction();
        Flush();
        StoreState(StoredState.Suspended, Head.Slot with { Evidence = evidence }, isDurable: true);
    }

    /// <inheritdoc/>
    public BlockException? NoteDone(GranuleRun run, bool hasData) => Note(
        new SessionRecord(hasData ? SessionRecord.RecordKind.Stored : SessionRecord.RecordKind.DoneAsZeroes, run), mayUseSpare: false);

    /// <inheritdoc/>
    public BlockException? NoteConsumed(GranuleRun run) =>
        Note(new SessionRecord(SessionRecord.RecordKind.Consumed, run), mayUseSpare: true);

    /// <inheritdoc/>
    public BlockException? NoteConfirmed(int consumer, GranuleRun run) =>
        Note(new SessionRecord(SessionRecord.RecordKind.Confirmed, run, consumer), mayUseSpare: true);

    /// <summary>Why no later process goes on with the session, as a sentence; null while one would.</summary>
    public string? DisownedReason => Volatile.Read(ref _disownedReason);

    /// <summary>True when the log was removed while its session runs: there is nothing to leave to a later process.</summary>
    public bool IsGone { get; private set; }

    /// <inheritdoc/>
    public void NoteBroken(BlockException cause)
    {
        try
        {
            if (BrokenBy is null)
            {
                _files.Store(file => file.StoreBroken(cause));
            }
        }
        catch (BlockException failure)
        {
            Disown(failure, mayStay: false);
        }

        _ = FindLoss(); // Then the note may be lost too.
    }

    /// <summary>Why the system could not store something of the log; null while it could. The log says too little by then, and more of it
    /// may be lost, so the session does not come back.</summary>
    public BlockException? FindLoss()
    {
        BlockException? failure = _files.FindLoss();
        if (failure is not null)
        {
            Disown(failure, mayStay: true); // Each time: where another session takes its name at once, the marker may be as before.
        }

        return failure;
    }

    /// <summary>Makes all that was stored durable.</summary>
    public void Flush() => _files.Flush();

    /// <summary>Closes the log and removes it with its maps, durably.</summary>
    public void Delete()
    {
        Dispose();
        FileNames.DeleteDurably(Path);
        FailPoint.Reach("log-deleted");
        FileNames.Delete(SessionMapsReference.PathFor(Path, Maps.Number));
    }

    /// <summary>Closes the log as it is. A compaction that runs is given up.</summary>
    public void Dispose()
    {
        EndCompaction();
        _files.Dispose();
    }

    /// <summary>The files, for a compaction.</summary>
    internal SessionLogFiles Files => _files;

    /// <summary>A compaction has ended.</summary>
    internal void EndOf(SessionCompaction compaction)
    {
        lock (_lock)
        {
            _compaction = _compaction == compaction ? null : _compaction;

            // Maps of a large disk are much longer than a log: what is written stays in proportion to what was noted.
            _compactAtBytes = _files.CountBytes + Math.Max(CompactionBytes, Maps.LengthBytes / 2);
        }
    }

    private BlockException? Note(SessionRecord record, bool mayUseSpare)
    {
        FailPoint.Reach("log-note");
        if (_files.Append(record, mayUseSpare) is { } cause)
        {
            return cause;
        }

        if (_files.CountBytes >= Volatile.Read(ref _compactAtBytes))
        {
            BeginCompaction();
        }

        return null;
    }

    private void BeginCompaction()
    {
        lock (_lock)
        {
            if (_compaction is null && _live is { } live && !_isEnding)
            {
                _compaction = SessionCompaction.TryBegin(this, live);
                _compactAtBytes += _compaction is null ? SessionLogLayout.SegmentBytes : 0;
            }
        }
    }

    // A file that is not mapped may take no change. A session without a log, or without its marker, does not come back. A log that no
    // marker names may stay, for the list of lost sessions. One that goes takes the name of the old data with it, which nothing else has.
    private void Disown(BlockException failure, bool mayStay)
    {
        Volatile.Write(ref _disownedReason, $"Its log can't be kept: {failure.Message}");
        try
        {
            SessionMarker.RemoveEntry(ImagePath ?? Description.ImagePath, Description.Id);
            if (mayStay)
            {
                return;
            }
        }
        catch (BlockException)
        {
            // The log's folder may take what the image's does not.
        }

        try
        {
            if (Description.IsTempOwned)
            {
                FileNames.Delete(Description.TempPath);
            }

            FileNames.Delete(Path);
            IsGone = true;
        }
        catch (BlockException)
        {
            // No storage takes a change: the guest's writes fail as well.
        }
    }

    private void StoreState(StoredState state, SessionSlot slot, bool isDurable)
    {
        _files.Store(file => file.StoreState(state, slot, isDurable));
        if (isDurable)
        {
            Flush();
        }
    }

    private void EndCompaction()
    {
        SessionCompaction? running;
        lock (_lock)
        {
            _isEnding = true;
            running = _compaction;
        }

        running?.GiveUp();
    }

    private static SessionMapsReference StoreFirstMaps(string path, Guid id, PointInTimeMaps maps)
    {
        string mapsPath = SessionMapsReference.PathFor(path, 1);
        SessionMapsReference reference = SessionMapsWriter.Write(mapsPath, id, 1, maps, CancellationToken.None);
        FileNames.FlushClosed(mapsPath);
        return reference;
    }
}
