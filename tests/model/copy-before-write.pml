/* SPDX-License-Identifier: MIT
 *
 * The protocol between guest write, copy, snapshot read, discard and break, for spin. tests/model/check.sh runs it;
 * docs/testing-model.md says what it covers and what it leaves out.
 *
 * It stands for src/Fleece.Block/CopyBeforeWrite; comments name the members. Every statement, atomic and d_step is a
 * step that other processes come before and after, never into, and is as large as the code's own step: one load
 * or store of shared memory, one interlocked operation, or one scope of PointInTime._lock. Such a scope is one step
 * because what is written in it is written nowhere else, and each word of it that is read without the lock is written
 * once. FrozenReads._waitersLock is a variable instead, since slots change while it is held.
 * Memory is sequentially consistent here; frozen-handshake.pml covers the order of stores and loads.
 *
 * The disk has two granules of two halves; an I/O takes a step per half, so that torn data shows. Set by -D:
 *   POLICY_BREAK_SNAPSHOT   CopyErrorPolicy; without it BreakGuestWrite
 *   WRITERS (1-2), READERS (1-2), QUERIERS (0-1, SnapshotAccess.GetStatusAsync), CONSUMERS (0-2), STOPPERS (0-1)
 *   SECOND_WRITE, DISCARD   the runs of the second writer and of the consumer; the first writer writes both granules
 *   MAXIMUM_COUNT (1-2)     PointInTime.BeginCopy: most granules in one copy
 *   SLOW_AFTER_END          after a break or stop, reads and copies end only when nobody waits for them (I6)
 *   TIMEOUTS                CopyLimits.Timeout: copies are processes of their own, and guests stop waiting for them whenever they like
 *   GUESTS_HANG             guest writes, copies and discards may stop for ever in an I/O (I3)
 *   WITHOUT_I2              does not assert I2, so that a slip goes on until it spoils a read
 *   MUTATE_...              one slip each; check.sh demands that spin finds it
 */
#ifndef WRITERS
#define WRITERS 2
#endif
#ifndef READERS
#define READERS 2
#endif
#ifndef QUERIERS
#define QUERIERS 0
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef STOPPERS
#define STOPPERS 0
#endif
#ifndef SECOND_WRITE
#define SECOND_WRITE 0, 1
#endif
#ifndef MAXIMUM_COUNT
#define MAXIMUM_COUNT 2
#endif

/* Whether the session can end at all. Where it cannot, the tests for it are left out to keep the search small. */
#if defined(POLICY_BREAK_SNAPSHOT) || STOPPERS > 0
#define CAN_END
#endif

/* As many slots as reads can run: where this model would run out, the code adds a segment (FrozenReads.Segment). */
#define SLOTS (READERS + QUERIERS)

/* ---- Granules ---- */

/* GranuleRun [start, end) as a mask; 0 <= start <= end <= 2. */
#define MASK(start, end) ((1 << (end)) - (1 << (start)))
#define HAS(mask, granule) (((mask) >> (granule)) & 1)
#define BOTH_HALVES(granule) (3 << (2 * (granule)))

/* GranuleRun.Overlaps. */
#define OVERLAPS(start1, end1, start2, end2) ((start1) < (end2) && (start2) < (end1))

/* GranuleMap.FirstIn over one word: an empty run yields its end. FirstNotIn takes ~mask. */
#define FIRST_IN(mask, start, end) \
    ((start) >= (end) -> (end) : \
        (HAS(mask, start) -> (start) : \
            ((start) + 1 < (end) && !HAS(mask, (start) + 1) -> (end) : (start) + 1)))

/* FrozenReads.Pack and Unpack: start, then count; 0 = the slot is free. */
#define PACK(start, end) (((start) << 2) | ((end) - (start)))
#define SLOT_START(packed) ((packed) >> 2)
#define SLOT_END(packed) (((packed) >> 2) + ((packed) & 3))

/* ---- Shared state ---- */

