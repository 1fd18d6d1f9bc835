/* SPDX-License-Identifier: MIT
 *
 * The order of stores and loads in the handshakes of src/Fleece.Block/CopyBeforeWrite, for spin: each is "write mine,
 * fence, read yours". tests/model/check.sh runs it; docs/testing-model.md says what it leaves out. The rest of
 * the protocol is in copy-before-write.pml.
 *
 * Memory is x86's (TSO) with a store buffer of one entry per thread: a store waits in the buffer, visible to its own
 * thread alone, until Memory drains it at any moment. A fence waits until the buffer is empty; an interlocked operation
 * does that and writes memory itself. Two things are weaker than on a real machine, so that nothing but the code's own
 * fences is relied on: an I/O neither drains nor waits, and leaving a lock stores nothing (with one entry that store
 * would push out the one before).
 *
 * One granule, one copy, one frozen read. Set by -D:
 *   WITH_CONSUMER, WITH_BREAKER   a discard; a break by a third guest write
 *   SLOW_AFTER_END                after a break the read ends only when all guest writes have ended (I6)
 *   WITHOUT_I2                    does not assert I2, so that a slip goes on until it spoils a read
 *   MUTATE_...                    one slip each; check.sh demands that spin finds it
 */

/* Cells of shared memory. */
#define DONE 1          /* PointInTime.Done */
#define REFUSED 2       /* PointInTime.Refused */
#define CAUSE 3         /* SessionCondition._cause */
#define SLOT 4          /* FrozenReads.Segment.Slots[0] */
#define MARK 5          /* FrozenReads.Segment.HighWater */
#define WAITERS 6       /* FrozenReads._waiterCount */
#define ABANDONED 7     /* FrozenReads._abandoned */
byte memory[8];         /* cell 0 means none */

/* Threads. */
#define COPIER 0
#define SETTLED 1
#define READER 2
#define CONSUMER 3
#define BREAKER 4
#define THREADS 5
byte bufferedCell[THREADS];
byte bufferedValue[THREADS];

#define EMPTY (bufferedCell[me] == 0)
#define LOAD(cell) (bufferedCell[me] == (cell) -> bufferedValue[me] : memory[cell])
#define FENCE EMPTY
#define STORE(cell, value) atomic { EMPTY -> bufferedCell[me] = cell; bufferedValue[me] = value }
#define INTERLOCKED(cell, value) atomic { EMPTY -> memory[cell] = value }

bit waitersLock;        /* FrozenReads._waitersLock; entering it is interlocked */
byte waiting;           /* FrozenReads._waiters, a bit per thread; cleared = Waiter.Woken is set */

/* The disks, which I/O reaches at once. */
byte changed;           /* active disk: halves that differ from the instant */
byte stored = 3;        /* temp: halves that hold old data */
bit frozen;             /* a snapshot read takes the granule from the active disk since its second test of done */

/* Never set: an assertion that names one prints the invariant that fell. */
hidden byte I1, I2;

#ifdef SLOW_AFTER_END
#ifdef WITH_BREAKER
byte guestsLeft = 3;
#else
byte guestsLeft = 2;
#endif
#define READ_ENDS (!memory[CAUSE] || guestsLeft == 0)
#define GUEST_ENDS guestsLeft--
#else
#define READ_ENDS true
#define GUEST_ENDS skip
#endif

/* FrozenReads.Overlap. */
inline Overlap()
{
    if
    :: LOAD(ABANDONED)
    :: else ->
        if
        :: LOAD(MARK) -> hit = LOAD(SLOT)
        :: else
        fi
    fi
}

inline WakeOne(thread)
{
    if
    :: waiting & (1 << thread) ->
        Overlap();
        atomic {
            if
            :: hit -> hit = 0
            :: else -> waiting = waiting & ~(1 << thread); memory[WAITERS]--
            fi
        }
    :: else
    fi
}

/* FrozenReads.Wake. */
inline Wake()
{
    atomic { !waitersLock && EMPTY -> waitersLock = 1 };
    WakeOne(COPIER);
    WakeOne(SETTLED);
    waitersLock = 0
}

/* FrozenReads.WaitUntilClearAsync and WaitAsync. */
inline WaitUntilClear()
{
    Overlap();
    if
    :: hit ->
        hit = 0;
        atomic { !waitersLock && EMPTY -> waitersLock = 1 };
#ifdef MUTATE_I4_REGISTER_WITHOUT_FENCE
        /* _waiterCount++ under the lock looks sufficient, as only the lock's owner changes it. */
        atomic { waiting = waiting | (1 << me); bufferedCell[me] = WAITERS; bufferedValue[me] = memory[WAITERS] + 1 };
#else
        atomic { waiting = waiting | (1 << me); memory[WAITERS]++ };
#endif
        waitersLock = 0;
        Overlap();
        if
        :: hit -> hit = 0; !(waiting & (1 << me))
        :: else ->
            /* Remove. */
            atomic {
                !waitersLock && EMPTY ->
                if
                :: waiting & (1 << me) -> waiting = waiting & ~(1 << me); memory[WAITERS]--
                :: else
                fi
            }
        fi
    :: else
    fi
}

/* The guest's write reaches the active disk, in two steps. A frozen read that fails afterwards does not count (I2). */
#ifdef WITHOUT_I2
#define MAY_CHANGE true
#else
#define MAY_CHANGE (!frozen || memory[REFUSED] || memory[CAUSE])
#endif
inline Change()
{
    atomic { assert(MAY_CHANGE || I2); changed = changed | 1 };
    atomic { assert(MAY_CHANGE || I2); changed = changed | 2; GUEST_ENDS }
}

