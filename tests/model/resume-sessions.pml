/* SPDX-License-Identifier: MIT
 *
 * The start of a session over two disks, its stop on each, their bitmaps, and restarts after kills, for spin.
 * tests/model/check.sh runs it; docs/testing-model.md says what it covers and what it leaves out.
 *
 * Stands for the session's logs, the markers and BitmapTurn. A kill takes the memory and keeps all stores to files, so each of them is a
 * step. After it the disks are mounted in any order, and the process may be killed at every step of that, too. The first disk's log
 * leads the start. resume-copies.pml has the copies, resume-boots.pml what a loss of power keeps. Set by -D:
 *   KILLS, GUESTS (0-2 disks are written, the second one first), WRITES (on each in all lives), STOPS (0-2, the second disk's first)
 *   FAILURES                a start may fail and is taken back, and a marker may have no room to be rewritten
 *   MUTATE_...              one slip each; check.sh demands that spin finds it
 */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef GUESTS
#define GUESTS 1
#endif
#ifndef STOPS
#define STOPS 2
#endif
#ifndef WRITES
#define WRITES 2
#endif

#define DISKS 2
#define BIT(number) (1 << (number))

/* The state word of a log. */
#define NO_LOG 0
#define STARTING 1
#define RUNNING 2
#define ENDING_SUCCESS 3
#define ENDING_FAILURE 4

/* Changes of a disk are a mask, in bitmaps as well as in truth: every write changes a unit of its own. */
typedef Disk {
    /* Files. */
    byte word;
    bit hasMarker;
    bit hasTemp;
    byte pinned;            /* bits of the pinned bitmap */
    bit countsFromInstant;  /* its baseline; else the backup before */
    bit hasSuccessor;       /* the sidecar has a pending successor */
    byte successor;         /* its bits */

    /* Memory. */
    bit isMounted;
    bit hasSession;
    bit isQuiesced;
    bit isFrozen;           /* the pinned bitmap keeps still, and the successor records */
    bit recordsBoth;        /* a session that failed: until its successor is merged */
    byte underWay;          /* requests */

    /* Truth. */
    byte writes;
    byte changes;           /* since the backup before */
    byte before;            /* of these, at the instant */
    bit hadInstant;
    bit stopBegan, isStopped, isSuccess;
};
Disk disks[DISKS];
byte life;
byte busy;                  /* processes that have not ended, or not noticed the kill; the restart waits, to keep the search small */
bit startBegan, isStarted;

/* Never set: an assertion that names one prints the property that fell. */
hidden byte R3, R4, R5, R6;

#define ARE_MARKED(mask, changed) (((changed) & ~(mask)) == 0)

/* While a session runs, its bitmap has what changed up to the instant, and the successor the rest. */
#define NOTHING_MISSED(disk) \
    (disks[disk].hasSession -> \
        (!disks[disk].countsFromInstant && ARE_MARKED(disks[disk].pinned, disks[disk].before) && \
            ARE_MARKED(disks[disk].successor, disks[disk].changes & ~disks[disk].before)) : \
        (disks[disk].countsFromInstant -> \
            disks[disk].isSuccess && ARE_MARKED(disks[disk].pinned, disks[disk].changes & ~disks[disk].before) : \
            ARE_MARKED(disks[disk].pinned, disks[disk].changes)))

/* ---- Guests ---- */

proctype Guest(byte disk)
{
    byte mine;
endIdle:
    do
    :: d_step {
            disks[disk].isMounted && !disks[disk].isQuiesced && disks[disk].writes < WRITES ->
                mine = life;
                busy++;
                disks[disk].underWay++
        };
        {
            d_step {
                if
                :: disks[disk].isFrozen || disks[disk].recordsBoth ->
                    disks[disk].successor = disks[disk].successor | BIT(disks[disk].writes)
                :: else
                fi;
                if
                :: !disks[disk].isFrozen -> disks[disk].pinned = disks[disk].pinned | BIT(disks[disk].writes)
                :: else
                fi
            };
            d_step {
                disks[disk].changes = disks[disk].changes | BIT(disks[disk].writes);
                disks[disk].writes++;
                disks[disk].underWay--
            }
        } unless { life != mine };
        d_step { mine = 0; busy-- }
    od
}

/* ---- Removal ---- */

/* KeptSession.Unmark. A log that can't leave the marker has no success that a mount could repeat; the mount drops the name. */
inline Unmark(disk)
{
    if
    :: disks[disk].hasMarker = 0
#ifdef FAILURES
    :: true ->
#ifdef MUTATE_R6_LOG_REMOVED_FOR_MARKER
        disks[disk].word = NO_LOG
#else
        if
        :: disks[disk].word > STARTING -> disks[disk].word = ENDING_FAILURE
        :: else
        fi
#endif
#endif
    fi
}

