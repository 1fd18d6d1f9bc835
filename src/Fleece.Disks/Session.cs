// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.DirtyBitmaps;
using Fleece.Block.Files;
using Fleece.Block.Telemetry;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Chain;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Disks.Storage;
using Fleece.Disks.Temp;
using Fleece.Images;
using Fleece.Nbd.Server.Exports;

namespace Fleece.Disks;

/// <summary>One point in time of one disk; it outlives its process where <see cref="CanResume"/> says so.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. The session owns its temp image.</remarks>
#pragma warning disable CA1001 // The token source has no timer and no handle; exports may ask for its token after the end.
internal sealed class Session : IRunningSession, IWitnessedSession, IAtRiskSource
{
    private readonly TempImage _temp;
    private readonly TempWatch _watch;
    private readonly SessionConsumers _consumers;
    private readonly BitmapTurn? _bitmapTurn;
    private readonly SessionTerms _terms;
    private readonly CancellationTokenSource _ended = new();
    private readonly Lock _lock = new();
    private Task? _stopping;
    private bool _isSuspended;

    internal Session(Disk disk, SessionTerms terms, TempImage temp, PointInTime point, BitmapTurn? bitmapTurn)
    {
        _terms = terms;
        Disk = disk;
        Point = point;
        point.Metrics.Owner = new MetricOwner(("disk", disk.Name), ("session", Name));
        point.Metrics.Slow = disk.Slow;
        Faults = new SessionFaults(this);
        Snapshot = new BlockDevice(point.Snapshot, Id, BlockErrors.Stopped) { Poisoned = Faults.Break };
        ClusterDiscard = new WholeClusterDiscard(point, Snapshot);
        _consumers = new SessionConsumers(Id, [.. point.Consumers.Select(consumer => new SessionConsumer(this, consumer))]);
        _temp = temp;
        temp.Lost = Faults.Break;
        temp.Witness = disk.Witness;
        _watch = new TempWatch(Id, point, temp, warning => disk.Told?.Invoke(warning));
        _bitmapTurn = bitmapTurn;
    }

    /// <summary>The session's name, unique on its disk.</summary>
    public string Name => _terms.Name;

    /// <summary>The disk.</summary>
    public Disk Disk { get; }

    /// <summary>"DISK/NAME", unique in the process.</summary>
    public string Id => $"{Disk.Name}/{Name}";

    /// <inheritdoc/>
    string ISnapshotSource.Address => Disk.Storage.SourceAddress;

    /// <inheritdoc/>
    string? ISnapshotSource.Consumer => null;

    /// <summary>Whether the point in time can still be read.</summary>
    public SessionState State => Point.State;

    /// <summary>Why the session broke; null while it is whole.</summary>
    public string? BrokenBy => Point.BrokenBy?.Message;

    /// <summary>The instant.</summary>
    public DateTimeOffset StartedAt { get; private set; }

    /// <inheritdoc/>
    DateTimeOffset? ISnapshotSource.Instant => StartedAt;

    /// <summary>The identity of the instant, which its backups are known by.</summary>
    public Guid InstantId => _terms.InstantId;

    /// <summary>True when the session goes on after the end of its process, also a sudden one.</summary>
    public bool CanResume => _terms.Kept is not null && CannotResumeReason is null;

    /// <summary>Why it does not, as a sentence; null where it does.</summary>
    public string? CannotResumeReason =>
        _terms.CannotResumeReason ?? _terms.Kept?.Log.DisownedReason ?? Disk.Storage.JournalWarning ?? Disk.Storage.JournalFault;

    /// <summary>When this process resumed it; null for a session that this process began.</summary>
    public DateTimeOffset? ResumedAt { get; private set; }

    /// <inheritdoc/>
    SnapshotIdentity? ISnapshotSource.Identity => new(
        InstantId, Disk.Name, Id, Bitmap?.Name, BaselineId, IsLimited ? [.. IncludedRanges.Of(Point)] : null)
    {
        IsShared = Disk.IsShared,
    };

    /// <summary>The instant that <see cref="Bitmap"/> counts from; null where the snapshot shows the whole disk.</summary>
    internal Guid? BaselineId => _bitmapTurn?.BaselineId;

    /// <summary>True when the snapshot shows ranges and not the whole disk.</summary>
    internal bool IsLimited => _terms.HasRanges || _bitmapTurn is { IsLimited: true };

    /// <summary>Size of the disk in bytes.</summary>
    public long SizeBytes => Disk.SizeBytes;