byte done;                  /* PointInTime.Done */
byte refused;               /* PointInTime.Refused */
bit over;                   /* SessionCondition.IsOver: broken or stopped */
bit hasFailedCopies;        /* PointInTime._hasFailedCopies: temp may hold data of granules that are not done */
byte copies[WRITERS];       /* RunningCopies: the granules a writer is copying */
byte copyAwaited[WRITERS];  /* RunningCopies.Copy.Finished: 1 + the writer whose copy this one waits for; 0 = woken */

#ifdef TIMEOUTS
bit copyFailed[WRITERS];    /* RunningCopies.Copy.Error */
#endif

byte slots[SLOTS];          /* FrozenReads.Segment.Slots */
bit abandoned;              /* FrozenReads._abandoned */
bit waitersLock;            /* FrozenReads._waitersLock */
byte waiting;               /* FrozenReads._waiters and _waiterCount, a bit per writer; 0 = Waiter.Woken */
byte writeStart[WRITERS];   /* what each writer writes, and so Waiter.Run */
byte writeEnd[WRITERS];

/* One bit per half. */
byte changed;               /* active disk: differs from the instant */
byte stored;                /* temp: holds data */
byte wrong;                 /* temp: holds data that differs from the instant */

/* ---- What only the properties look at ---- */

byte frozen[SLOTS];         /* granules a snapshot read takes from the active disk since its second test of done */
byte everRefused;
#ifdef SLOW_AFTER_END
byte guestsLeft = WRITERS;
#endif

/* Never set: an assertion that names one prints the invariant that fell. */
hidden byte I1, I2, I4, I5, I6, I7;

#if WRITERS == 2
#define COPY_IS_AWAITED (copyAwaited[0] || copyAwaited[1])
#else
#define COPY_IS_AWAITED (copyAwaited[0])
#endif

#if SLOTS == 3
#define FROZEN (frozen[0] | frozen[1] | frozen[2])
#elif SLOTS == 2
#define FROZEN (frozen[0] | frozen[1])
#else
#define FROZEN (frozen[0])
#endif

/* I2 for one granule. A read that froze the granule after it was consumed does not count: SnapshotAccess.CheckReadable
   fails it after the I/O. */
#ifdef WITHOUT_I2
#define MAY_CHANGE(granule) true
#else
#define MAY_CHANGE(granule) \
    (over || HAS(refused, granule) || \
        ((stored & BOTH_HALVES(granule)) == BOTH_HALVES(granule) && \
            (wrong & BOTH_HALVES(granule)) == 0 && !HAS(FROZEN, granule)))
#endif

/* ---- I/O ---- */

#ifdef GUESTS_HANG
#define GUEST_IO if :: true :: goto Hung fi
#else
#define GUEST_IO skip
#endif

#ifdef SLOW_AFTER_END
#define READ_ENDS (!over || guestsLeft == 0)
#define COPY_ENDS (!over || !COPY_IS_AWAITED)
#else
#define READ_ENDS true
#define COPY_ENDS true
#endif

/* ---- FrozenReads ---- */

/* One slot of Overlap. */
#ifdef MUTATE_I4_ANY_FROZEN_READ
#define HOLDS(packed, start, end) (packed != 0)
#else
#define HOLDS(packed, start, end) (packed != 0 && OVERLAPS(SLOT_START(packed), SLOT_END(packed), start, end))
#endif
#define SCAN(index, start, end) \
    d_step { \
        if \
        :: !hit && HOLDS(slots[index], start, end) -> \
            hit = 1; \
            assert(OVERLAPS(SLOT_START(slots[index]), SLOT_END(slots[index]), start, end) || I4) \
        :: else \
        fi \
    }

/* Overlap; the answer is in hit, which is 0 before. */
inline Overlap(start, end)
{
#ifdef CAN_END
    if
    :: abandoned
    :: else ->
#endif
        SCAN(0, start, end);
#if SLOTS > 1
        SCAN(1, start, end);
#endif
#if SLOTS > 2
        SCAN(2, start, end);
#endif
#ifdef CAN_END
    fi
#endif
}

