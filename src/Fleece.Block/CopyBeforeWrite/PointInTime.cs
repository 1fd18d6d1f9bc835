// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>One instant of one disk: the maps, the frozen reads, the running copies and the state they share.</summary>
/// <remarks>
/// <para>Two nodes work on it: <see cref="Filter"/> stands in the guest's chain, <see cref="Snapshot"/> is what readers see.
/// docs/fleecing.md has the table of a granule's states with every transition; in short, with two maps that only grow:</para>
/// <code>
/// refused  done   state      guest write           snapshot read
/// 0        0      untouched  copies first          from the active disk, frozen
/// 0        1      done       goes on at once       from temp
/// 1        any    refused    goes on at once       error: denied (from the start) or consumed (discarded)
/// </code>
/// <para>A granule is settled when it is done or refused. Settled granules never become unsettled.</para>
/// <para>Threading. The maps are read without a lock; changes to them and to the running copies happen under one lock that
/// is never held across I/O.</para>
/// <para>Ownership. It owns neither the active node nor temp: the session that made it does.</para>
/// </remarks>
internal sealed class PointInTime
{
    /// <summary>The default granule: a small guest write copies little.</summary>
    public const int DefaultGranuleSizeBytes = 4096;

    private readonly SharedLock _lock = new();
    private readonly CopyLimits _limits;
    private readonly TempBudget _budget;
    private long _copiedBytes;
    private long _consumedBytes;
    private bool _hasFailedCopies;

    /// <summary>Makes a point in time. It begins when <see cref="Filter"/> enters the quiesced chain.</summary>
    /// <param name="active">The node the guest's requests reached so far.</param>
    /// <param name="temp">Where old data goes; at least as long as <paramref name="active"/>, content irrelevant.</param>
    /// <param name="tempReadsAsZero">True when all of <paramref name="temp"/> reads as zeros now.</param>
    /// <param name="granuleSizeBytes">512 B to 2 MiB, a power of two.</param>
    /// <param name="policy">Who loses when a copy fails.</param>
    /// <param name="ranges">The ranges the snapshot is limited to, widened to whole granules; null for everything.</param>
    /// <param name="limits">How long copies may take and how much they may store; null for no limits.</param>
    /// <param name="consumers">Names of the readers all of whom must confirm what is to be consumed, no two alike; null for none.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.TempTooSmall"/>,
    /// <see cref="BlockErrors.ReadOnly"/>, <see cref="BlockErrors.InvalidArgument"/> or
    /// <see cref="BlockErrors.OutOfRange"/>.</exception>
    public PointInTime(
        IBlockNode active,
        IBlockNode temp,
        bool tempReadsAsZero = false,
        int granuleSizeBytes = DefaultGranuleSizeBytes,
        CopyErrorPolicy policy = CopyErrorPolicy.BreakSnapshot,
        IEnumerable<BlockRange>? ranges = null,
        CopyLimits? limits = null,
        IReadOnlyList<string>? consumers = null)
    {
        ArgumentNullException.ThrowIfNull(active);
        ArgumentNullException.ThrowIfNull(temp);
        Granules = new Granules(active.Geometry.LengthBytes, granuleSizeBytes);
        _limits = limits ?? new CopyLimits();
        _limits.Check(granuleSizeBytes);
        _budget = new TempBudget(Granules, _limits.TempBytes);
        CheckTemp(active.Geometry, temp.Geometry, granuleSizeBytes);
        Temp = temp;
        TempReadsAsZero = tempReadsAsZero;
        Policy = policy;
        Done = new GranuleMap(Granules.Count);
        Refused = new GranuleMap(Granules.Count);
        IncludedBytes = Granules.DiskLengthBytes;
        if (ranges is not null)
        {
            Denied = new GranuleMap(Granules.Count);
            foreach (GranuleRun gap in GranulesOutside(ranges))
            {
                Denied.Add(gap);
                Refused.Add(gap);
                IncludedBytes -= Granules.Bytes(gap).LengthBytes;
            }
        }

        Filter = new CopyBeforeWriteFilter(this, active);
        Snapshot = new SnapshotAccess(this, consumer: null);
        CountedConsumers = new SnapshotConsumers(this, consumers ?? []);
    }

    /// <summary>Raised when 80 % of what temp may hold is taken, on the thread of the copy that does it: handlers must be quick and must
    /// not throw. Raised again when less than half was taken in between.</summary>
    public event EventHandler<TempLimitNearEventArgs>? TempLimitNear;

    /// <summary>The node for the guest's chain.</summary>
    public CopyBeforeWriteFilter Filter { get; }

    /// <summary>The node that readers use: reads, status and discards of the point in time. With <see cref="Consumers"/>, discarding here
    /// is confirming for all of them.</summary>
    public SnapshotAccess Snapshot { get; }

    /// <summary>The readers that are counted: what all of them have confirmed is consumed. Empty for none.</summary>
    public IReadOnlyList<SnapshotConsumer> Consumers => CountedConsumers.All;

    /// <summary>Who loses when a copy fails.</summary>
    public CopyErrorPolicy Policy { get; }

