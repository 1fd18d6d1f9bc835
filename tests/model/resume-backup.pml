/* SPDX-License-Identifier: MIT
 *
 * A nightly backup into a repository that is killed at any step and begins again, for spin. tests/model/check.sh runs it.
 *
 * The backup has two parts. A file of the repository counts when the manifest names it; Stop -Success makes the session's instant the
 * baseline of the bitmap. A session that a job began ends with the job, or comes back when -StatePath kept it. Set by -D: KILLS,
 * MUTATE_... (one slip each; check.sh demands that spin finds it).
 */
#ifndef KILLS
#define KILLS 2
#endif

byte kills;
byte instants;              /* so many sessions have been */
byte session;               /* the instant of the running one; 0 = none */
byte part1, part2;          /* the instant whose bytes the file has; 0 = it is not there */
byte manifest1, manifest2;  /* what the newest complete backup is made of */
byte manifest;              /* its instant */
byte complete;              /* a mask: instants of which a whole backup is there */
byte baseline;              /* the bitmap counts from here */

/* Never set: an assertion that names one prints the property that fell. */
hidden byte R1, R3;

#define KILLED_HERE \
    if \
    :: d_step { kills < KILLS -> kills++ }; goto Killed \
    :: true \
    fi; \
    assert(manifest == 0 || (manifest1 == manifest && manifest2 == manifest) || R1); \
    assert(baseline == 0 || ((complete >> baseline) & 1) || R3)

active proctype Job()
{
Night:
    if
    :: session == 0 -> d_step { instants++; session = instants }
    :: else
    fi;
    KILLED_HERE;
#ifdef MUTATE_R1_GOES_ON_WITH_PARTS_OF_ANOTHER_INSTANT
    part1 = (part1 -> part1 : session);
#else
    part1 = session;
#endif
    KILLED_HERE;
#ifdef MUTATE_R1_GOES_ON_WITH_PARTS_OF_ANOTHER_INSTANT
    part2 = (part2 -> part2 : session);
#else
    part2 = session;
#endif
    KILLED_HERE;
#ifdef MUTATE_R3_SUCCESS_BEFORE_MANIFEST
    baseline = session;
    KILLED_HERE;
#endif
    d_step { manifest = session; manifest1 = part1; manifest2 = part2; complete = complete | (1 << session) };
    KILLED_HERE;
    d_step { baseline = session; session = 0; part1 = 0; part2 = 0 };
    KILLED_HERE;
    if
    :: instants < 3 -> goto Night
    :: goto endDone
    fi;
Killed:
    if
    :: session = 0          /* ended without success */
    :: true                 /* comes back, and the job takes it up again */
    fi;
    if
    :: instants < 4 -> goto Night
    :: goto endDone
    fi;
endDone:
    skip
}
