// SPDX-License-Identifier: MIT
namespace Fleece.Block.CopyBeforeWrite;

/// <summary>The snapshot reads that are running on the active disk right now.</summary>
/// <remarks>
/// <para>A guest write must not change bytes under such a read (I2), and must learn of it without a shared lock (I4).
/// So every read occupies one 64-bit slot that is written and read atomically:</para>
/// <code>
/// bits 63..24  first granule (40 bits)
/// bits 23..0   number of granules; 0 = the slot is free
/// </code>
/// <para>Two handshakes, each of the form "write mine, fence, read yours", make it safe.
/// (1) Reader: enter a slot, then test the done map again. Copier: add to the done map, then scan the slots. At least one of
/// them sees the other, so a read never stays on the active disk beside a write that missed it.
/// (2) Waiter: register, then scan again. Reader: clear the slot, then look for waiters. So no waiter sleeps for ever.</para>
/// <para>Slots are taken lowest first, so scans are short; segments are added when more reads run at once, so a read never
/// waits for anybody (I3).</para>
/// </remarks>
internal sealed class FrozenReads
{
    /// <summary>Longest run one slot can hold.</summary>
    public const long MaximumGranulesPerRead = (1L << CountBits) - 1;

    private const int CountBits = 24;
    private const int SlotsPerSegment = 64;

    private readonly Segment _first = new();
    private readonly SharedLock _waitersLock = new();
    private readonly List<Waiter> _waiters = [];
    private int _waiterCount;
    private volatile bool _abandoned;

    /// <summary>How often a guest write had to wait for a frozen read.</summary>
    public long WaitCount { get; private set; }

    /// <summary>Freezes a run for a read. A full fence lies between this and whatever the caller reads next.</summary>
    public Ticket Enter(GranuleRun run)
    {
        Invariant.Require(!run.IsEmpty, "I2", "a frozen read holds a granule; an empty slot belongs to nobody");
        long packed = Pack(run);
        for (Segment segment = _first; ; segment = segment.NextOrAdd())
        {
            for (int i = 0; i < SlotsPerSegment; i++)
            {
                if (Volatile.Read(ref segment.Slots[i]) != 0)
                {
                    continue;
                }

                // The mark is raised before the slot is filled: a scan that misses the mark started before this fence.
                segment.RaiseHighWater(i + 1);
                Schedule.Point("frozen read takes a slot");
                if (Interlocked.CompareExchange(ref segment.Slots[i], packed, 0) == 0)
                {
                    return new Ticket(segment, i);
                }
            }
        }
    }

    /// <summary>Narrows a frozen run to its head.</summary>
    public void Shrink(Ticket ticket, GranuleRun head) => Publish(ticket, Pack(head));

    /// <summary>Ends a frozen read and wakes the writes that waited for it.</summary>
    public void Exit(Ticket ticket) => Publish(ticket, 0);

    /// <summary>True when a frozen read holds a granule of the run.</summary>
    public bool Overlap(GranuleRun run)
    {
        Schedule.Point("frozen reads are scanned");
        if (_abandoned)
        {
            return false;
        }

        for (Segment? segment = _first; segment is not null; segment = segment.Next)
        {
            int highWater = segment.HighWater;
            for (int i = 0; i < highWater; i++)
            {
                long packed = Volatile.Read(ref segment.Slots[i]);
                if (packed != 0 && Unpack(packed).Overlaps(run))
                {
                    return true;
                }
            }
        }

        return false;
    }

    /// <summary>
    /// Completes when no frozen read holds a granule of the run. The caller has settled the run first, so no read can
    /// enter it for good any more.
    /// </summary>
    public ValueTask WaitUntilClearAsync(GranuleRun run, CancellationToken cancellationToken) =>
        Overlap(run) ? WaitAsync(run, cancellationToken) : default;

    /// <summary>
    /// Lets every write go on, now and later: after a break, frozen reads fail by themselves (I6) and hold nobody.
    /// </summary>
    public void Abandon()
    {
        Schedule.Point("frozen reads are abandoned");
        _abandoned = true;
        Interlocked.MemoryBarrier();
        Wake();
    }

    private async ValueTask WaitAsync(GranuleRun run, CancellationToken cancellationToken)
    {
        Waiter waiter = new(run);
        using (_waitersLock.EnterScope())
        {
            _waiters.Add(waiter);
            WaitCount++;
            Interlocked.Increment(ref _waiterCount);
        }

        if (!Overlap(run))
        {
            Remove(waiter);
            return;
        }

        try
        {
            await Schedule.WaitAsync(waiter.Woken.Task, cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            Remove(waiter);
            throw;
        }
    }

    private void Remove(Waiter waiter)
    {
        using (_waitersLock.EnterScope())
        {
            if (_waiters.Remove(waiter))
            {
                Interlocked.Decrement(ref _waiterCount);
            }
        }
    }

    private void Publish(Ticket ticket, long packed)
    {
        Schedule.Point("frozen read leaves");
        Interlocked.Exchange(ref ticket.Segment.Slots[ticket.Index], packed);
        Schedule.Point("frozen read looks for waiters");
        if (Volatile.Read(ref _waiterCount) != 0)
        {
            Wake();
        }
    }

    private void Wake()
    {
        using (_waitersLock.EnterScope())
        {
            for (int i = _waiters.Count - 1; i >= 0; i--)
            {
                Waiter waiter = _waiters[i];
                if (!Overlap(waiter.Run))
                {
                    _waiters.RemoveAt(i);
                    Interlocked.Decrement(ref _waiterCount);
                    waiter.Woken.SetResult();
                }
            }
        }
    }

    private static long Pack(GranuleRun run) => run.Start << CountBits | run.Count;

    private static GranuleRun Unpack(long packed)
    {
        long start = (long)((ulong)packed >> CountBits);
        return new GranuleRun(start, start + (packed & MaximumGranulesPerRead));
    }

    /// <summary>The slot of one frozen read.</summary>
    internal readonly record struct Ticket(Segment Segment, int Index);

    /// <summary>A fixed number of slots; segments form a list that only grows.</summary>
    internal sealed class Segment
    {
        public readonly long[] Slots = new long[SlotsPerSegment];
        private Segment? _next;
        private int _highWater;

        public Segment? Next => Volatile.Read(ref _next);

        public int HighWater => Volatile.Read(ref _highWater);

        public void RaiseHighWater(int mark)
        {
            for (int seen = HighWater; seen < mark;)
            {
                seen = Interlocked.CompareExchange(ref _highWater, mark, seen);
            }
        }

        public Segment NextOrAdd()
        {
            Segment? next = Next;
            return next ?? Interlocked.CompareExchange(ref _next, next = new Segment(), null) ?? next;
        }
    }

    private sealed class Waiter(GranuleRun run)
    {
        public GranuleRun Run { get; } = run;

        // Asynchronous, so that a reader never runs the guest's write on its own thread.
        public TaskCompletionSource Woken { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
