/* SPDX-License-Identifier: MIT
 *
 * A session over orderly ends, kills and losses of power, with other programs that open its image meanwhile, for spin.
 * tests/model/check.sh runs it; docs/testing-model.md says what it covers and what it leaves out.
 *
 * Stands for the session's state word with the boot id, the evidence of Suspended, the marker, and how a mount judges them. One disk of
 * one granule; the copies are a step each (resume-copies.pml has their order). All that a file keeps is there twice: what a read of it
 * gives, and what is durable. A kill keeps the first. A loss of power keeps the first or the second of each, and the boot is another.
 * Set by -D: ENDS (kills and losses of power), WITHOUT_STOP, MUTATE_... (one slip each; check.sh demands that spin finds it).
 */
#ifndef ENDS
#define ENDS 3
#endif

#define NO_LOG 0
#define STARTING 1
#define RUNNING 2
#define SUSPENDED 3
#define ENDING 4
#define LOST 5

/* Files. A clock ticks with every change of the image, so its time says which change was the last; fdatasync leaves the time out. */
bit isOverwritten, durableOverwritten;  /* the granule differs from the instant's */
byte time = 1, durableTime = 1;
byte word, durableWord;
byte boot, durableBoot;                 /* in the head of the log */
byte evidence, durableEvidence;         /* the image's time, as Suspended names it */
bit isDone, durableDone;                /* the record of the copy */
bit hasOld, durableHasOld;              /* temp has the old data */
bit hasTemp, durableHasTemp;
bit hasMarker, durableHasMarker;

byte bootNow = 1;
byte ends;
bit isChangedLater;                     /* the image's time is more than 5 s behind the marker's: only another program does that */

/* What only the properties look at. */
bit isStarted, isStopping, isStopped, isDiscarded;
bit mayBeLost;             /* power was lost while the session was not suspended as a whole */

/* Never set: an assertion that names one prints the property that fell. */
hidden byte R1, R4, R5, R6;

/* The kernel may have taken the value before to the disk. */
#define STORE(item, durable, value) atomic { if :: durable != item -> durable = item :: true fi; item = value }
#define FLUSH_LOG d_step { durableWord = word; durableBoot = boot; durableEvidence = evidence; durableDone = isDone }
#define FSYNC_IMAGE d_step { durableOverwritten = isOverwritten; durableTime = time }
#define FDATASYNC_IMAGE durableOverwritten = isOverwritten
#define FLUSH_TEMP d_step { durableHasOld = hasOld; durableHasTemp = hasTemp }
#define FLUSH_FOLDER d_step { durableHasMarker = hasMarker; durableHasTemp = hasTemp }

#define END_HERE if :: ends < ENDS -> goto Ended :: true fi

inline Keep(item, durable)
{
    if
    :: item != durable -> item = durable
    :: true
    fi;
    durable = item
}

inline LosePower()
{
    atomic {
        bootNow++;
        if
        :: word == SUSPENDED && durableWord == SUSPENDED
        :: else -> mayBeLost = 1
        fi;
        Keep(isOverwritten, durableOverwritten);
        Keep(time, durableTime);
        Keep(word, durableWord);
        Keep(boot, durableBoot);
        Keep(evidence, durableEvidence);
        Keep(isDone, durableDone);
        Keep(hasOld, durableHasOld);
        Keep(hasTemp, durableHasTemp);
        Keep(hasMarker, durableHasMarker)
    }
}

inline Overwrite()
{
    STORE(isOverwritten, durableOverwritten, 1);
    STORE(time, durableTime, (time < 4 -> time + 1 : time))
}

/* Start: what must be known after a loss of power is durable before the disk is quiesced. */
inline Start()
{
    STORE(boot, durableBoot, bootNow);
    STORE(word, durableWord, STARTING);
    END_HERE;
    STORE(hasTemp, durableHasTemp, 1);
    END_HERE;
    STORE(hasMarker, durableHasMarker, 1);
    END_HERE;
#ifndef MUTATE_R4_STARTING_NOT_DURABLE
    FLUSH_LOG;
    FLUSH_FOLDER;
    END_HERE;
#endif
    STORE(word, durableWord, RUNNING);
    END_HERE;
    isStarted = 1
}

inline GuestWrites()
{
    if
    :: !isDone && hasTemp && word == RUNNING ->
        STORE(hasOld, durableHasOld, 1);
        END_HERE;
        STORE(isDone, durableDone, 1);
        END_HERE
    :: else
    fi;
    Overwrite();
    END_HERE;
    if
    :: FDATASYNC_IMAGE
    :: true
    fi
}

inline Suspend()
{
#ifdef MUTATE_R1_SUSPENDED_BEFORE_FLUSHES
    STORE(evidence, durableEvidence, time);
    STORE(word, durableWord, SUSPENDED);
    END_HERE;
#endif
    FSYNC_IMAGE;
    END_HERE;
    FLUSH_TEMP;
    END_HERE;
    FLUSH_LOG;
    FLUSH_FOLDER;
    END_HERE;
#ifndef MUTATE_R1_SUSPENDED_BEFORE_FLUSHES
    STORE(evidence, durableEvidence, time);
    FLUSH_LOG;
    END_HERE;
    STORE(word, durableWord, SUSPENDED);
    END_HERE;
#endif
    FLUSH_LOG
}

