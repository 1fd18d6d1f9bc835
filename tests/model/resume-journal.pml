/* SPDX-License-Identifier: MIT
 *
 * An image whose tables change in memory, and the journal that keeps these changes over a kill, for spin.
 * tests/model/check.sh runs it; docs/testing-model.md says what it covers and what it leaves out.
 *
 * Stands for StagedWriteBack, FreedPlaces and the image journal. A block of the disk lies in a place of the file or nowhere. The file
 * counts its places (stage 0) and has an entry for each block (stage 1). A kill takes the memory and keeps all stores to
 * files. A loss of power also takes any of the stores since the last flush; an older store of the same item may be kept instead. The
 * journal of another boot is set aside.
 *
 * Two blocks, a guest for each, write-backs at any moment. Set by -D:
 *   KILLS, PLACES (1-2), WRITE_BACKS (in all lives)
 *   FIRST, SECOND           the operations of each guest in all lives, the last first: a bit each, 1 writes and 0 drops, behind a leading 1
 *   POWER_LOSS              tries a loss of power at every step, and ends there
 *   FOREIGN                 between kill and restart another program may write the second block; it does not know the journal
 *   MUTATE_...              one slip each; check.sh demands that spin finds it
 */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef PLACES
#define PLACES 1
#endif
#ifndef FIRST
#define FIRST 5   /* writes, then drops */
#endif
#ifndef SECOND
#define SECOND 3  /* writes */
#endif
#ifndef WRITE_BACKS
#define WRITE_BACKS 2
#endif

/* Content of a place: zeros, or what a guest wrote to a block. Places and blocks are 1 and 2; 0 is nowhere. */
#define ZEROS 0
#define CONTENT(block, version) (2 * (block) + ((version) -> 1 : 0))
#define BLOCK_OF(content) ((content) / 2)
#define BIT(content) (1 << (content))
#define HAS(mask, content) (((mask) >> (content)) & 1)

/* ---- The image: what a read of the file gives, and what has been made durable ---- */

byte data[3], durableData[3];
bit counted[3], durableCounted[3];
byte entry[3], durableEntry[3];

#define CONTENT_IN(blockEntry) ((blockEntry) == 0 -> ZEROS : data[blockEntry])

/* A store to the page cache. The kernel may have taken the value before to the disk. */
#ifdef POWER_LOSS
#define STORE(item, durable, value) atomic { if :: true :: durable = item fi; item = value }
#else
#define STORE(item, durable, value) item = value
#endif

#if PLACES > 1
#define HAS_ROOM (!countedNow[1] || !countedNow[2])
#else
#define HAS_ROOM (!countedNow[1])
#endif

inline Flush()
{
#ifdef POWER_LOSS
    d_step {
        durableData[1] = data[1]; durableData[2] = data[2];
        durableCounted[1] = counted[1]; durableCounted[2] = counted[2];
        durableEntry[1] = entry[1]; durableEntry[2] = entry[2]
    }
#else
    skip
#endif
}

/* ---- The journal: the newest note of each item in each region; 0 = none, else 1 + value ---- */

typedef Region {
    byte counted[3];
    byte entry[3];
};
Region regions[2];

/* ---- Memory ---- */

byte life;
byte busy;                  /* processes that have not ended, or not noticed the kill; the restart waits, to keep the search small */
bit isUp;
bit current;                /* the region that notes go to; after a kill the file says which */
bit countedNow[3];
byte entryNow[3];
bit dropped[3];             /* FreedPlaces: entries are gone in memory */
bit capturedDropped[3];     /* the running write-back takes them off the disk */
bit capturedCounted[3];
byte capturedEntry[3];

/* ---- What only the properties look at ---- */

byte operations[3];
byte writeBacks;
byte acknowledged[3];       /* content of the blocks */
byte underWay[3];           /* a mask: contents that a request under way may leave */
byte allowed[3];            /* a mask: contents that a loss of power may leave */
byte allowedThen[3];        /* the same once the running write-back has ended */
bit isLost;                 /* the journal was set aside: only "allowed" counts */

/* Never set: an assertion that names one prints the property that fell. */
hidden byte R2, R7;