/* CopyBeforeWriteFilter.CopyAsync has stored the old data: PointInTime.FinishCopy, then SettleAsync goes on. */
proctype Copier()
{
    byte me = COPIER;
    bit hit;

    STORE(DONE, 1);
#ifndef MUTATE_I1_FINISH_COPY_WITHOUT_FENCE
    FENCE;
#endif
    if
    :: LOAD(CAUSE)
    :: else -> WaitUntilClear()
    fi;
    Change()
}

/* CopyBeforeWriteFilter.MayWrite on another thread, which relies on the stores of those that settled the granule. */
proctype SettledWriter()
{
    byte me = SETTLED;
    bit hit;

    if
    :: LOAD(DONE) || LOAD(REFUSED) -> WaitUntilClear(); Change()
    :: else -> GUEST_ENDS
    fi
}

/* SnapshotAccess.ReadAsync; NextPiece is the part up to the I/O. */
proctype Reader()
{
    byte me = READER;
    bit hit, isFrozen, isBad;

    if
    :: LOAD(CAUSE) || LOAD(REFUSED) -> goto Refuse
    :: else
    fi;
    if
    :: LOAD(DONE) -> goto FromTemp
    :: else
    fi;

    /* FrozenReads.Enter. */
#ifndef MUTATE_I1_MARK_BEHIND_SLOT
    INTERLOCKED(MARK, 1);
#endif
#ifdef MUTATE_I1_ENTER_WITHOUT_FENCE
    STORE(SLOT, 1);
#else
    INTERLOCKED(SLOT, 1);
#endif
#ifdef MUTATE_I1_MARK_BEHIND_SLOT
    /* Raised behind the slot it must at least be raised by an interlocked operation. */
    STORE(MARK, 1);
#endif
    atomic { frozen = !LOAD(DONE); isFrozen = frozen };
    if
    :: isFrozen ->
        atomic { READ_ENDS -> isBad = isBad || (changed & 1) };
        atomic { READ_ENDS -> isBad = isBad || (changed & 2) }
    :: else
    fi;

    /* FrozenReads.Publish, from Exit. */
#ifdef MUTATE_I4_EXIT_WITHOUT_FENCE
    atomic { STORE(SLOT, 0); frozen = 0 };
#else
    atomic { INTERLOCKED(SLOT, 0); frozen = 0 };
#endif
    if
    :: LOAD(WAITERS) -> Wake()
    :: else
    fi;
    if
    :: isFrozen -> goto Check
    :: else
    fi;

FromTemp:
    atomic { READ_ENDS -> isBad = isBad || !(stored & 1) };
    atomic { READ_ENDS -> isBad = isBad || !(stored & 2) };

Check: /* The code fences here; TSO keeps loads in order without. */
    if
    :: LOAD(CAUSE) -> goto Refuse
    :: else
    fi;
    if
    :: LOAD(REFUSED) -> goto Refuse
    :: else
    fi;
    assert(!isBad || I1);
Refuse:
    skip
}

/* SnapshotAccess.DiscardAsync: PointInTime.Consume, then temp. */
proctype Consumer()
{
    byte me = CONSUMER;
    bit mayHoldData;

    STORE(REFUSED, 1);
    mayHoldData = LOAD(DONE);
#ifndef MUTATE_I1_CONSUME_WITHOUT_FENCE
    FENCE;
#endif
    if
    :: mayHoldData ->
        stored = stored & ~1;
        stored = stored & ~2
    :: else
    fi
}

/* CopyBeforeWriteFilter.ApplyPolicy: PointInTime.Break, then the guest's write goes on. */
proctype Breaker()
{
    byte me = BREAKER;
    bit hit;

    INTERLOCKED(CAUSE, 1);
    /* FrozenReads.Abandon. The lock that LetWritesGo enters before is left out. */
    STORE(ABANDONED, 1);
#ifdef MUTATE_I6_ABANDON_WITHOUT_FENCE
    /* Asking for waiters first, as Publish does, saves a lock and needs the fence. */
    if
    :: LOAD(WAITERS) -> Wake()
    :: else
    fi;
#else
    FENCE;
    Wake();
#endif
    Change()
}

/* Buffers drain whenever they like. */
active proctype Memory()
{
    byte i;

end_drained:
    do
    :: atomic { bufferedCell[0] -> memory[bufferedCell[0]] = bufferedValue[0]; bufferedCell[0] = 0 }
    :: atomic { bufferedCell[1] -> memory[bufferedCell[1]] = bufferedValue[1]; bufferedCell[1] = 0 }
    :: atomic { bufferedCell[2] -> memory[bufferedCell[2]] = bufferedValue[2]; bufferedCell[2] = 0 }
    :: atomic { bufferedCell[3] -> memory[bufferedCell[3]] = bufferedValue[3]; bufferedCell[3] = 0 }
    :: atomic { bufferedCell[4] -> memory[bufferedCell[4]] = bufferedValue[4]; bufferedCell[4] = 0 }
    od
}

init
{
    atomic {
        run Copier();
        run SettledWriter();
        run Reader();
#ifdef WITH_CONSUMER
        run Consumer();
#endif
#ifdef WITH_BREAKER
        run Breaker();
#endif
    }
}
