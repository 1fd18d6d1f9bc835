/* SPDX-License-Identifier: MIT
 *
 * A session's copies, its log and its temp when the process is killed and the session resumes, for spin.
 * tests/model/check.sh runs it; docs/testing-model.md says what it covers and what it leaves out.
 *
 * Stands for PointInTime with its ISessionJournal, and the session's log with its compaction. A kill takes the memory and
 * keeps all stores to files in the order in which they were made; so each store to a file is a step of its own. The process may be
 * killed before every step of every process, also of the resume. copy-before-write.pml has the threads of one life.
 *
 * Two granules. A guest writes each, once in all lives. Set by -D:
 *   KILLS                   how often the process is killed
 *   GUESTS (1-2), CONSUMERS (0-1, of the first granule), COMPACTIONS (in all lives)
 *   TEMP_TABLES             temp is an image with tables and room for one granule; else it is raw
 *   POLICY_BREAK_SNAPSHOT   CopyErrorPolicy; without it BreakGuestWrite
 *   MUTATE_...              one slip each; check.sh demands that spin finds it
 */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef GUESTS
#define GUESTS 2
#endif
#ifndef CONSUMERS
#define CONSUMERS 1
#endif
#ifndef COMPACTIONS
#define COMPACTIONS 1
#endif

#define HAS(mask, granule) (((mask) >> (granule)) & 1)
#define BIT(granule) (1 << (granule))

/* Content of temp. */
#define EMPTY 0
#define PART 1
#define OLD 2
#define WRONG 3

/* Records. A place that was never written, or written half, reads as TORN. */
#define TORN 0
#define NOTE_DONE(granule) (1 + (granule))
#define NOTE_CONSUMED(granule) (3 + (granule))
#define MOST_RECORDS 4

/* ---- What outlives a kill ---- */

byte changed;               /* active disk: granules that a guest has overwritten */

typedef Log {
    byte record[MOST_RECORDS];
    byte count;             /* the sealed word that says how many records count */
    byte done;              /* the maps that its head names */
    byte refused;
    bit isBroken;           /* the state word */
};
Log logs[2];
bit named;                  /* the one that the name ID.log leads to */

#ifdef TEMP_TABLES
/* One place; an entry of the table leads to it or to nothing. */
byte place;                 /* its content */
byte owner;                 /* whose old data that is, for the properties: a granule */
byte entries;               /* in the file */
#else
byte stored[2];
#endif

/* ---- Memory ---- */

byte life;                  /* counts the kills */
byte busy;                  /* processes that have not ended, or not noticed the kill; the restart waits, to keep the search small */
bit isUp;
bit locked;                 /* PointInTime._lock */
byte done, refused;
bit over;
bit hasFailedCopies;
byte copying;
bit main;                   /* the log that the process writes */
bit writesBoth;             /* a compaction runs: the other log gets the records too */
#ifdef TEMP_TABLES
byte entriesInMemory;
bit isPlaceFree = 1;        /* the allocator may give it away */
bit isFreedPlace;           /* dropped, and waits for a write-back */
byte storing;               /* requests that have looked the place up (Epochs): it is not free before they end */
bit writesBack;             /* one at a time */
byte captured;              /* the entries that it takes to the file */
bit isCapturedPlace;        /* the dropped place that will be free when it has ended */
#endif

byte compactions;
byte written;               /* guests that are through; they write once */

/* Never set: an assertion that names one prints the property that fell. */
hidden byte R1, R4, R7;

#ifdef TEMP_TABLES
#define TEMP(granule, table) (HAS(table, granule) -> (owner == (granule) -> place : WRONG) : EMPTY)
#define TEMP_IN_FILE(granule) TEMP(granule, entries)
#define TEMP_NOW(granule) TEMP(granule, entriesInMemory)
#else
#define TEMP_IN_FILE(granule) stored[granule]
#define TEMP_NOW(granule) stored[granule]
#endif