#define IS_WHOLE(block) \
    (entry[block] == 0 || \
        (counted[entry[block]] && (data[entry[block]] == ZEROS || BLOCK_OF(data[entry[block]]) == (block))))

inline CheckImage()
{
    assert((IS_WHOLE(1) && IS_WHOLE(2) && (entry[1] == 0 || entry[1] != entry[2])) || R7)
}

inline NoteEntry(block)
{
#ifdef MUTATE_R2_NO_ROOM_IS_IGNORED
    if
    :: true
    :: regions[current].entry[block] = 1 + entryNow[block]
    fi
#else
    regions[current].entry[block] = 1 + entryNow[block]
#endif
}

inline NoteCounted(place) { regions[current].counted[place] = 1 + countedNow[place] }

/* ---- Processes of a life ---- */

inline Begin(block, content)
{
    d_step {
        underWay[block] = BIT(content) | BIT(acknowledged[block]);
        allowed[block] = allowed[block] | BIT(content);
        allowedThen[block] = allowedThen[block] | BIT(content)
    }
}

inline Acknowledge(block, content)
{
    d_step { acknowledged[block] = content; underWay[block] = 0 }
}

/* Memory and journal change in one scope of the metadata lock, so no write-back comes between them. A kill does, but only the note
   outlives it. */
inline Write(block, content)
{
    Begin(block, content);
    if
    :: entryNow[block] != 0 -> STORE(data[entryNow[block]], durableData[entryNow[block]], content);
        Acknowledge(block, content)
    :: else ->
        if
        :: atomic { !countedNow[1] -> countedNow[1] = 1; place = 1; NoteCounted(1) }
#if PLACES > 1
        :: atomic { !countedNow[2] -> countedNow[2] = 1; place = 2; NoteCounted(2) }
#endif
        :: else
        fi;
        if
        :: place != 0 ->
            STORE(data[place], durableData[place], content);
#ifdef MUTATE_R2_NOTE_AFTER_ACKNOWLEDGE
            d_step { entryNow[block] = place; acknowledged[block] = content; underWay[block] = 0 };
            NoteEntry(block)
#else
            atomic { entryNow[block] = place; NoteEntry(block) };
            Acknowledge(block, content)
#endif
        :: else -> underWay[block] = 0
        fi
    fi
}

inline Drop(block)
{
    Begin(block, ZEROS);
    if
    :: entryNow[block] != 0 ->
        atomic { place = entryNow[block]; entryNow[block] = 0; NoteEntry(block) };
        Acknowledge(block, ZEROS);
        STORE(data[place], durableData[place], ZEROS);
#ifdef MUTATE_R7_PLACES_FREED_BEFORE_WRITE_BACK
        atomic { countedNow[place] = 0; NoteCounted(place) }
#else
        dropped[place] = 1
#endif
    :: else -> Acknowledge(block, ZEROS)
    fi
}

proctype Guest(byte block)
{
    byte mine, place;
endIdle:
    do
    :: d_step { isUp && operations[block] > 1 && (HAS_ROOM || entryNow[block] != 0) -> mine = life; busy++ };
        {
            if
            :: operations[block] & 1 -> Write(block, CONTENT(block, operations[block] & 2))
            :: else -> Drop(block)
            fi;
            operations[block] = operations[block] >> 1
        } unless { life != mine };
        d_step { mine = 0; place = 0; busy-- }
    od
}

inline Free()
{
    atomic {
        if
        :: capturedDropped[1] -> countedNow[1] = 0; NoteCounted(1)
        :: else
        fi;
        if
        :: capturedDropped[2] -> countedNow[2] = 0; NoteCounted(2)
        :: else
        fi;
        capturedDropped[1] = 0;
        capturedDropped[2] = 0
    }
}

inline EmptyRegion(region)
{
    d_step {
        regions[region].counted[1] = 0; regions[region].counted[2] = 0;
        regions[region].entry[1] = 0; regions[region].entry[2] = 0
    }
}

inline StoreCounted(place)
{
    if
    :: counted[place] != capturedCounted[place] -> STORE(counted[place], durableCounted[place], capturedCounted[place])
    :: else
    fi
}

inline StoreEntry(block)
{
    if
    :: entry[block] != capturedEntry[block] -> STORE(entry[block], durableEntry[block], capturedEntry[block])
    :: else
    fi
}