    /// <summary>Bytes of one granule.</summary>
    public int GranuleSizeBytes => Granules.SizeBytes;

    /// <summary>Whether the point in time can still be read.</summary>
    public SessionState State => Condition.Current;

    /// <summary>Why the point in time was lost; null while it is whole.</summary>
    public BlockException? BrokenBy => Condition.Cause;

    /// <summary>Old data copied to temp so far, in bytes; granules of zeros do not count.</summary>
    public long CopiedBytes => Volatile.Read(ref _copiedBytes);

    /// <summary>Longest time a guest's write waits for its old data to be copied; null for no limit.</summary>
    public TimeSpan? CopyTimeout => _limits.Timeout;

    /// <summary>Most old data in temp at a time, in bytes; null for no limit.</summary>
    public long? TempLimitBytes => _limits.TempBytes;

    /// <summary>Old data in temp now, in bytes: whole granules that were copied, were no zeros, and are not consumed.</summary>
    public long TempUsedBytes => _budget.UsedBytes;

    /// <summary>True from 80 % of the limit on.</summary>
    public bool IsTempLimitNear => TempUsedBytes >= _budget.NearBytes;

    /// <summary>Bytes that the snapshot could be asked for at its instant: the disk without what was denied.</summary>
    public long IncludedBytes { get; }

    /// <summary>Bytes that were discarded from the snapshot so far.</summary>
    public long ConsumedBytes => Volatile.Read(ref _consumedBytes);

    internal Granules Granules { get; }

    internal IBlockNode Temp { get; }

    /// <summary>Temp reads as zeros wherever no copy was stored, so zeros need not be written there.</summary>
    internal bool TempReadsAsZero { get; }

    internal GranuleMap Done { get; }

    internal GranuleMap Refused { get; }

    internal FrozenReads Frozen { get; } = new();

    internal SessionCondition Condition { get; } = new();

    internal SnapshotConsumers CountedConsumers { get; }

    internal Copiers Copiers { get; } = new();

    private RunningCopies Copies { get; } = new();

    /// <summary>
    /// Ends the point in time: snapshot requests in flight and later fail with <see cref="BlockErrors.Stopped"/>, and
    /// guest writes copy nothing any more.
    /// </summary>
    public void Stop()
    {
        Condition.Stop();
        LetWritesGo();
    }

    /// <summary>Completes when no guest's write is held up by its own copy any more. After <see cref="Stop"/>, which lets none begin.
    /// </summary>
    public Task HeldWritesEndedAsync()
    {
        // With a timeout copies have threads of their own, and their guests go on without them.
        using (_lock.EnterScope())
        {
            return _limits.Timeout is null ? Copies.Ended : Task.CompletedTask;
        }
    }

    /// <summary>
    /// Completes when no copy is running any more that its guest has left. Temp and the disk must stay open until then.
    /// </summary>
    public ValueTask CopiesEndedAsync() => Copiers.DrainAsync();

    /// <summary>Breaks the point in time; the first cause stays. No guest write waits for anything afterwards (I6).</summary>
    public void Break(BlockException cause)
    {
        ArgumentNullException.ThrowIfNull(cause);
        Condition.Break(cause);
        LetWritesGo();
    }

    /// <summary>The granules that were refused from the start; null for none.</summary>
    internal GranuleMap? Denied { get; }

    internal bool IsDenied(long granule) => Denied is not null && Denied.Contains(granule);

    /// <summary>The first granule that a write would have to copy, or the run's end.</summary>
    internal long FirstUnsettled(GranuleRun run) => GranuleMap.FirstInNeither(Done, Refused, run);

    /// <summary>
    /// Takes the first unsettled granules of the run for copying. Null in both when nothing is left to copy; a task that completes with
    /// the copy when it must be waited for.
    /// </summary>
    /// <param name="run">What the guest wants to change.</param>
    /// <param name="zeroEnd">Untouched granules of the run before this index are known to be zeros.</param>
    /// <param name="maximumCount">Most granules to take when they are not known to be zeros.</param>
    /// <param name="waits">True when the caller waits for its own copy as for that of another request.</param>
    internal (RunningCopies.Copy? Mine, Task? Ended) BeginCopy(GranuleRun run, long zeroEnd, long maximumCount, bool waits = false)
    {
        using (_lock.EnterScope())
        {
            long start = FirstUnsettled(run);
            if (start >= run.End || Condition.IsOver)
            {
                return default;
            }

            if (Copies.Find(start) is { } running)
            {
                return (null, running.Finished);
            }

            // The claim ends where settled granules begin: their temp content is valid and must not be overwritten.
            GranuleRun rest = new(start, Math.Min(run.End, start < zeroEnd ? zeroEnd : start + maximumCount));
            RunningCopies.Copy mine = Copies.Begin(rest with { End = Math.Min(Done.FirstIn(rest), Refused.FirstIn(rest)) });
            return (mine, waits ? mine.Finished : null);
        }
    }