inline WakeOne(waiter)
{
    if
    :: waiters & (1 << waiter) ->
        Overlap(writeStart[waiter], writeEnd[waiter]);
        atomic {
            waiters = waiters & ~(1 << waiter);
            waiting = (hit -> waiting : waiting & ~(1 << waiter));
            hit = 0
        }
    :: else
    fi
}

inline Wake()
{
    atomic { !waitersLock -> waitersLock = 1; waiters = waiting };
#if WRITERS == 2
    WakeOne(1);
#endif
    WakeOne(0);
    waitersLock = 0
}

/* The load before the CAS, and the mark for scans, are in frozen-handshake.pml. */
inline Enter(packed)
{
    do
    :: atomic { slots[ticket] == 0 -> slots[ticket] = packed }; break
    :: atomic { slots[ticket] != 0 -> ticket++ }
    od
}

/* Publish, and so Shrink and Exit: fill or clear the slot, then look for waiters. */
inline Publish(packed)
{
    atomic {
        slots[ticket] = packed;
        frozen[me] = frozen[me] & MASK(SLOT_START(packed), SLOT_END(packed));
        ticket = (packed -> ticket : 0)
    };
    if
    :: waiting -> Wake()
    :: else
    fi
}

/* ---- PointInTime ---- */

/* LetWritesGo, after SessionCondition.Break or Stop has set the state. */
inline LetWritesGo()
{
#ifndef MUTATE_I6_BREAK_LEAVES_COPY_WAITERS
    /* RunningCopies.WakeAll, under the lock. */
    d_step {
        copyAwaited[0] = 0;
#if WRITERS == 2
        copyAwaited[1] = 0
#endif
    };
#endif
#ifdef MUTATE_I6_BREAK_DOES_NOT_ABANDON
    skip
#else
    /* FrozenReads.Abandon. */
    abandoned = 1;
    Wake()
#endif
}

/* FirstUnsettled: GranuleMap.FirstInNeither. */
#ifdef MUTATE_I7_CONSUMED_IS_UNSETTLED
#define SETTLED done
#else
#define SETTLED (done | refused)
#endif

#ifdef CAN_END
#define IF_OVER(label) if :: over -> goto label :: else fi
#else
#define IF_OVER(label) skip
#endif

/* ---- CopyBeforeWriteFilter ---- */

/* FinishCopy: one scope of the lock, a fence, and the waiters of the copy. */
inline FinishCopy(succeeded)
{
    d_step {
        hasConsumed = (refused & copies[me]) != 0;
        copies[me] = 0;
        if
        :: succeeded -> done = done | MASK(from, to)
        :: else -> hasFailedCopies = 1
        fi
    };
#ifdef MUTATE_I4_FAILED_COPY_WAKES_NOBODY
    if
    :: !(succeeded) -> goto Woken
    :: else
    fi;
#endif
#if WRITERS == 2 || defined(TIMEOUTS)
    /* RunningCopies.Copy.Wake, outside the lock. */
    d_step {
#if WRITERS == 2
        if
        :: copyAwaited[1 - me] == 1 + me -> copyAwaited[1 - me] = 0
        :: else
        fi;
#endif
#ifdef TIMEOUTS
        if
        :: copyAwaited[me] == 1 + me -> copyAwaited[me] = 0; copyFailed[me] = !(succeeded)
        :: else
        fi
#endif
    };
#endif
}

