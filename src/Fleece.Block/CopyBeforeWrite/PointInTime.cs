// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite.Pressure;
using Fleece.Block.Telemetry;

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
    private readonly SessionNotes _notes;
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
    /// <param name="journal">Where changes are noted for a later process; null for nowhere. It is not called behind
    /// <see cref="Stop"/>.</param>
    /// <param name="restored">The maps with which a later process goes on; they belong to the point in time from now on. Null for a new
    /// instant. All other parameters are as they were at the instant, <paramref name="tempReadsAsZero"/> too, but
    /// <paramref name="ranges"/> is null: the maps say what is denied.</param>
    /// <param name="tempWriteFlags">How old data is written to temp: with <see cref="WriteFlags.ForceUnitAccess"/> where temp is an image
    /// with tables that must lead to the data before it is noted.</param>
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
        IReadOnlyList<string>? consumers = null,
        ISessionJournal? journal = null,
        PointInTimeMaps? restored = null,
        WriteFlags tempWriteFlags = WriteFlags.None)
    {
        ArgumentNullException.ThrowIfNull(active);
        ArgumentNullException.ThrowIfNull(temp);
        Granules = new Granules(active.Geometry.LengthBytes, granuleSizeBytes);
        Limits = limits ?? new CopyLimits();
        Limits.Check(granuleSizeBytes);
        TempBudget.Check(active.Geometry, temp.Geometry, granuleSizeBytes);
        _notes = new SessionNotes(journal, Condition, Granules);
        Temp = temp;
        TempReadsAsZero = tempReadsAsZero;
        TempWriteFlags = tempWriteFlags;
        Policy = policy;
        Maps = restored ?? PointInTimeMaps.Begin(Granules, ranges, consumers?.Count ?? 0);
        Invariant.Require(
            Maps.GranuleCount == Granules.Count && Maps.Confirmed.Count == (consumers?.Count ?? 0) && (restored is null || ranges is null),
            "I10", "the maps of a session that comes back are of its disk, its granule and its consumers");
        Maps.Complete();
        Done = Maps.Done;
        Refused = Maps.Refused;
        long deniedBytes = Maps.Denied is { } denied ? Granules.BytesOf(denied) : 0;
        IncludedBytes = Granules.DiskLengthBytes - deniedBytes;
        _consumedBytes = Granules.BytesOf(Refused) - deniedBytes;
        _copiedBytes = Granules.BytesOf(Maps.Stored);
        Budget = new TempBudget(Granules, Maps, Limits, _lock);
        Delay = new GuestDelay(Limits.MaxGuestDelay, Limits.Time);
        ReaderDelay = new ReaderDelay(() => Copies.FindOldestRead(_lock), Limits.ReaderPatience, Limits.Time);
        Avoided = new AvoidedCopies(Granules, Maps);

        // The copies that ran when a process was killed may have stored something, like those that have failed.
        _hasFailedCopies = restored is not null;
        Consumed = new ConsumedSpace(this);
        Filter = new CopyBeforeWriteFilter(this, active);
        Snapshot = new SnapshotAccess(this, consumer: null);
        CountedConsumers = new SnapshotConsumers(this, consumers ?? []);
    }

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

    /// <summary>Old data copied to temp so far, in bytes of whole granules; those of zeros do not count.</summary>
    public long CopiedBytes => Volatile.Read(ref _copiedBytes);

    /// <summary>Longest time a guest's write waits for its old data to be copied; null for no limit.</summary>
    public TimeSpan? CopyTimeout => Limits.Timeout;

    /// <summary>Most old data in temp at a time, in bytes; null for no limit.</summary>
    public long? TempLimitBytes => Limits.TempBytes;

    /// <summary>Old data in temp now, in bytes: whole granules that were copied, were no zeros, and are not consumed.</summary>
    public long TempUsedBytes => Budget.UsedBytes;

    /// <summary>Bytes that the snapshot could be asked for at its instant: the disk without what was denied.</summary>
    public long IncludedBytes { get; }

    /// <summary>Bytes that were discarded from the snapshot so far.</summary>
    public long ConsumedBytes => Volatile.Read(ref _consumedBytes);

    /// <summary>Its cost to guests and readers.</summary>
    internal SessionMetrics Metrics { get; } = new();

    /// <summary>What copies may cost.</summary>
    internal CopyLimits Limits { get; }

    /// <summary>How much old data lies in temp, and how much may.</summary>
    internal TempBudget Budget { get; }

    /// <summary>What guest writes wait for while temp fills.</summary>
    internal GuestDelay Delay { get; }

    /// <summary>What snapshot reads wait for while guests wait for the disk.</summary>
    internal ReaderDelay ReaderDelay { get; }

    /// <summary>The copies that guest writes did not need.</summary>
    internal AvoidedCopies Avoided { get; }

    /// <summary>Where guest writes were lately.</summary>
    internal RecentWrites Recent { get; } = new();

    internal Granules Granules { get; }

    internal IBlockNode Temp { get; }

    /// <summary>Zeros need not be written to temp: it reads as zeros wherever no copy stored something.</summary>
    /// <remarks>Copies that failed, or that a killed process left half-way, do not change that. A copy reads its granules before the guest
    /// may write there, so each byte that any copy ever stored is the instant's. Where the instant holds zeros, temp holds zeros: none
    /// were stored, or zeros.</remarks>
    internal bool TempReadsAsZero { get; }

    /// <summary>How old data is written to temp.</summary>
    internal WriteFlags TempWriteFlags { get; }

    /// <summary>All that is known of the granules. A log that writes them begins <see cref="BetweenChanges"/>.</summary>
    internal PointInTimeMaps Maps { get; }

    internal GranuleMap Done { get; }

    internal GranuleMap Refused { get; }

    internal FrozenReads Frozen { get; } = new();

    internal SessionCondition Condition { get; } = new();

    internal SnapshotConsumers CountedConsumers { get; }

    internal Copiers Copiers { get; } = new();

    internal ConsumedSpace Consumed { get; }

    private RunningCopies Copies { get; } = new();

    /// <summary>
    /// Ends the point in time: snapshot requests in flight and later fail with <see cref="BlockErrors.Stopped"/>, and
    /// guest writes copy nothing any more.
    /// </summary>
    public void Stop()
    {
        Condition.Stop();

        // This takes the lock: a note that had not seen the stop has been made when the call returns, and no other follows.
        LetWritesGo();
    }

    /// <summary>Completes when no guest's write is held up by its own copy any more. After <see cref="Stop"/>, which lets none begin.
    /// </summary>
    public Task HeldWritesEndedAsync()
    {
        // With a timeout copies have threads of their own, and their guests go on without them.
        using (_lock.EnterScope())
        {
            return Limits.Timeout is null ? Copies.Ended : Task.CompletedTask;
        }
    }

    /// <summary>
    /// Completes when no copy is running any more that its guest has left. Temp and the disk must stay open until then.
    /// </summary>
    public ValueTask CopiesEndedAsync() => Copiers.DrainAsync();

    /// <summary>Gives back what temp still holds of consumed granules: a process that is killed behind a note frees no more.</summary>
    public ValueTask FreeConsumedAsync() => Consumed.FreeAsync(Granules.All);

    /// <summary>Breaks the point in time; the first cause stays. No guest write waits for anything afterwards (I6).</summary>
    public void Break(BlockException cause)
    {
        ArgumentNullException.ThrowIfNull(cause);
        using (_lock.EnterScope())
        {
            // Noted first: a process that goes on after this one must not read what guests have overwritten without a copy.
            _notes.Broken(cause);
            Condition.Break(cause);
        }

        LetWritesGo();
    }

    /// <summary>Calls back while no change is between its note and the maps: notes that come later are of changes that the maps do not have
    /// yet, and the maps have all others. Guest writes wait meanwhile.</summary>
    internal void BetweenChanges(Action action)
    {
        using (_lock.EnterScope())
        {
            action();
        }
    }

    /// <summary>The granules that were refused from the start; null for none.</summary>
    internal GranuleMap? Denied => Maps.Denied;

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
    internal CopyDeadline? BeginDeadline() => Limits.Timeout is { } timeout ? new CopyDeadline(timeout, Limits.Time) : null;

    /// <summary>
    /// Ends a copy, marks it done unless it has an error, and wakes those who waited. Returns true when some of its granules
    /// were consumed meanwhile: the caller frees what it stored for them (I7).
    /// </summary>
    /// <param name="copy">The copy, which has failed when it has an error then.</param>
    /// <param name="hasData">True when temp was given something else than zeros.</param>
    internal bool FinishCopy(RunningCopies.Copy copy, bool hasData)
    {
        FailPoint.Reach("copy-in-temp");
        bool hasConsumed;
        using (_lock.EnterScope())
        {
            Copies.Remove(copy);
            hasConsumed = Refused.FirstIn(copy.Run) < copy.Run.End;

            // Behind the data in temp, and before any guest finds the granules done and overwrites them.
            copy.Error ??= _notes.Done(copy.Run, hasData);
            FailPoint.Reach("copy-noted");
            if (copy.Error is not null)
            {
                _hasFailedCopies = true;
            }
            else
            {
                Maps.AddDone(copy.Run, hasData);
                if (hasData)
                {
                    _copiedBytes += Granules.Bytes(copy.Run).LengthBytes;
                    Budget.Add(copy.Run);
                }
            }

            Budget.Return(copy.ReservedBytes);
        }

        // The fence of the handshake in FrozenReads: done first, then the look at the frozen reads.
        Interlocked.MemoryBarrier();
        Recent.Note(copy.Run.End);
        if (hasConsumed && copy.Error is null)
        {
            Avoided.Uncount(copy.Run);
        }

        copy.Wake();
        return hasConsumed;
    }

    /// <summary>Refuses the run from now on. Returns whether temp may hold data of it.</summary>
    /// <param name="run">At least one granule.</param>
    /// <param name="isConfirmed">True when <see cref="Confirm"/> has noted it.</param>
    /// <exception cref="BlockException">The session is over, or the discard can't be noted; nothing has changed then.</exception>
    internal bool Consume(GranuleRun run, bool isConfirmed = false)
    {
        bool mayHoldData;
        using (_lock.EnterScope())
        {
            // Before it is refused: a guest overwrites without a copy what is, and the caller frees it in temp.
            if (!isConfirmed)
            {
                _notes.Discard(null, run);
            }

            for (long start = Refused.FirstNotIn(run); start < run.End;)
            {
                GranuleRun readable = new(start, Refused.FirstIn(run with { Start = start }));
                _consumedBytes += Granules.Bytes(readable).LengthBytes;
                Budget.Remove(readable);
                start = Refused.FirstNotIn(run with { Start = readable.End });
            }

            Refused.Add(run);

            // A copy that failed half-way may have stored something for granules that never became done.
            mayHoldData = _hasFailedCopies || Done.FirstIn(run) < run.End;
        }

        Interlocked.MemoryBarrier();
        return mayHoldData;
    }

    /// <summary>Refuses the run to a consumer, or to all of them; the caller consumes then what all have confirmed.</summary>
    /// <param name="consumer">The consumer; null for all of them.</param>
    /// <param name="run">At least one granule.</param>
    /// <exception cref="BlockException">As <see cref="Consume"/>.</exception>
    internal void Confirm(SnapshotConsumer? consumer, GranuleRun run)
    {
        using (_lock.EnterScope())
        {
            _notes.Discard(consumer, run);
            foreach (SnapshotConsumer finished in consumer is null ? Consumers : [consumer])
            {
                finished.Confirm(run);
            }
        }
    }

    private void LetWritesGo()
    {
        using (_lock.EnterScope())
        {
            Copies.WakeAll();
        }

        Delay.End();
        Copiers.Wake();
        Frozen.Abandon();
    }
}
