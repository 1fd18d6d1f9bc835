// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Exports;

namespace Fleece.Disks;

/// <summary>One point in time of one disk, from <see cref="StartAsync"/> to <see cref="StopAsync"/>.</summary>
/// <remarks>Threading. All members are safe from any thread. Ownership. The session owns its temp image.</remarks>
public sealed partial class Session : IFleeceSession
{
    private readonly TempImage _temp;
    private readonly BitmapTurn? _bitmapTurn;
    private readonly IReadOnlyList<BlockRange>? _ranges;
    private readonly CancellationTokenSource _ended = new();
    private readonly Lock _lock = new();
    private Task? _stopping;
    private string? _untoldWarning;

    private Session(
        Disk disk, string name, TempImage temp, PointInTime point, BitmapTurn? bitmapTurn, IReadOnlyList<BlockRange>? ranges)
    {
        _ranges = ranges;
        Disk = disk;
        Name = name;
        Point = point;
        Snapshot = new BlockDevice(point.Snapshot, Id, BlockErrorKind.Stopped);
        ClusterDiscard = new WholeClusterDiscard(point, Snapshot);
        Consumers = [.. point.Consumers.Select(consumer => new SessionConsumer(this, consumer))];
        _temp = temp;
        point.TempLimitNear += OnTempLimitNear;
        _bitmapTurn = bitmapTurn;
    }

    /// <summary>Raised when 80 % of <see cref="TempLimitBytes"/> is taken, on the thread of the guest's write that takes it; again when
    /// less than half was taken in between. What a handler throws is ignored: it must not fail a guest.</summary>
    public event EventHandler<TempLimitNearEventArgs>? TempLimitNear;

    /// <summary>The session's name, unique on its disk.</summary>
    public string Name { get; }

    /// <summary>The disk.</summary>
    public Disk Disk { get; }

    /// <summary>"DISK/NAME", unique in the process.</summary>
    public string Id => $"{Disk.Name}/{Name}";

    /// <inheritdoc/>
    string ISnapshotSource.Address => Disk.SourceAddress;

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
    public Guid InstantId { get; } = Guid.NewGuid();

    /// <inheritdoc/>
    SnapshotIdentity? ISnapshotSource.Identity => new(InstantId, Disk.Name, Id, Bitmap?.Name, BaselineId, Limits())
    {
        IsShared = Disk.IsShared,
    };

    /// <summary>The instant that <see cref="Bitmap"/> counts from; null where the snapshot shows the whole disk.</summary>
    internal Guid? BaselineId => _bitmapTurn?.BaselineId;

    /// <summary>True when the snapshot shows ranges and not the whole disk.</summary>
    internal bool IsLimited => _ranges is not null || _bitmapTurn is { IsLimited: true };

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

    /// <summary>What to say of temp while its limit is near; null while it is not.</summary>
    public string? TempWarning => Point.IsTempLimitNear ? DescribeTemp(TempUsedBytes) : null;

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
    public IReadOnlyList<SessionConsumer> Consumers { get; }

    /// <summary>The snapshot: reads, status and discards. It outlives the session only to refuse requests.</summary>
    public BlockDevice Snapshot { get; }

    /// <summary>Maps and state.</summary>
    public PointInTime Point { get; }

    /// <summary>How clients of an export consume the snapshot.</summary>
    internal WholeClusterDiscard ClusterDiscard { get; }

    /// <summary>Cancelled when the session has ended.</summary>
    internal CancellationToken Ended => _ended.Token;

    /// <summary>Starts one session on each disk, all at one instant.</summary>
    /// <remarks>
    /// Everything that can fail or take time happens before the disks are quiesced. When anything fails, no disk has a new
    /// session and no file is left behind.
    /// </remarks>
    /// <exception cref="BlockException"><see cref="BlockErrorKind.SessionNameInUse"/>, <see cref="BlockErrorKind.DiskShared"/>,
    /// <see cref="BlockErrorKind.TempTooSmall"/>, <see cref="BlockErrorKind.TempIsDisk"/>, what <see cref="DiskBitmaps"/> says of the
    /// bitmaps, or why temp can't be made.</exception>
    public static async ValueTask<IReadOnlyList<Session>> StartAsync(
        IReadOnlyCollection<Disk> disks, SessionOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(disks);
        ArgumentNullException.ThrowIfNull(options);

        // Locks are taken in one order, so that two starts over the same disks cannot wait for each other.
        Disk[] ordered = [.. disks.Distinct().OrderBy(disk => disk.Name, StringComparer.OrdinalIgnoreCase)];
        List<Disk> locked = [];
        List<SessionPlan> prepared = [];
        bool started = false;
        try
        {
            foreach (Disk disk in ordered)
            {
                await disk.LockChainAsync(cancellationToken).ConfigureAwait(false);
                locked.Add(disk);
                prepared.Add(await PrepareAsync(disk, options, cancellationToken).ConfigureAwait(false));
            }

            IReadOnlyList<Session> sessions = await PinAsync(prepared).ConfigureAwait(false);
            started = true;
            return sessions;
        }
        finally
        {
            if (!started)
            {
                foreach (SessionPlan plan in prepared)
                {
                    await plan.UndoAsync().ConfigureAwait(false);
                }
            }

            foreach (Disk disk in locked)
            {
                disk.UnlockChain();
            }
        }
    }