/* CopyAsync of [from, to): StoreDataAsync, FinishCopy, ReclaimConsumedAsync. */
inline CopyRun()
{
    at = 2 * from;
#ifdef MUTATE_I1_DONE_BEFORE_TEMP
    FinishCopy(true);
#endif
    do
    :: atomic {
        at < 2 * to && COPY_ENDS ->
        GUEST_IO;
        misread = misread | (HAS(changed, at) << (at / 2));
        at++
    }
    :: atomic { at == 2 * to -> at = 2 * from }; break
    od;
    do
    :: atomic {
        at < 2 * to && COPY_ENDS ->
        GUEST_IO;
        stored = stored | (1 << at);
        wrong = (wrong & ~(1 << at)) | (HAS(misread, at / 2) << at);
        at++
    }
    :: atomic { at < 2 * to && COPY_ENDS -> failed = 1 }; break
    :: at == 2 * to -> break
    od;
    misread = 0;
#ifndef MUTATE_I1_DONE_BEFORE_TEMP
    FinishCopy(!failed);
#endif
#ifdef MUTATE_I4_FAILED_COPY_WAKES_NOBODY
Woken:
#endif
#ifndef MUTATE_I7_NO_RECLAIM
    /* ReclaimConsumedAsync. */
    if
    :: hasConsumed ->
        at = from;
        do
        :: atomic {
            at < to ->
            stored = (HAS(refused, at) -> stored & ~BOTH_HALVES(at) : stored);
            at++
        }
        :: at == to -> break
        od
    :: else
    fi
#endif
}

#ifdef TIMEOUTS
/* Copiers.RunAsync. */
proctype Copier(byte me; byte from; byte to)
{
    byte at, misread;
    bit hasConsumed, failed;

    CopyRun();
    atomic { at = 0; from = 0; to = 0; hasConsumed = 0; failed = 0 }
}
#endif