/* The log is the last to go: until then the next mount goes on with it. */
inline Remove(disk)
{
#ifdef MUTATE_R6_LOG_REMOVED_FIRST
    disks[disk].word = NO_LOG;
#endif
    Unmark(disk);
    disks[disk].hasTemp = 0;
    disks[disk].word = NO_LOG
}

/* ---- Start ---- */

inline Prepare(disk)
{
#ifdef MUTATE_R6_TEMP_BEFORE_LOG
    disks[disk].hasTemp = 1;
#endif
    disks[disk].word = STARTING;
    disks[disk].hasTemp = 1;
    disks[disk].hasMarker = 1;
    d_step { disks[disk].hasSuccessor = 1; disks[disk].successor = 0 }
}

inline Quiesce(disk)
{
    disks[disk].isQuiesced = 1;
    disks[disk].underWay == 0
}

inline BeginTurn(disk)
{
    d_step {
        disks[disk].isFrozen = 1;
        disks[disk].hasSession = 1;
        disks[disk].hadInstant = 1;
        disks[disk].before = disks[disk].changes
    }
}

/* What was prepared, back to front: no bitmap has taken its turn. */
inline TakeBack(disk)
{
    d_step { disks[disk].hasSuccessor = 0; disks[disk].successor = 0 };
#ifdef MUTATE_R6_FAILED_START_REMOVES_LOG_FIRST
    disks[disk].word = NO_LOG;
#endif
    Remove(disk)
}

proctype Start()
{
    byte mine;
endIdle:
    do
    :: d_step { life == 0 && !startBegan -> mine = life; startBegan = 1; busy++ };
        {
            Prepare(0);
#ifdef FAILURES
            if
            :: true
            :: TakeBack(0); goto TakenBack
            fi;
#endif
            Prepare(1);
#ifdef FAILURES
            if
            :: true
            :: TakeBack(1); TakeBack(0); goto TakenBack
            fi;
#endif
#ifdef MUTATE_R6_RUNNING_BEFORE_INSTANT
            disks[0].word = RUNNING;
#endif
            Quiesce(0);
            Quiesce(1);
            BeginTurn(0);
            BeginTurn(1);
            disks[0].word = RUNNING;
            disks[0].isQuiesced = 0;
            disks[1].isQuiesced = 0;
            disks[1].word = RUNNING;
            isStarted = 1;
TakenBack:
            skip
        } unless { life != mine };
        d_step { mine = 0; busy-- }
    od
}

/* ---- Stop ---- */

/* BitmapTurn.End after a success: one write of the sidecar's directory. */
inline Replace(disk)
{
    d_step {
        if
#ifdef MUTATE_R3_ENDING_IS_NOT_IDEMPOTENT
        :: true ->
#else
        :: disks[disk].hasSuccessor ->
#endif
            disks[disk].pinned = disks[disk].successor;
            disks[disk].countsFromInstant = 1;
            disks[disk].hasSuccessor = 0;
            disks[disk].successor = 0
        :: else
        fi
    }
}

inline End(disk)
{
    if
    :: disks[disk].isSuccess ->
        Quiesce(disk);
        atomic { Replace(disk); disks[disk].isFrozen = 0; disks[disk].hasSession = 0 };
        disks[disk].isQuiesced = 0
    :: else ->
        Quiesce(disk);
        d_step { disks[disk].isFrozen = 0; disks[disk].recordsBoth = 1; disks[disk].hasSession = 0 };
        disks[disk].isQuiesced = 0;

        /* Guests go on: the merge takes what the successor has, and the pinned bitmap gets the rest itself. */
        disks[disk].pinned = disks[disk].pinned | disks[disk].successor;
        Quiesce(disk);
        d_step { disks[disk].hasSuccessor = 0; disks[disk].successor = 0; disks[disk].recordsBoth = 0 };
        disks[disk].isQuiesced = 0
    fi
}

proctype Stop(byte disk)
{
    byte mine;
endIdle:
    do
    :: d_step {
            isStarted && disks[disk].isMounted && disks[disk].hasSession && !disks[disk].stopBegan ->
                mine = life;
                busy++
        };
        {
            if
            :: d_step { true -> disks[disk].stopBegan = 1; disks[disk].isSuccess = 1 }
            :: disks[disk].stopBegan = 1
            fi;
#ifdef MUTATE_R5_ACKNOWLEDGED_BEFORE_ENDING
            disks[disk].isStopped = 1;
#endif
#ifdef MUTATE_R3_BITMAPS_BEFORE_ENDING
            End(disk);
            disks[disk].word = (disks[disk].isSuccess -> ENDING_SUCCESS : ENDING_FAILURE);
#else
            disks[disk].word = (disks[disk].isSuccess -> ENDING_SUCCESS : ENDING_FAILURE);
            End(disk);
#endif
            Remove(disk);
            disks[disk].isStopped = 1
        } unless { life != mine };
        d_step { mine = 0; busy-- }
    od
}

/* ---- Restart ---- */

#define KILLED_HERE if :: life < KILLS -> goto Killed :: true fi