/* What a snapshot read of a granule returns is the instant's. */
#define READS_RIGHT(granule) \
    (over || HAS(refused, granule) || \
        (HAS(done, granule) -> TEMP_NOW(granule) == OLD : !HAS(changed, granule)))

inline Acquire() { atomic { !locked -> locked = 1 } }
inline Release() { locked = 0 }

/* ---- Temp ---- */

#ifdef TEMP_TABLES

/* A write-back of a transient image: dropped entries leave the file, new ones come, and only then are freed places free. */
inline WriteBack()
{
    atomic {
        !writesBack ->
            writesBack = 1;
            captured = entriesInMemory;
            isCapturedPlace = isFreedPlace;
            isFreedPlace = 0
    };
    entries = entries & captured;
    entries = captured;
    atomic {
        if
        :: storing -> isFreedPlace = isFreedPlace | isCapturedPlace
        :: else -> isPlaceFree = isPlaceFree | isCapturedPlace
        fi;
        isCapturedPlace = 0;
        captured = 0;
        writesBack = 0
    }
}

/* The copy's write, with ForceUnitAccess. hasStored says whether there was room. */
inline StoreOld(granule)
{
    hasStored = 0;
#ifndef MUTATE_R1_PLACE_REUSED_BEFORE_TABLE
    if
    :: isFreedPlace -> WriteBack()
    :: else
    fi;
#endif
    if
    :: atomic {
            isPlaceFree || HAS(entriesInMemory, granule) ->
                isNew = !HAS(entriesInMemory, granule);
                isPlaceFree = 0;
                storing++
        };
        d_step { place = PART; owner = granule };
        d_step {
            place = (HAS(changed, granule) -> WRONG : OLD);
            entriesInMemory = (isNew -> entriesInMemory | BIT(granule) : entriesInMemory);
            isNew = 0;
            storing--;
            hasStored = 1
        };
#ifndef MUTATE_R1_TEMP_TABLE_IN_MEMORY
        WriteBack()
#endif
    :: else
    fi
}

inline FreeTemp(granule)
{
    d_step {
        if
        :: HAS(entriesInMemory, granule) ->
            entriesInMemory = entriesInMemory & ~BIT(granule);
            place = EMPTY;  /* a freed place is zeroed before the disk has forgotten it */
#ifdef MUTATE_R1_PLACE_REUSED_BEFORE_TABLE
            isPlaceFree = 1
#else
            isFreedPlace = 1
#endif
        :: else
        fi
    }
}

#else

inline StoreOld(granule)
{
    stored[granule] = PART;
    stored[granule] = (HAS(changed, granule) -> WRONG : OLD);
    hasStored = 1
}

inline FreeTemp(granule) { stored[granule] = EMPTY }

#endif

/* ---- The log ---- */

inline AppendTo(log, value)
{
#ifdef MUTATE_R4_COUNT_BEFORE_RECORD
    logs[log].count++;
    logs[log].record[logs[log].count - 1] = value
#else
    logs[log].record[logs[log].count] = value;
    logs[log].count++
#endif
}

/* A TryNote: hasNoted says whether there was room. Under the lock. */
inline Note(value)
{
    if
    :: true ->
        AppendTo(main, value);
#ifndef MUTATE_R1_RECORDS_TO_OLD_LOG_ALONE
        if
        :: writesBoth -> AppendTo(1 - main, value)
        :: else
        fi;
#endif
        hasNoted = 1
    :: hasNoted = 0
    fi
}

inline NoteBroken()
{
    logs[main].isBroken = 1;
#ifndef MUTATE_R1_BROKEN_TO_OLD_LOG_ALONE
    if
    :: writesBoth -> logs[1 - main].isBroken = 1
    :: else
    fi
#endif
}

/* ---- Processes of a life ---- */

/* ReclaimConsumedAsync. */
inline Reclaim(granule)
{
    if
    :: HAS(refused, granule) -> FreeTemp(granule)
    :: else
    fi;
    copying = copying & ~BIT(granule)
}