inline Stop()
{
    isStopping = 1;
    STORE(word, durableWord, ENDING);
    END_HERE;
    STORE(hasTemp, durableHasTemp, 0);
    END_HERE;
    STORE(hasMarker, durableHasMarker, 0);
    END_HERE;
    STORE(word, durableWord, NO_LOG);
    END_HERE;
    isStopped = 1
}

/* A Fleece that knows nothing of the log, in this boot or another, with the disk of a process that has ended. */
inline AnotherFleeceWrites()
{
#ifndef MUTATE_R1_MARKER_IS_NO_LOCK
    if
    :: hasMarker ->                     /* ImageHasSession, unless it is told to discard */
        isDiscarded = 1;
        STORE(hasMarker, durableHasMarker, 0);
#ifndef MUTATE_R1_DISCARD_NOT_DURABLE
        FLUSH_FOLDER;
#endif
        END_HERE
    :: else
    fi;
#endif
    Overwrite();
    END_HERE;
    FDATASYNC_IMAGE
}

/* QEMU: later than 5 s after the last touch, or with a time that reached the disk. */
inline QemuWrites()
{
    Overwrite();
    d_step { isChangedLater = 1; isDiscarded = 1 };
    FSYNC_IMAGE
}

#ifdef MUTATE_R1_MARKER_IS_NOT_READ
#define IS_NAMED true
#else
#define IS_NAMED hasMarker
#endif
#ifdef MUTATE_R1_OTHER_BOOT_ACCEPTED
#define IS_THIS_BOOT true
#else
#define IS_THIS_BOOT (boot == bootNow)
#endif
#ifdef MUTATE_R1_LATER_CHANGE_ACCEPTED
#define IS_UNCHANGED true
#define IS_AS_LEFT true
#else
#define IS_UNCHANGED (!isChangedLater)
#define IS_AS_LEFT (evidence == time)
#endif

active proctype Machine()
{
    Start();
    goto Served;

Served:
    END_HERE;
    if
    :: time < 4 -> GuestWrites(); goto Served
#ifndef WITHOUT_STOP
    :: !isStopped && word == RUNNING -> Stop(); goto Served
#endif
    :: !isStopped && word == RUNNING -> Suspend(); goto Closed
    :: goto endDone
    fi;

Closed:
    END_HERE;
    if
    :: true -> goto Mounts
    :: time < 4 && ends < ENDS -> AnotherFleeceWrites(); goto Mounts
    :: time < 4 && ends < ENDS -> QemuWrites(); goto Mounts
    fi;

Ended:
    if
    :: d_step { true -> ends++ }
    :: d_step { true -> ends++ }; LosePower()
    fi;
    if
    :: true
    :: time < 4 -> AnotherFleeceWrites()
    :: time < 4 -> QemuWrites()
    fi;

Mounts:
#ifdef MUTATE_R4_TEMP_CLEARED_AS_LITTER
    STORE(hasTemp, durableHasTemp, 0);
    END_HERE;
#endif
    if
    :: word == NO_LOG ->
        assert(isStopping || !isStarted || R4)
    :: word == STARTING && boot == bootNow -> word = NO_LOG; hasTemp = 0; hasMarker = 0; hasOld = 0
#ifdef MUTATE_R4_STARTING_OF_ANOTHER_BOOT_IS_UNDONE
    :: word == STARTING && boot != bootNow -> STORE(word, durableWord, NO_LOG); assert(isStopping || !isStarted || R4)
#else
    :: word == STARTING && boot != bootNow -> STORE(word, durableWord, LOST)
#endif
    :: word == ENDING -> Stop()
    :: word == LOST
    :: (word == RUNNING && IS_THIS_BOOT && IS_NAMED && IS_UNCHANGED && hasTemp) ||
        (word == SUSPENDED && IS_NAMED && IS_AS_LEFT && hasTemp) ->
        assert(!isStopped || R5);
        assert((isDone -> hasOld : !isOverwritten) || R1);
#ifdef MUTATE_R4_RUNNING_BEFORE_BOOT_ID
        STORE(word, durableWord, RUNNING);
        END_HERE;
        STORE(boot, durableBoot, bootNow);
        END_HERE;
#else
        STORE(boot, durableBoot, bootNow);
        END_HERE;
#ifndef MUTATE_R1_RUNNING_NOT_DURABLE
        FLUSH_LOG;
        END_HERE;
#endif
        STORE(word, durableWord, RUNNING);
        END_HERE;
#endif
#ifndef MUTATE_R1_RUNNING_NOT_DURABLE
        FLUSH_LOG
#endif
    :: else ->
        /* Neither a kill loses a session, nor a restart of the system after an orderly end. */
        assert(mayBeLost || isDiscarded || R4);
        STORE(word, durableWord, LOST);
        FLUSH_LOG
    fi;
    goto Served;

endDone:
    skip
}