proctype WriteBack()
{
    byte mine;
endIdle:
    do
    :: d_step { isUp && writeBacks < WRITE_BACKS -> mine = life; busy++; writeBacks++ };
        {
            d_step {
                capturedCounted[1] = countedNow[1]; capturedCounted[2] = countedNow[2];
                capturedEntry[1] = entryNow[1]; capturedEntry[2] = entryNow[2];
                capturedDropped[1] = dropped[1]; capturedDropped[2] = dropped[2];
                dropped[1] = 0; dropped[2] = 0;
                allowedThen[1] = BIT(acknowledged[1]) | underWay[1];
                allowedThen[2] = BIT(acknowledged[2]) | underWay[2];
#ifndef MUTATE_R7_NOTES_TO_THE_CAPTURED_REGION
                current = 1 - current
#endif
            };
#ifdef MUTATE_R7_REGION_EMPTIED_BEFORE_WRITE_BACK
            EmptyRegion(1 - current);
#endif
            StoreCounted(1);
            StoreCounted(2);
#ifndef MUTATE_R7_NO_FLUSH_BETWEEN_STAGES
            Flush();
#endif
            StoreEntry(1);
            StoreEntry(2);
            Flush();
#ifdef MUTATE_R7_NOTES_TO_THE_CAPTURED_REGION
            EmptyRegion(current);
            Free();
#else
            EmptyRegion(1 - current);
            Free();
#endif
            d_step {
                allowed[1] = allowedThen[1];
                allowed[2] = allowedThen[2];
                capturedCounted[1] = 0; capturedCounted[2] = 0;
                capturedEntry[1] = 0; capturedEntry[2] = 0
            }
        } unless { life != mine };
        d_step { mine = 0; busy-- }
    od
}

/* ---- Kill, loss of power and replay ---- */

inline Keep(item, durable)
{
    if
    :: item != durable -> item = durable
    :: true
    fi
}

inline ApplyCounted(value, place)
{
    if
    :: value != 0 && counted[place] != value - 1 -> STORE(counted[place], durableCounted[place], value - 1)
    :: else
    fi
}

inline ApplyEntry(value, block)
{
    if
    :: value != 0 && entry[block] != value - 1 -> STORE(entry[block], durableEntry[block], value - 1)
    :: else
    fi
}

/* An older note of the same item is never stored again: a replay that was killed has stored what follows from the newer one. */
inline ApplyNewestCounted(place)
{
    d_step {
        newest = regions[1 - older].counted[place];
        newest = (newest -> newest : regions[older].counted[place])
    };
    ApplyCounted(newest, place);
    newest = 0
}

inline ApplyNewestEntry(block)
{
    d_step {
        newest = regions[1 - older].entry[block];
        newest = (newest -> newest : regions[older].entry[block])
    };
    ApplyEntry(newest, block);
    newest = 0
}

/* Ends the model. The journal is of another boot. */
inline LosePower()
{
    atomic {
        life++;
        Keep(data[1], durableData[1]);
        Keep(data[2], durableData[2]);
        Keep(counted[1], durableCounted[1]);
        Keep(counted[2], durableCounted[2]);
        Keep(entry[1], durableEntry[1]);
        Keep(entry[2], durableEntry[2]);
#ifdef MUTATE_R7_OTHER_BOOT_ACCEPTED
        /* It may have been made durable before the image was. */
        ApplyNewestCounted(1);
        ApplyNewestCounted(2);
        ApplyNewestEntry(1);
        ApplyNewestEntry(2);
#endif
        CheckImage();
        assert((HAS(allowed[1], CONTENT_IN(entry[1])) && HAS(allowed[2], CONTENT_IN(entry[2]))) || R2)
    }
}

#ifdef POWER_LOSS
#define KILLED_HERE if :: life < KILLS -> goto Killed :: goto PowerLost :: true fi
#else
#define KILLED_HERE if :: life < KILLS -> goto Killed :: true fi
#endif