inline Forget(disk)
{
    d_step {
        disks[disk].isMounted = 0;
        disks[disk].hasSession = 0;
        disks[disk].isQuiesced = 0;
        disks[disk].isFrozen = 0;
        disks[disk].recordsBoth = 0;
        disks[disk].underWay = 0
    }
}

/* Undone and ended sessions: the same steps as while the disk is mounted. */
inline Fold(disk)
{
    if
    :: disks[disk].hasSuccessor ->
        disks[disk].pinned = disks[disk].pinned | disks[disk].successor;
        KILLED_HERE;
        d_step { disks[disk].hasSuccessor = 0; disks[disk].successor = 0 };
        KILLED_HERE
    :: else
    fi
}

inline RemoveKilled(disk)
{
#ifdef MUTATE_R6_LOG_REMOVED_FIRST
    disks[disk].word = NO_LOG;
    KILLED_HERE;
#endif
    disks[disk].hasTemp = 0;
    KILLED_HERE;
    disks[disk].hasMarker = 0;
    KILLED_HERE;
    disks[disk].word = NO_LOG;
    KILLED_HERE
}

inline Mount(disk)
{
#ifdef MUTATE_R3_FOLDED_BEFORE_SESSIONS_ARE_KNOWN
    Fold(disk);
#endif
#if !defined(MUTATE_R4_RUNNING_PER_DISK) && !defined(MUTATE_R4_FOLLOWER_LEFT_STARTING)
    /* The leader's word is past Starting: so is the follower's, before the leader's log may go. */
    if
    :: disks[0].word > STARTING && disks[1].word == STARTING -> disks[1].word = RUNNING; KILLED_HERE
    :: else
    fi;
#elif defined(MUTATE_R4_FOLLOWER_LEFT_STARTING)
    if
    :: disk == 1 && disks[0].word > STARTING && disks[1].word == STARTING -> disks[1].word = RUNNING; KILLED_HERE
    :: else
    fi;
#endif
    if
    :: disks[disk].word == RUNNING ->
        assert(disks[disk].hadInstant || R6);
        assert(!disks[disk].isStopped || R5);
        d_step {
            disks[disk].hasSession = 1;
#ifdef MUTATE_R3_RESUMED_BITMAP_IS_NOT_FROZEN
            disks[disk].isFrozen = 0
#else
            disks[disk].isFrozen = 1
#endif
        }
    :: disks[disk].word == ENDING_SUCCESS ->
        Replace(disk);
        KILLED_HERE;
        RemoveKilled(disk)
    :: disks[disk].word == STARTING || disks[disk].word == ENDING_FAILURE ->
        Fold(disk);
        RemoveKilled(disk)
    :: disks[disk].word == NO_LOG ->
        Fold(disk);
        disks[disk].hasMarker = 0;
        KILLED_HERE
    fi;
    assert(disks[disk].hasSession || \
        (disks[disk].word == NO_LOG && !disks[disk].hasTemp && !disks[disk].hasMarker && !disks[disk].hasSuccessor) || R6);
    assert(disks[disk].hasSession || !isStarted || disks[disk].stopBegan || R4);
    assert(NOTHING_MISSED(disk) || R3);
    disks[disk].isMounted = 1
}

/* A session that came back ends later, so a bitmap that misses a change shows then at the latest. */
active proctype Machine()
{
    atomic {
        disks[0].isMounted = 1;
        disks[1].isMounted = 1;
#if GUESTS > 0
        run Guest(1);
#endif
#if GUESTS > 1
        run Guest(0);
#endif
        run Start();
#if STOPS > 0
        run Stop(1);
#endif
#if STOPS > 1
        run Stop(0);
#endif
        skip
    };
endRunning:
    if
    :: life < KILLS
    :: disks[0].isMounted && disks[0].word == NO_LOG && disks[0].stopBegan && busy == 0 ->
        assert(NOTHING_MISSED(0) || R3);
        goto endDone
    :: disks[1].isMounted && disks[1].word == NO_LOG && disks[1].stopBegan && busy == 0 ->
        assert(NOTHING_MISSED(1) || R3);
        goto endDone
    fi;
Killed:
    skip;
    atomic {
        life++;
        Forget(0);
        Forget(1)
    };
    busy == 0;
    if
    :: true -> Mount(0);
        KILLED_HERE;
        isStarted = isStarted | disks[0].hasSession;
        KILLED_HERE;
        Mount(1)
    :: true -> Mount(1);
        KILLED_HERE;
        Mount(0)
    fi;

    /* The start counts on both disks or on none. A session that was stopped since has had it, too. */
    assert((disks[0].hasSession || disks[0].stopBegan) == (disks[1].hasSession || disks[1].stopBegan) || R6);

    /* A start that came to its commit point before it was acknowledged: users see the session and may stop it. */
    isStarted = isStarted | disks[0].hasSession;
    goto endRunning;
endDone:
    skip
}