/* WriteAsync, WriteZeroesAsync or DiscardAsync: to the protocol they are one. */
proctype Writer(byte me)
{
    byte first, last;   /* the run the guest writes */
    byte at;            /* SettleAsync: rest.Start. Else: the half at hand */
    byte from, to;      /* CopyAsync: copy.Run */
    byte misread;       /* StoreDataAsync: granules in the buffer that differ from the instant */
    byte waiters;       /* Wake */
    bit hit, hasConsumed, failed;
    bit wasSettled;     /* what the guest wrote was settled from the beginning */

    d_step {
        first = writeStart[me];
        last = writeEnd[me];
        at = first
    };

    /* MayWrite. */
    IF_OVER(Write);
#ifdef MUTATE_I2_FROZEN_READS_BEFORE_MAPS
    Overlap(first, last);
    d_step { at = FIRST_IN(~SETTLED, first, last) };
    if
    :: !hit && at == last -> goto Write
    :: else -> hit = 0; at = first
    fi;
#else
    d_step {
        wasSettled = ((done | refused) & MASK(first, last)) == MASK(first, last);
        at = FIRST_IN(~SETTLED, first, last)
    };
    if
    :: at == last ->
#ifndef MUTATE_I2_SETTLED_IGNORES_FROZEN_READS
        Overlap(first, last);
#endif
        if
        :: !hit -> goto Write
        :: else -> hit = 0
        fi
    :: else
    fi;
    at = first;
#endif

Settle: /* SettleAsync. */
    IF_OVER(Write);
    at = FIRST_IN(~SETTLED, at, last);
#ifndef MUTATE_I4_SETTLED_TAKES_LOCK
    if
    :: at == last -> goto Settled
    :: else
    fi;
#endif

    /* BeginCopy: one scope of the lock. */
    d_step {
        assert(!wasSettled || I4);
        from = FIRST_IN(~SETTLED, at, last);
        to = from;
        if
        :: from == last
#ifndef MUTATE_I6_CLAIM_AFTER_END
        :: from != last && over
        :: from != last && !over ->
#else
        :: from != last ->
#endif
            if
#if WRITERS == 2
            :: HAS(copies[1 - me], from) -> copyAwaited[me] = 1 + (1 - me)
#endif
            :: else ->
                to = (from + MAXIMUM_COUNT < last -> from + MAXIMUM_COUNT : last);
#ifndef MUTATE_I1_COPY_OF_SETTLED
                to = FIRST_IN((done | refused) & ~(1 << from), from, to);
#endif
#if WRITERS == 2
                /* RunningCopies.Begin. */
                to = FIRST_IN(copies[1 - me], from, to);
#endif
                copies[me] = MASK(from, to);
#ifdef TIMEOUTS
                copyAwaited[me] = 1 + me;
#endif
                assert((copies[me] & refused) == 0 || I7)
            fi
        fi
    };
    if
    :: from == to ->
        /* Nothing left to copy, or another request copies it. */
#ifdef TIMEOUTS
        if
        :: copyAwaited[me] == 0 -> goto Settle
        :: atomic { copyAwaited[me] != 0 -> copyAwaited[me] = 0; goto Policy }
        fi
#else
#ifdef GUESTS_HANG
end_copy:
#endif
        copyAwaited[me] == 0;
        goto Settle
#endif
    :: else
    fi;

#ifdef TIMEOUTS
    /* Copiers.Start: another thread copies, and this one waits for it as for the copy of another request. */
    run Copier(me, from, to);
    atomic { at = from; from = 0; to = 0 };
    if
    :: copyAwaited[me] == 0
    :: atomic { copyAwaited[me] != 0 -> copyAwaited[me] = 0; failed = 1 };
#ifdef MUTATE_I1_LATE_COPY_IS_FORGOTTEN
        copies[me] = 0
#endif
    fi;
    atomic { failed = failed || copyFailed[me]; copyFailed[me] = 0 };
#else
    CopyRun();
    atomic {
        hasConsumed = 0;
        at = from;
        from = 0;
        to = 0
    };
#endif
    if
    :: !failed -> goto Settle
    :: else -> failed = 0
    fi;

#ifdef TIMEOUTS
Policy:
#endif
    /* ApplyPolicy. */
#ifdef POLICY_BREAK_SNAPSHOT
    over = 1;
    LetWritesGo();
    goto Settle;
#else
#ifdef CAN_END
    atomic {
#ifndef MUTATE_I6_ENDED_SESSION_FAILS_WRITE
        /* Nothing needs to be kept any more, so nobody has to lose. */
        IF_OVER(Write);
#endif
        assert(!over || I6)
    };
#endif
#ifdef MUTATE_I4_FAILED_COPY_IS_REPEATED
    goto Settle;
#elif defined(MUTATE_I2_LATE_WRITE_GOES_ON)
    goto Write;
#else
    goto Finish;
#endif
#endif

Settled: /* FrozenReads.WaitUntilClearAsync. */
#ifndef MUTATE_I2_NO_WAIT_FOR_FROZEN_READS
    Overlap(first, last);
    if
    :: !hit -> goto Write
    :: else -> hit = 0
    fi;
    atomic { !waitersLock -> waiting = waiting | (1 << me) };
#ifdef MUTATE_I4_NO_SECOND_SCAN
    hit = 1;
#else
    Overlap(first, last);
#endif
    if
    :: !hit -> atomic { !waitersLock -> waiting = waiting & ~(1 << me) }
    :: else ->
        hit = 0;
#ifdef GUESTS_HANG
end_wait:
#endif
        !(waiting & (1 << me))
    fi;
#endif

Write:
    at = 2 * first;
    do
    :: atomic {
        at < 2 * last ->
        GUEST_IO;
        assert(MAY_CHANGE(at / 2) || I2);
        changed = changed | (1 << at);
        at++
    }
    :: at == 2 * last -> break
    od;

Finish:
    /* Here and below: dead values must not tell states apart. */
    atomic {
#ifdef SLOW_AFTER_END
        guestsLeft--;
#endif
        at = 0;
        first = 0;
        last = 0;
        wasSettled = 0
    };
#ifdef GUESTS_HANG
    goto End;
Hung:
end_hung:
    false;
End:
#endif
    skip
}

/* ---- SnapshotAccess ---- */

/* CheckReadable: Condition.ThrowUnlessActive, then Refused.FirstIn. */
#define CHECK_READABLE(start, end) \
    IF_OVER(Refuse); \
    if \
    :: refused & MASK(start, end) -> goto Refuse \
    :: else \
    fi