    /// <inheritdoc/>
    /// <remarks>One reads while the other's system call waits; more would only compete with the consumer for processors.</remarks>
    int ISnapshotSource.ReadsAtOnce => 2;

    /// <summary>The unit of copying in bytes.</summary>
    public int GranuleSizeBytes => Point.GranuleSizeBytes;

    /// <summary>Who loses when a copy fails.</summary>
    public CopyErrorPolicy OnCopyError => Point.Policy;

    /// <summary>Longest time a guest's write waits for its old data to be copied; null for no limit.</summary>
    public TimeSpan? CopyTimeout => Point.CopyTimeout;

    /// <summary>Most old data kept in temp at a time, in bytes; null for no limit.</summary>
    public long? TempLimitBytes => Point.TempLimitBytes;

    /// <summary>Old data in temp now, in bytes; consumed granules don't count.</summary>
    public long TempUsedBytes => Point.TempUsedBytes;

    /// <summary>Old data kept so far, in bytes.</summary>
    public long CopiedBytes => Point.CopiedBytes;

    /// <summary>Snapshot data that was consumed so far, in bytes.</summary>
    public long ConsumedBytes => Point.ConsumedBytes;

    /// <summary>The temp image.</summary>
    public string TempPath => _temp.Path;

    /// <summary>The bitmap whose ranges the snapshot is limited to; null for none.</summary>
    public Bitmap? Bitmap => _bitmapTurn?.Pinned;

    /// <summary>The bitmap that records from the instant on; null for none, and for one without a name.</summary>
    public Bitmap? NextBitmap => _bitmapTurn?.Next;

    /// <summary>What <see cref="Bitmap"/> held at the instant.</summary>
    internal DirtyBitmap? PinnedBits => _bitmapTurn?.PinnedBits;

    /// <summary>Who must confirm a range before it is discarded; empty for a session that counts nobody.</summary>
    public IReadOnlyList<SessionConsumer> Consumers => _consumers.All;

    /// <summary>The snapshot: reads, status and discards. It outlives the session only to refuse requests.</summary>
    public BlockDevice Snapshot { get; }

    /// <summary>Maps and state.</summary>
    public PointInTime Point { get; }

    /// <summary>Breaks the session, and tells of that.</summary>
    internal SessionFaults Faults { get; }

    /// <summary>How clients of an export consume the snapshot.</summary>
    internal WholeClusterDiscard ClusterDiscard { get; }

    /// <summary>Cancelled when the session has ended.</summary>
    public CancellationToken Ended => _ended.Token;

    /// <summary>Starts one session on each disk, all at one instant.</summary>
    /// <remarks>
    /// Everything that can fail or take time happens before the disks are quiesced. When anything fails, no disk has a new
    /// session and no file is left behind.
    /// </remarks>
    /// <exception cref="BlockException"><see cref="DiskErrors.SessionNameInUse"/>, <see cref="DiskErrors.DiskShared"/>,
    /// <see cref="BlockErrors.TempTooSmall"/>, <see cref="DiskErrors.TempIsDisk"/>, what <see cref="DiskBitmaps"/> says of the
    /// bitmaps, or why temp can't be made.</exception>
    public static ValueTask<IReadOnlyList<Session>> StartAsync(
        IReadOnlyCollection<Disk> disks, SessionOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(disks);
        ArgumentNullException.ThrowIfNull(options);
        IEnumerable<Disk> ordered = disks.Distinct().OrderBy(disk => disk.Name, StringComparer.OrdinalIgnoreCase);
        return SessionStart.RunAsync([.. ordered.Select(disk => (disk, options))], cancellationToken);
    }

    /// <summary>As <see cref="StartAsync"/>, with options for each disk; each disk is there once.</summary>
    /// <returns>The sessions, in the order of the disks.</returns>
    public static ValueTask<IReadOnlyList<Session>> StartEachAsync(
        IReadOnlyList<(Disk Disk, SessionOptions Options)> disks, CancellationToken cancellationToken = default) =>
        SessionStart.RunAsync(disks, cancellationToken);

    /// <summary>Ends the session: snapshot requests in flight fail with <see cref="BlockErrors.Stopped"/>, the filter leaves the guest's
    /// chain, temp is closed and, when the session made it, deleted. Idempotent; the first call decides.</summary>
    /// <param name="isSuccess">True when what was to be read has been read: <see cref="Bitmap"/> then holds what was recorded since the
    /// instant. Otherwise, and for a session that broke, it holds that beside what it had.</param>
    public Task StopAsync(bool isSuccess = false)
    {
        lock (_lock)
        {
            return _stopping ??= EndAsync(isSuccess && State == SessionState.Active);
        }
    }