    /// <summary>The time that a guest write which begins to wait now has for its copies; null for all it takes.</summary>
    internal CopyDeadline? BeginDeadline() => _limits.Timeout is { } timeout ? new CopyDeadline(timeout, _limits.Time) : null;

    /// <summary>Takes room in temp for a copy, which its end returns; false where the limit is in the way.</summary>
    internal bool TryReserveTemp(RunningCopies.Copy copy, long bytes)
    {
        if (_limits.TempBytes is not { } limitBytes)
        {
            return true;
        }

        bool fits;
        bool hasComeNear;
        long claimedBytes;
        using (_lock.EnterScope())
        {
            fits = _budget.TryReserve(bytes, out hasComeNear);
            copy.ReservedBytes = fits ? bytes : 0;
            claimedBytes = _budget.ClaimedBytes;
        }

        if (hasComeNear)
        {
            TempLimitNear?.Invoke(this, new TempLimitNearEventArgs(claimedBytes, limitBytes));
        }

        return fits;
    }

    /// <summary>
    /// Ends a copy, marks it done when it succeeded, and wakes those who waited. Returns true when some of its granules
    /// were consumed meanwhile: the caller frees what it stored for them (I7).
    /// </summary>
    internal bool FinishCopy(RunningCopies.Copy copy, bool succeeded, long storedBytes)
    {
        bool hasConsumed;
        using (_lock.EnterScope())
        {
            Copies.Remove(copy);
            hasConsumed = Refused.FirstIn(copy.Run) < copy.Run.End;
            if (succeeded)
            {
                Done.Add(copy.Run);
                _copiedBytes += storedBytes;
                if (storedBytes != 0)
                {
                    _budget.Add(copy.Run, Refused);
                }
            }
            else
            {
                _hasFailedCopies = true;
            }

            _budget.Return(copy.ReservedBytes);
        }

        // The fence of the handshake in FrozenReads: done first, then the look at the frozen reads.
        Interlocked.MemoryBarrier();
        copy.Wake();
        return hasConsumed;
    }

    /// <summary>Refuses the run from now on. Returns whether temp may hold data of it.</summary>
    internal bool Consume(GranuleRun run)
    {
        bool mayHoldData;
        using (_lock.EnterScope())
        {
            for (long start = Refused.FirstNotIn(run); start < run.End;)
            {
                GranuleRun readable = new(start, Refused.FirstIn(run with { Start = start }));
                _consumedBytes += Granules.Bytes(readable).LengthBytes;
                _budget.Remove(readable);
                start = Refused.FirstNotIn(run with { Start = readable.End });
            }

            Refused.Add(run);

            // A copy that failed half-way may have stored something for granules that never became done.
            mayHoldData = _hasFailedCopies || Done.FirstIn(run) < run.End;
        }

        Interlocked.MemoryBarrier();
        return mayHoldData;
    }

    private void LetWritesGo()
    {
        using (_lock.EnterScope())
        {
            Copies.WakeAll();
        }

        Copiers.Wake();
        Frozen.Abandon();
    }

    private IEnumerable<GranuleRun> GranulesOutside(IEnumerable<BlockRange> ranges)
    {
        List<GranuleRun> inside = [];
        foreach (BlockRange range in ranges)
        {
            range.CheckWithin(Granules.DiskLengthBytes, null, "limit the session to");
            if (!range.IsEmpty)
            {
                inside.Add(Granules.Cover(range.OffsetBytes, range.LengthBytes));
            }
        }

        inside.Sort(static (left, right) => left.Start.CompareTo(right.Start));
        long at = 0;
        foreach (GranuleRun run in inside)
        {
            if (run.Start > at)
            {
                yield return new GranuleRun(at, run.Start);
            }

            at = Math.Max(at, run.End);
        }

        if (at < Granules.Count)
        {
            yield return new GranuleRun(at, Granules.Count);
        }
    }

    private static void CheckTemp(BlockGeometry active, BlockGeometry temp, int granuleSizeBytes)
    {
        if (temp.IsReadOnly)
        {
            throw new BlockException(BlockErrors.ReadOnly, "The temp image is read-only; old data can't be stored there.");
        }

        if (temp.LengthBytes < active.LengthBytes)
        {
            throw new BlockException(
                BlockErrors.TempTooSmall,
                $"The temp image has {temp.LengthBytes} bytes and the disk {active.LengthBytes}; temp must be at least as " +
                "large. It is filled only as far as the guest overwrites data.");
        }

        int alignmentBytes = Math.Max(active.RequestAlignmentBytes, temp.RequestAlignmentBytes);
        if (granuleSizeBytes < alignmentBytes)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The granule of {granuleSizeBytes} bytes is smaller than the alignment of {alignmentBytes} bytes that the " +
                "disk or the temp image demands; choose a larger granule.");
        }

        if (active.LengthBytes % temp.RequestAlignmentBytes != 0)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The disk has {active.LengthBytes} bytes, which is no multiple of the {temp.RequestAlignmentBytes} bytes that the " +
                "temp image takes at once, so the disk's end could not be kept; use another temp image.");
        }
    }
}