/* NextPiece of [at, end): the piece is [at, to), from temp or else from the active disk and frozen. */
inline NextPiece(end)
{
    do
    ::
#ifdef MUTATE_I3_READ_WAITS_FOR_COPY
        !HAS(copies[0], at);
#endif
        to = FIRST_IN(done, at, end);
#ifdef MUTATE_I1_EMPTY_FREEZE
        /* Asked again, done may say otherwise. The empty run then enters, and packed, one that starts at 0 reads as a
           free slot: what it leaves is the slot of another read. */
        isTemp = to == at;
        to = (isTemp -> to : FIRST_IN(done, at, end));
        if
        :: isTemp ->
#else
        if
        :: to == at ->
            isTemp = 1;
#endif
            to = FIRST_IN(~done, at, end);
            break
        :: else ->
            Enter(PACK(at, to));
#ifdef MUTATE_I1_NO_SECOND_TEST
            atomic { again = to; frozen[me] = MASK(at, to) };
#else
            atomic { again = FIRST_IN(done, at, to); frozen[me] = MASK(at, again) };
#endif
            if
            :: again == at ->
                Publish(0)
            :: again > at && again < to ->
                to = again;
                Publish(PACK(at, to));
                break
            :: else ->
                break
            fi
        fi
    od;
    again = 0
}

/* SnapshotAccess.Piece.Dispose. */
inline DisposePiece()
{
    if
    :: isTemp -> isTemp = 0
    :: else -> Publish(0)
    fi
}

/* Half a granule arrives: is it the instant's, and could the read still succeed? */
inline Receive(half)
{
    isBad = isBad || (isTemp -> !((stored & ~wrong) & (1 << (half))) : (changed & (1 << (half))) != 0);
#ifdef CAN_END
    wasOver = over;
#endif
    wasRefused = (refused & MASK(first, last)) != 0
}

inline Release()
{
    d_step {
        assert(!wasOver || I6);
        assert(!wasRefused || I5);
        assert(!isBad || I1)
    }
}

/* ReadAsync. */
proctype Reader(byte me; byte first; byte last)
{
    byte at, to, again, half, ticket;
    byte waiters;
    bit isTemp, hit;
    bit isBad, wasOver, wasRefused;

    CHECK_READABLE(first, last);
    at = first;
    do
    :: at < last ->
        NextPiece(last);
        half = 2 * at;
        do
        :: atomic { half < 2 * to && READ_ENDS -> Receive(half); half++ }
        :: atomic { half == 2 * to -> half = 0 }; break
        od;
        DisposePiece();
        at = to
    :: else -> break
    od;
#ifdef MUTATE_I6_NO_CHECK_AFTER_IO
    if
    :: refused & MASK(first, last) -> goto Refuse
    :: else
    fi;
#elif defined(MUTATE_I5_MAP_CHECKED_ONCE)
    IF_OVER(Refuse);
#else
    CHECK_READABLE(first, last);
#endif
    Release();
Refuse:
    atomic { isBad = 0; wasOver = 0; wasRefused = 0; at = 0; to = 0 }
}

/* GetStatusAsync. Its answer is wrong where it describes data that differs from the instant's. */
proctype Querier(byte me; byte first; byte last)
{
    byte at, to, again, end, ticket;
    byte wrongly, wereRefused;  /* granules, as Receive has it */
    byte waiters;
    bit isTemp, hit;
    bit isBad, wasOver, wasRefused;

    CHECK_READABLE(first, first + 1);
    at = first;
#ifdef MUTATE_I5_STATUS_OF_NOTHING
    end = FIRST_IN(refused, first, last);
#else
    /* Behind the first granule: that one may be consumed since the check, and would leave nothing to ask about. */
    end = FIRST_IN(refused, first + 1, last);
#endif
    NextPiece(end);
    d_step {
        READ_ENDS;
        assert(to > at || I5);
        do
        :: at < to ->
            isBad = 0;
            Receive(2 * at);
            Receive(2 * at + 1);
            wrongly = wrongly | (isBad << at);
            at++
        :: else -> break
        od;
        isBad = 0;
        at = 0;
        wereRefused = refused
    };
    DisposePiece();
#ifdef MUTATE_I5_STATUS_IS_NOT_CUT
    end = to;
#else
    /* What was consumed meanwhile is cut off the answer. */
    end = FIRST_IN(refused, first + 1, last);
#endif
    CHECK_READABLE(first, first + 1);
    d_step {
        last = (end < to -> end : to);
        isBad = (wrongly & MASK(first, last)) != 0;
        wasRefused = (wereRefused & MASK(first, last)) != 0
    };
    Release();
Refuse:
    atomic {
        isBad = 0;
        wasOver = 0;
        wasRefused = 0;
        wrongly = 0;
        wereRefused = 0;
        to = 0;
        end = 0;
        last = 0
    }
}