inline CopyFails(granule)
{
    hasFailedCopies = 1;
#ifdef POLICY_BREAK_SNAPSHOT
#ifdef MUTATE_R1_BROKEN_NOTED_AFTER_WRITE
    over = 1;
    Release();
    changed = changed | BIT(granule);
    Acquire();
    NoteBroken();
#else
    NoteBroken();
    over = 1;
#endif
    Release();
    Reclaim(granule)
#else
    Release();
    Reclaim(granule);
    goto Failed
#endif
}

inline SettledWrite(granule) { changed = changed | BIT(granule) }

proctype Guest(byte granule)
{
    byte mine;
    bit hasStored, hasNoted;
#ifdef TEMP_TABLES
    bit isNew;
#endif
endIdle:
    do
    :: d_step { isUp && !HAS(written, granule) -> mine = life; busy++; hasStored = 0; hasNoted = 0 };
        {
            if
            :: atomic { HAS(done | refused, granule) || over }
            :: atomic { else -> copying = copying | BIT(granule) };
#ifdef MUTATE_R1_WRITE_BEFORE_RECORD
                StoreOld(granule);
                SettledWrite(granule);
#elif defined(MUTATE_R1_RECORD_BEFORE_DATA)
                Acquire();
                Note(NOTE_DONE(granule));
                Release();
                StoreOld(granule);
#else
                StoreOld(granule);
#endif
                Acquire();
#ifdef MUTATE_R1_RECORD_BEFORE_DATA
                hasNoted = hasNoted && hasStored;
#else
                if
                :: hasStored -> Note(NOTE_DONE(granule))
                :: else
                fi;
#ifdef MUTATE_R1_NO_ROOM_IS_IGNORED
                hasNoted = hasStored;
#endif
#endif
                if
                :: hasNoted ->
                    done = done | BIT(granule);
                    Release();
                    Reclaim(granule)
                :: else -> CopyFails(granule)
                fi
            fi;
            SettledWrite(granule);
            atomic { written = written | BIT(granule) };
Failed:     skip
        } unless { life != mine };
        d_step { hasStored = 0; hasNoted = 0; mine = 0; busy-- }
    od
}

proctype Consumer()
{
    byte mine;
    bit hasNoted;
endIdle:
    do
    :: d_step { isUp && !HAS(refused, 0) && !over -> mine = life; busy++; hasNoted = 0 };
        {
#ifdef MUTATE_R1_FREE_BEFORE_RECORD
            FreeTemp(0);
#endif
            Acquire();
            Note(NOTE_CONSUMED(0));
            if
            :: hasNoted ->
                refused = refused | BIT(0);
                Release();
                if
                :: hasFailedCopies || HAS(done, 0) -> FreeTemp(0)
                :: else
                fi;
                assert(HAS(copying, 0) || TEMP_NOW(0) == EMPTY || R7)
            :: else -> Release()
            fi
        } unless { life != mine };
        d_step { hasNoted = 0; mine = 0; busy-- }
    od
}

/* The new log gets all records from a moment on at which every record of the old one is in the maps in memory; so the maps may be
   written while they grow. That moment is one of the lock: between a record and its map there is none. */
proctype Compaction()
{
    byte mine;
endIdle:
    do
    :: d_step { isUp && !over && compactions < COMPACTIONS -> mine = life; busy++; compactions++ };
        {
#ifndef MUTATE_R1_COMPACTION_BEGINS_WITHOUT_LOCK
            Acquire();
#endif
            d_step {
                logs[1 - main].count = 0;
                logs[1 - main].done = 0;
                logs[1 - main].refused = 0;
                logs[1 - main].isBroken = logs[main].isBroken
            };
            writesBoth = 1;
#ifndef MUTATE_R1_COMPACTION_BEGINS_WITHOUT_LOCK
            Release();
#endif
#ifdef MUTATE_R1_RENAMED_BEFORE_MAPS
            named = 1 - main;
#endif
            logs[1 - main].done = logs[1 - main].done | (done & BIT(0));
            logs[1 - main].done = logs[1 - main].done | (done & BIT(1));
            logs[1 - main].refused = logs[1 - main].refused | (refused & BIT(0));
            named = 1 - main;
            Acquire();
            atomic { main = 1 - main; writesBoth = 0 };
            Release()
        } unless { life != mine };
        d_step { mine = 0; busy-- }
    od
}