    async ValueTask<bool> IFleeceSession.EndAsync(bool isSuccess)
    {
        await StopAsync(isSuccess).ConfigureAwait(false);
        return Bitmap is not { } bitmap || bitmap.BaselineId == InstantId;
    }

    /// <summary>The snapshot's runs from the disk's start to its end.</summary>
    public IEnumerable<SnapshotRun> GetRuns() => Point.Snapshot.GetRuns();

    /// <inheritdoc/>
    public string? TakeWarning() => _watch.TakeWarning();

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken) =>
        new(Point.Snapshot.NextReadable(offsetBytes, endBytes));

    /// <summary>How far its log has come; null for none.</summary>
    internal LogPosition? LogPosition => CanResume ? _terms.Kept!.Log.Position : null;

    /// <inheritdoc/>
    public void FindLoss()
    {
        if (State == SessionState.Active)
        {
            _temp.FindLoss();
        }

        // That of a broken one too: a later process must not find it whole.
        if (State != SessionState.Stopped && _terms.Kept?.Log.FindLoss() is { } failure)
        {
            Faults.Break(failure);
        }
    }

    /// <inheritdoc/>
    public ValueTask<IReadOnlyList<long>> FindAtRiskAsync(CancellationToken cancellationToken) => new(Point.Snapshot.FindAtRisk());

    /// <inheritdoc/>
    public SessionInfo Describe() => new(Point.Metrics.GuestWaits)
    {
        Name = Name,
        Disk = Disk.Name,
        Id = Id,
        State = State,
        BrokenBy = BrokenBy,
        StartedAt = StartedAt,
        InstantId = InstantId,
        SizeBytes = SizeBytes,
        GranuleSizeBytes = GranuleSizeBytes,
        OnCopyError = OnCopyError,
        CopyTimeout = CopyTimeout,
        TempLimitBytes = TempLimitBytes,
        TempUsedBytes = TempUsedBytes,
        TempWarning = _watch.Warning,
        TempWarningPercent = Point.Limits.WarnsAtPercent,
        TempFullIn = _watch.FullIn,
        MaxGuestDelay = Point.Limits.MaxGuestDelay,
        GuestDelay = Point.Delay.Total,
        GuestDelayCount = Point.Delay.Count,
        CopiedBytes = CopiedBytes,
        AvoidedBytes = Point.Avoided.Bytes,
        DeniedBytes = SizeBytes - Point.IncludedBytes,
        ConsumedBytes = ConsumedBytes,
        TempPath = TempPath,
        Bitmap = Bitmap?.Name,
        NextBitmap = NextBitmap?.Name,
        Consumers = new RecordList<ConsumerInfo>(Consumers.Select(consumer => consumer.Describe())),
        MountId = Disk.MountId,
        CanResume = CanResume,
        CannotResumeReason = CannotResumeReason,
        ResumedAt = ResumedAt,
        LogId = _terms.Kept?.Id,
    };

    /// <inheritdoc/>
    public IReadOnlyList<ISnapshotSource> GetViews(string? consumer) =>
        [consumer is null ? this : FindConsumer(consumer), .. Consumers];

    /// <inheritdoc/>
    public SnapshotRun GetRun(string? consumer, long offsetBytes) =>
        (consumer is null ? Point.Snapshot : FindConsumer(consumer).Access).GetRun(offsetBytes);

    /// <inheritdoc/>
    public NbdExport ExportAs(string? consumer, string exportName, bool isReadOnly) => consumer is null
        ? SessionExport.Of(this, exportName, isReadOnly)
        : SessionExport.Of(FindConsumer(consumer), exportName, isReadOnly);

    /// <summary>True when a user who writes <paramref name="name"/> means this session.</summary>
    public bool IsCalled(string name) =>
        string.Equals(Name, name, StringComparison.OrdinalIgnoreCase) ||
        string.Equals(Id, name, StringComparison.OrdinalIgnoreCase);

    /// <summary>The id.</summary>
    public override string ToString() => Id;

    /// <inheritdoc cref="SessionConsumers.Find"/>
    public SessionConsumer FindConsumer(string name) => _consumers.Find(name);

    /// <summary>The snapshot for a reader.</summary>
    /// <param name="consumer">Which of the consumers reads; null for one that is not counted.</param>
    /// <param name="discards">True when the reader discards what it has finished with.</param>
    /// <exception cref="BlockException"><see cref="DiskErrors.ConsumerUnknown"/>, also of a reader that would discard and is none of
    /// the consumers: it would take their ranges from them.</exception>
    public ISnapshotSource GetSource(string? consumer, bool discards)
    {
        if (consumer is null && discards)
        {
            _consumers.RefuseDiscards();
        }

        return consumer is null ? this : FindConsumer(consumer);
    }

    /// <inheritdoc cref="SessionConsumers.FindOrNull"/>
    internal SessionConsumer? FindConsumerOrNull(string name) => _consumers.FindOrNull(name);

    /// <summary>The instant: the session's filter goes over the others, and its bitmaps take turns.</summary>
    internal void Begin(DateTimeOffset instant)
    {
        StartedAt = instant;
        _bitmapTurn?.Begin();
        Disk.Push(this);
    }

    /// <summary>Goes on with a session that an earlier process began: its filter goes over those of earlier instants. Before the disk is
    /// served.</summary>
    internal void GoOn(DateTimeOffset instant)
    {
        StartedAt = instant;
        ResumedAt = DateTimeOffset.UtcNow;
        Disk.Push(this);
    }

    /// <summary>Leaves the session to a later process, once its disk takes no requests any more. Snapshot requests in flight fail as when
    /// it stops.</summary>
    /// <returns>False when it has to be stopped instead: it can't be resumed, or is being stopped.</returns>
    internal bool TryBeginSuspend()
    {
        lock (_lock)
        {
            if (!_isSuspended && _terms is { Kept.Log.IsGone: false, CannotResumeReason: null } && _stopping is null)
            {
                _isSuspended = true;
                _stopping = Task.CompletedTask;
            }

            return _isSuspended;
        }
    }

    /// <summary>Closes the temp image and the log, and stores that the session goes on. After <see cref="TryBeginSuspend"/> and
    /// <see cref="CloseReadersAsync"/>, with the image closed.</summary>
    /// <param name="image">How the image was left; null where it was not left in order, so that the session goes on as after a
    /// kill.</param>
    internal ValueTask SuspendAsync(FileEvidence? image) => _terms.Kept!.SuspendAsync(_temp, image);

    /// <summary>Ends what reads the snapshot, and the copies that run. The disk takes no requests any more.</summary>
    internal async ValueTask CloseReadersAsync()
    {
        await StopReadersAsync().ConfigureAwait(false);
        await _ended.CancelAsync().ConfigureAwait(false);
        await Point.CopiesEndedAsync().ConfigureAwait(false);
    }

    /// <summary>Takes back what <see cref="Begin"/> did, at the same instant.</summary>
    internal void TakeBack()
    {
        Disk.Unlink(this);
        _bitmapTurn?.TakeBack();
    }

    private async Task EndAsync(bool isSuccess)
    {
        using WorkActivity activity = WorkActivity.Begin("fleece.session.stop", ("disk", Disk.Name), ("session", Name));

        // Before guests overwrite without copies: a process that goes on from here must not read what they have overwritten.
        _terms.Kept?.StoreEnding(isSuccess);

        // Stopped first: guest writes copy nothing more and wait for nothing but the copies that run.
        await StopReadersAsync().ConfigureAwait(false);
        try
        {
            // Before the disk is quiesced: where temp hangs, one write of the guest hangs with it, and not all.
            await Point.HeldWritesEndedAsync().ConfigureAwait(false);
            await ChainChange.RunToTheEndAsync([Disk.Chain], LeaveAsync).ConfigureAwait(false);
        }
        finally
        {
            await _ended.CancelAsync().ConfigureAwait(false);

            // Not under the lock: copies that their guests have left may hang, and other sessions come and go meanwhile.
            await Point.CopiesEndedAsync().ConfigureAwait(false);
            await KeptSession.RemoveAsync(_temp, _terms.Kept).ConfigureAwait(false);
        }

        activity.Succeed();

        async ValueTask LeaveAsync(ChainChange change)
        {
            await change.AtInstantAsync(new ChainStep(() =>
            {
                Disk.Unlink(this);
                _bitmapTurn?.End(isSuccess, !_terms.HasRanges && !Disk.IsShared ? InstantId : null);
            })).ConfigureAwait(false);
            if (_bitmapTurn?.MergeSuccessor() == true)
            {
                await change.AtInstantAsync(new ChainStep(_bitmapTurn.Forget)).ConfigureAwait(false);
            }

            _terms.Kept?.Unmark();
        }
    }

    private async ValueTask StopReadersAsync()
    {
        Point.Stop();
        await Snapshot.DisposeAsync().ConfigureAwait(false);
        foreach (SessionConsumer consumer in Consumers)
        {
            await consumer.Snapshot.DisposeAsync().ConfigureAwait(false);
        }
    }
}