    /// <summary>
    /// Ends the session: snapshot requests in flight fail with <see cref="BlockErrorKind.Stopped"/>, the filter leaves the
    /// guest's chain, temp is closed and, when the session made it, deleted. Idempotent; the first call decides.
    /// </summary>
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
    public string? TakeWarning() => Interlocked.Exchange(ref _untoldWarning, null);

    /// <inheritdoc/>
    public ValueTask<BlockRange> FindReadableAsync(long offsetBytes, long endBytes, CancellationToken cancellationToken) =>
        new(Point.Snapshot.NextReadable(offsetBytes, endBytes));

    /// <summary>True when a user who writes <paramref name="name"/> means this session.</summary>
    public bool IsCalled(string name) =>
        string.Equals(Name, name, StringComparison.OrdinalIgnoreCase) ||
        string.Equals(Id, name, StringComparison.OrdinalIgnoreCase);

    /// <summary>
    /// The id; so a session object is accepted wherever its name is. A stopped one says so, and can't be taken for a newer
    /// session of its name.
    /// </summary>
    public override string ToString() => Volatile.Read(ref _stopping) is null ? Id : $"{Id} (stopped)";

    private static async ValueTask<SessionPlan> PrepareAsync(
        Disk disk, SessionOptions options, CancellationToken cancellationToken)
    {
        string name = options.Name ?? disk.Name;
        MountedDisks.CheckName(name);
        disk.CheckStorage();
        disk.CheckExclusive();
        if (disk.FindSession(name) is not null)
        {
            throw new BlockException(
                BlockErrorKind.SessionNameInUse,
                $"The disk '{disk.Name}' has a session named '{name}' already. Give another -Name, or stop it first.",
                disk.Path);
        }

        CheckConsumers(options.Consumers);
        ExportNames.CheckNewSession(disk, name, options.Consumers);
        if (options.Ranges is not null && options.Bitmap is not null)
        {
            throw new BlockException(
                BlockErrorKind.InvalidArgument,
                "A session is limited to ranges or to a bitmap, not to both: what of the bitmap lies outside the ranges would count as " +
                "backed up. Leave one of them out.",
                disk.Path);
        }

        TempImage temp = await TempImage.OpenAsync(disk, name, options.TempPath, options.Tls, cancellationToken).ConfigureAwait(false);
        try
        {
            // Tried out before the disk has to wait for it; with a bitmap the real one follows at the instant.
            Session session = new(disk, name, temp, Pin(disk, temp, options, options.Ranges), bitmapTurn: null, options.Ranges);
            BitmapTurn? turn = BitmapTurn.Prepare(disk, session.Id, options.Bitmap, options.NextBitmap);
            return new SessionPlan(disk, temp, turn, () => turn is null ? session : MakeSession(disk, name, temp, turn, options));
        }
        catch
        {
            await temp.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private static PointInTime Pin(Disk disk, TempImage temp, SessionOptions options, IEnumerable<BlockRange>? ranges) => new(
        disk.Tracking.Below,
        temp.Node,
        temp.ReadsAsZero,
        temp.GranuleSizeFor(disk, options.GranuleSizeBytes),
        options.OnCopyError,
        ranges,
        options.Limits,
        options.Consumers);

    // A bitmap without a baseline counts from no backup, so the whole disk is what it takes to make one.
    private static Session MakeSession(Disk disk, string name, TempImage temp, BitmapTurn turn, SessionOptions options)
    {
        IEnumerable<BlockRange>? ranges = turn.Pinned is null ? options.Ranges : turn.IsLimited ? turn.Pinned.Bits.DirtyRanges() : null;
        return new Session(disk, name, temp, Pin(disk, temp, options, ranges), turn, turn.Pinned is null ? options.Ranges : null);
    }

    // Every disk is held before the first filter goes in and until the last one is in: that is the common instant.
    private static async ValueTask<IReadOnlyList<Session>> PinAsync(List<SessionPlan> plans)
    {
        int held = 0;
        try
        {
            foreach (SessionPlan plan in plans)
            {
                await plan.Disk.Device.QuiesceAsync().ConfigureAwait(false);
                held++;
            }

            // No bitmap changes any more, so the ranges of one are known now. Nothing is changed before all of this has worked.
            DateTimeOffset instant = DateTimeOffset.UtcNow;
            Session[] sessions = [.. plans.Select(plan => plan.MakeSession())];
            foreach (Session session in sessions)
            {
                session.StartedAt = instant;
                session._bitmapTurn?.Begin();
                session.Disk.Push(session);
            }

            return sessions;
        }
        finally
        {
            foreach (SessionPlan plan in plans.Take(held))
            {
                plan.Disk.Device.Resume();
            }
        }
    }

    private void OnTempLimitNear(object? sender, TempLimitNearEventArgs e)
    {
        Volatile.Write(ref _untoldWarning, DescribeTemp(e.UsedBytes));
        try
        {
            TempLimitNear?.Invoke(this, e);
        }
#pragma warning disable CA1031 // The guest's write goes on whatever a listener does.
        catch (Exception)
#pragma warning restore CA1031
        {
        }
    }

    private string DescribeTemp(long usedBytes) =>
        $"The session '{Id}' keeps {usedBytes} bytes of old data in temp and may keep {TempLimitBytes} (-TempLimitBytes); beyond that " +
        (OnCopyError == CopyErrorPolicy.BreakSnapshot ? "its snapshot is lost" : "guest writes fail") +
        ". Consuming the snapshot makes room.";

    private async Task EndAsync(bool isSuccess)
    {
        // Stopped first: guest writes copy nothing more and wait for nothing, so the drains below cannot hang on temp's users.
        Point.Stop();
        await Snapshot.DisposeAsync().ConfigureAwait(false);
        foreach (SessionConsumer consumer in Consumers)
        {
            await consumer.Snapshot.DisposeAsync().ConfigureAwait(false);
        }

        await Disk.LockChainAsync(CancellationToken.None).ConfigureAwait(false);
        try
        {
            await Disk.Device.QuiesceAsync().ConfigureAwait(false);
            try
            {
                Disk.Unlink(this);
                _bitmapTurn?.End(isSuccess, _ranges is null && !Disk.IsShared ? InstantId : null);
            }
            finally
            {
                Disk.Device.Resume();
            }

            if (_bitmapTurn?.MergeSuccessor() == true)
            {
                await ForgetSuccessorAsync().ConfigureAwait(false);
            }
        }
        finally
        {
            Disk.UnlockChain();
            await _ended.CancelAsync().ConfigureAwait(false);

            // Not under the lock: copies that their guests have left may hang, and other sessions come and go meanwhile.
            await Point.CopiesEndedAsync().ConfigureAwait(false);
            await _temp.DisposeAsync().ConfigureAwait(false);
        }
    }

    // What the snapshot could be asked for at the instant, in whole granules; null for all of it.
    private List<BlockRange>? Limits()
    {
        if (_bitmapTurn is not { IsLimited: true, PinnedBits: { } bits })
        {
            return _ranges?.ToList();
        }

        long granuleBytes = GranuleSizeBytes;
        return [.. bits.DirtyRanges().Select(range => BlockRange.FromEnds(
            range.OffsetBytes / granuleBytes * granuleBytes,
            Math.Min(SizeBytes, (range.EndBytes + granuleBytes - 1) / granuleBytes * granuleBytes)))];
    }

    private async ValueTask ForgetSuccessorAsync()
    {
        await Disk.Device.QuiesceAsync().ConfigureAwait(false);
        try
        {
            _bitmapTurn!.Forget();
        }
        finally
        {
            Disk.Device.Resume();
        }
    }

    /// <summary>A session that is ready to begin on its disk, whose chain is locked.</summary>
    private sealed record SessionPlan(Disk Disk, TempImage Temp, BitmapTurn? BitmapTurn, Func<Session> MakeSession)
    {
        public ValueTask UndoAsync()
        {
            BitmapTurn?.Undo();
            return Temp.DisposeAsync();
        }
    }
}