/* ---- Kill and resume ---- */

/* Reads a log into the three variables; each of its records that counts must be whole. */
inline ReadLog(log, doneThere, refusedThere, brokenThere)
{
    d_step {
        doneThere = logs[log].done;
        refusedThere = logs[log].refused;
        brokenThere = logs[log].isBroken;
        index = 0;
        do
        :: index < logs[log].count ->
            assert(logs[log].record[index] != TORN || R4);
            if
            :: logs[log].record[index] < NOTE_CONSUMED(0) -> doneThere = doneThere | BIT(logs[log].record[index] - NOTE_DONE(0))
            :: else -> refusedThere = refusedThere | BIT(logs[log].record[index] - NOTE_CONSUMED(0))
            fi;
            index++
        :: else -> break
        od;
        index = 0
    }
}

#define KILLED_HERE if :: life < KILLS -> goto Killed :: true fi

active proctype Machine()
{
    byte index;
    byte doneFound, refusedFound;
    bit brokenFound;
    atomic {
        isUp = 1;
        run Guest(0);
#if GUESTS > 1
        run Guest(1);
#endif
#if CONSUMERS > 0
        run Consumer();
#endif
#if COMPACTIONS > 0
        run Compaction();
#endif
        skip
    };
endRunning:
#ifdef MUTATE_R1_JUDGED_BEFORE_LOCK
    /* Another process reads the log while this one still lives, and goes on when it has the image's lock. */
    ReadLog(named, doneFound, refusedFound, brokenFound);
#endif
endWaiting:
    life < KILLS;
Killed:
    skip;
    d_step {
        life++;
        isUp = 0;
        locked = 0;
        done = 0;
        refused = 0;
        over = 0;
        copying = 0;
        writesBoth = 0;
        hasFailedCopies = 0;
#ifdef TEMP_TABLES
        entriesInMemory = entries;
        isPlaceFree = (entries == 0);
        isFreedPlace = 0;
        storing = 0;
        writesBack = 0;
        captured = 0;
        isCapturedPlace = 0;
#endif
        skip
    };
    busy == 0;
#ifndef MUTATE_R1_JUDGED_BEFORE_LOCK
    ReadLog(named, doneFound, refusedFound, brokenFound);
#endif
    KILLED_HERE;

    /* Half a compaction goes. The records behind the counted ones are written over later. */
    d_step {
        main = named;
        logs[1 - main].count = 0;
        logs[1 - main].record[0] = TORN; logs[1 - main].record[1] = TORN;
        logs[1 - main].record[2] = TORN; logs[1 - main].record[3] = TORN;
        logs[1 - main].done = 0;
        logs[1 - main].refused = 0;
        logs[1 - main].isBroken = 0
    };
    KILLED_HERE;
    d_step {
        done = doneFound;
        refused = refusedFound;
        over = brokenFound;
        doneFound = 0;
        refusedFound = 0;
        brokenFound = 0;
#ifndef MUTATE_R7_RESUME_FORGETS_FAILED_COPIES
        hasFailedCopies = 1;
#endif
        skip
    };

    /* A copy of granules that were consumed, or the freeing of them, may have been cut short. */
    if
    :: HAS(refused, 0) -> FreeTemp(0)
    :: else
    fi;
    KILLED_HERE;
    assert((READS_RIGHT(0) && READS_RIGHT(1)) || R1);
    assert(over || !HAS(refused, 0) || TEMP_NOW(0) == EMPTY || R7);
    isUp = 1;
    goto endRunning
}