active proctype Machine()
{
    bit older;
    byte newest;
    atomic {
        operations[1] = FIRST; operations[2] = SECOND;
        allowed[1] = BIT(ZEROS); allowed[2] = BIT(ZEROS);
        allowedThen[1] = BIT(ZEROS); allowedThen[2] = BIT(ZEROS);
        isUp = 1;
        run Guest(1);
        run Guest(2);
        run WriteBack()
    };
endRunning:
    if
    :: life < KILLS
#ifdef POWER_LOSS
    :: goto PowerLost
#endif
    fi;
Killed:
    skip;
    d_step {
        life++;
        isUp = 0;
        countedNow[1] = 0; countedNow[2] = 0;
        entryNow[1] = 0; entryNow[2] = 0;
        dropped[1] = 0; dropped[2] = 0;
        capturedDropped[1] = 0; capturedDropped[2] = 0;
        capturedCounted[1] = 0; capturedCounted[2] = 0;
        capturedEntry[1] = 0; capturedEntry[2] = 0;
        allowedThen[1] = allowed[1]; allowedThen[2] = allowed[2];
        older = 1 - current
    };
    busy == 0;
#ifdef FOREIGN
    /* Through the file's own tables, with a flush, and later than the journal's last touch. */
    if
    :: true
    :: life == KILLS && !isLost && (entry[2] != 0 || !counted[1]) ->
        atomic {
            entry[2] = (entry[2] != 0 -> entry[2] : 1);
            counted[entry[2]] = 1;
            data[entry[2]] = CONTENT(2, 0);
            acknowledged[2] = CONTENT(2, 0);
            underWay[2] = 0;
            allowed[2] = BIT(CONTENT(2, 0));
            allowedThen[2] = BIT(CONTENT(2, 0));
            isLost = 1
        };
        Flush();
#ifndef MUTATE_R7_REPLAYED_OVER_A_LATER_CHANGE
        EmptyRegion(0);
        EmptyRegion(1)
#endif
    fi;
#endif
    KILLED_HERE;
#ifdef MUTATE_R2_EMPTIED_BEFORE_REPLAY_ENDS
    EmptyRegion(1 - older);
    KILLED_HERE;
#endif
#ifdef MUTATE_R2_REGIONS_IN_WRONG_ORDER
    older = 1 - older;
#endif
#ifdef MUTATE_R7_REPLAY_STORES_EVERY_NOTE
    d_step { newest = regions[older].counted[1] };
    ApplyCounted(newest, 1);
    newest = 0;
    KILLED_HERE;
    d_step { newest = regions[older].counted[2] };
    ApplyCounted(newest, 2);
    newest = 0;
    KILLED_HERE;
#endif
    ApplyNewestCounted(1);
    KILLED_HERE;
    ApplyNewestCounted(2);
    KILLED_HERE;
#ifndef MUTATE_R7_REPLAY_WITHOUT_FLUSH
    Flush();
    KILLED_HERE;
#endif
    ApplyNewestEntry(1);
    KILLED_HERE;
    ApplyNewestEntry(2);
    KILLED_HERE;
    Flush();
    KILLED_HERE;
    EmptyRegion(older);
    KILLED_HERE;
    EmptyRegion(1 - older);
    KILLED_HERE;

    CheckImage();
    assert(isLost || CONTENT_IN(entry[1]) == acknowledged[1] || HAS(underWay[1], CONTENT_IN(entry[1])) || R2);
    assert(isLost || CONTENT_IN(entry[2]) == acknowledged[2] || HAS(underWay[2], CONTENT_IN(entry[2])) || R2);
    assert(!isLost || HAS(allowed[1], CONTENT_IN(entry[1])) || R2);
    assert(!isLost || HAS(allowed[2], CONTENT_IN(entry[2])) || R2);
    d_step {
        acknowledged[1] = CONTENT_IN(entry[1]);
        acknowledged[2] = CONTENT_IN(entry[2]);
        underWay[1] = 0; underWay[2] = 0;
        allowed[1] = BIT(acknowledged[1]); allowed[2] = BIT(acknowledged[2]);  /* the replay has flushed */
        allowedThen[1] = allowed[1]; allowedThen[2] = allowed[2];
        countedNow[1] = counted[1]; countedNow[2] = counted[2];
        entryNow[1] = entry[1]; entryNow[2] = entry[2];
        isUp = 1
    };
    goto endRunning;
#ifdef POWER_LOSS
PowerLost:
    older = 1 - current;
    LosePower()
#else
    skip
#endif
}