/* DiscardAsync: Condition, Consume, temp. */
proctype Consumer(byte first; byte last)
{
    byte at, word;
    bit mayHoldData;

    IF_OVER(Refuse);
    at = first;
#ifdef MUTATE_I7_FREE_BEFORE_REFUSE
    if
    :: done & MASK(first, last) -> stored = stored & ~(BOTH_HALVES(first) | BOTH_HALVES(last - 1))
    :: else
    fi;
#endif
#ifdef MUTATE_I5_CONSUME_WITHOUT_LOCK
    /* GranuleMap.AddWithinPage reads a word and writes it back. */
    word = refused;
#endif
    d_step {
#ifndef MUTATE_I5_CONSUME_WITHOUT_LOCK
        word = refused;
#endif
        refused = word | MASK(first, last);
        everRefused = everRefused | MASK(first, last);
        assert(refused == everRefused || I5);
        mayHoldData = (done & MASK(first, last)) != 0;
#ifndef MUTATE_I7_FAILED_COPY_FORGOTTEN
        mayHoldData = mayHoldData || hasFailedCopies
#endif
    };
#ifndef MUTATE_I7_FREE_BEFORE_REFUSE
    if
    :: mayHoldData ->
        do
        :: atomic { at < last -> GUEST_IO; stored = stored & ~BOTH_HALVES(at); at++ }
        :: at == last -> break
        od
    :: else
    fi;
#endif
Refuse:
    atomic { at = 0; word = 0; mayHoldData = 0; first = 0; last = 0 };
#ifdef GUESTS_HANG
    goto End;
Hung:
end_hung:
    false;
End:
#endif
    skip
}

/* PointInTime.Stop, and Break when somebody else than a copy calls it. */
proctype Stopper()
{
    byte waiters;
    bit hit;

    over = 1;
    LetWritesGo()
}

inline ChooseRun(start, end)
{
    if
    :: start = 0; end = 1
    :: start = 1; end = 2
    :: start = 0; end = 2
    fi
}

inline WriteRun(writer, start, end)
{
    writeStart[writer] = start;
    writeEnd[writer] = end
}

init
{
    byte start, end, i;

    atomic {
        WriteRun(0, 0, 2);
        run Writer(0);
#if WRITERS == 2
        WriteRun(1, SECOND_WRITE);
        run Writer(1);
#endif
#if READERS > 0
        run Reader(0, 0, 2);
#endif
#if READERS > 1
        run Reader(1, 1, 2);
#endif
#if QUERIERS > 0
        run Querier(READERS, 0, 2);
#endif
#if CONSUMERS == 1
#ifdef DISCARD
        run Consumer(DISCARD);
#else
        ChooseRun(start, end);
        run Consumer(start, end);
#endif
#elif CONSUMERS == 2
        run Consumer(0, 1);
        run Consumer(1, 2);
#endif
#if STOPPERS > 0
        run Stopper();
#endif
        start = 0;
        end = 0
    };

    /* Whoever can't go on is reported as an invalid end state, unless GUESTS_HANG lets it stop. */
end_all:
    _nr_pr == 1;

    d_step {
        do
        :: i < 2 ->
            assert(!HAS(refused, i) || (stored & BOTH_HALVES(i)) == 0 || I7);
            i++
        :: else -> break
        od
    }
}
