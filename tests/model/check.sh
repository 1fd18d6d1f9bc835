#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks the models beside it with spin, then that spin finds each slip they know. Run: tests/model/check.sh [NAME...]
# NAME is a run or a mutation to do alone. Needs spin 6.5 and gcc; exits with 77 where one is missing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jobs=2          # searches at a time
memory_mib=900  # for each search

for tool in spin gcc; do
    if ! command -v "$tool" >/dev/null; then
        echo "skipped: $tool is not installed, so the models can't be checked"
        exit 77
    fi
done

quick_compiler=(gcc -O0)
if command -v tcc >/dev/null; then
    quick_compiler=(tcc)
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What pan found: the invariant an assertion names, or the kind of standstill.
finding() {
    if grep -q 'assertion violated' "$1"; then
        sed -n 's/.*assertion violated .*||\([IR][0-9]\)).*/\1/p' "$1"
    elif grep -q 'invalid end state (' "$1"; then
        echo deadlock
    elif grep -q 'non-progress cycle (' "$1"; then
        echo livelock
    else
        echo nothing
    fi
}

is_complete() {
    local cut_short='max search depth too small|not completed|hash-compact|bit statespace|memory limit|out of memory'
    grep -q 'errors: 0$' "$1" && ! grep -qiE "$cut_short" "$1"
}

# search NAME MODEL EXPECTED DEFINE...
#   EXPECTED is "holds", "ends" (no process runs for ever) or what pan must find (see finding); "ends:livelock" is
#   what it must find in a search for processes that run for ever.
search() {
    local name=$1 model=$2 expected=$3 directory="$work/$1" status=0 started=$SECONDS found
    shift 3
    local compile=(-DSAFETY -DCOLLAPSE) run=(-m100000)
    if [[ $expected == ends* ]]; then
        # No label is a progress label, so every cycle counts. Assertions belong to the other searches.
        compile=(-DNP -DNOFAIR -DCOLLAPSE)
        run=(-m200000 -l -A)
    fi

    # Compiling takes as long as searching, so none of it is for the last tenth of speed. A slip is found early, where clearing a hash
    # table for many states takes longer than finding it.
    local compiler=(gcc -O1)
    if [[ $expected != holds && $expected != ends ]]; then
        compiler=("${quick_compiler[@]}")
        run+=(-w20)
    fi

    mkdir "$directory"
    cd "$directory"
    cp "$here/$model.pml" .
    {
        spin -a "$@" "$model.pml" &&
            "${compiler[@]}" -w "${compile[@]}" "-DMEMLIM=$memory_mib" -o pan pan.c &&
            ./pan "${run[@]}"
    } >output 2>&1 || status=$?

    found=$(finding output)
    local verdict=failed
    case $expected in
        holds | ends) [[ $status == 0 && $found == nothing ]] && is_complete output && verdict=passed ;;
        *) [[ $found == "${expected#ends:}" ]] && verdict=passed ;;
    esac

    local states depth
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' output)
    depth=$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' output)
    printf '%s  %-42s %10s states  depth %4s  %3d s  expected %s, found %s\n' \
        "$verdict" "$name" "${states:-?}" "${depth:-?}" $((SECONDS - started)) "$expected" "$found"
    if [[ $verdict == failed ]]; then
        grep -vE '^\s|unreached' output | tail -n 20 || true
        if compgen -G '*.trail' >/dev/null; then
            spin -t -p "$@" "$model.pml" | tail -n 60 || true
        fi
    fi

    cd "$work"
    rm -rf "$directory"
    if [[ $verdict == passed ]]; then
        echo >"$work/passed.$name"
    fi
}

names=("$@")
running=0 started=0
start() {
    if ((${#names[@]} > 0)) && [[ ! " ${names[*]} " == *" $1 "* ]]; then
        return
    fi

    if ((running == jobs)); then
        wait -n || true  # the verdicts are counted at the end
        running=$((running - 1))
    fi

    search "$@" &
    running=$((running + 1)) started=$((started + 1))
}

protocol() { start "$1" copy-before-write "${@:2}"; }
handshake() { start "$1" frozen-handshake "${@:2}"; }
resume() { start "resume-$1" "resume-$2" "${@:3}"; }

# The slip NAME, in a cast that is large enough to show it.
protocol_mutation() { protocol "$1" "$2" "-DMUTATE_$1" "${@:3}"; }
handshake_mutation() { handshake "$1" "$2" "-DMUTATE_$1" "${@:3}"; }

# It is caught as the property that its name begins with. A slip named in two models has one name in each.
resume_mutation() { start "$2" "resume-$1" "${2:0:2}" "-DMUTATE_$2" "${@:3}"; }

one_writer=(-DWRITERS=1 -DREADERS=1)
two_writers=(-DREADERS=1 -DCONSUMERS=0)
two_readers=(-DWRITERS=1 -DREADERS=2)
querier=(-DREADERS=0 -DQUERIERS=1)
break_snapshot=-DPOLICY_BREAK_SNAPSHOT
timeouts=-DTIMEOUTS

# The large searches come first, so that the small ones fill the gaps.
protocol break-snapshot holds $break_snapshot -DREADERS=1 -DDISCARD=0,1
protocol break-guest-write-readers holds -DREADERS=2 -DCONSUMERS=0
protocol break-guest-write holds -DREADERS=1
protocol break-guest-write-small-copies holds -DREADERS=1 -DMAXIMUM_COUNT=1 -DSECOND_WRITE=1,2 -DDISCARD=0,1
protocol break-guest-write-stop holds "${two_writers[@]}" -DSTOPPERS=1
protocol break-guest-write-consumer holds "${two_readers[@]}"
protocol break-guest-write-consumers holds "${one_writer[@]}" -DCONSUMERS=2
protocol break-guest-write-status holds "${querier[@]}"
protocol break-snapshot-readers holds $break_snapshot "${two_readers[@]}" -DCONSUMERS=0
protocol break-snapshot-status holds $break_snapshot "${querier[@]}" -DWRITERS=1
protocol stop-with-slow-io holds "${two_writers[@]}" -DSTOPPERS=1 -DSLOW_AFTER_END
protocol break-with-slow-io holds $break_snapshot "${two_writers[@]}" -DSLOW_AFTER_END
protocol hanging-guests holds "${two_writers[@]}" -DGUESTS_HANG
protocol hanging-guests-readers holds "${two_readers[@]}" -DGUESTS_HANG
protocol timeouts-break-guest-write holds "${two_writers[@]}" $timeouts
protocol timeouts-break-guest-write-consumer holds -DWRITERS=1 -DREADERS=1 $timeouts
protocol timeouts-break-guest-write-stop holds "${one_writer[@]}" -DCONSUMERS=0 -DSTOPPERS=1 $timeouts
protocol timeouts-break-snapshot holds $break_snapshot "${one_writer[@]}" $timeouts
protocol timeouts-break-snapshot-writers holds $break_snapshot -DREADERS=0 -DQUERIERS=1 -DCONSUMERS=0 $timeouts
protocol all-end-timeouts ends -DREADERS=0 -DQUERIERS=1 -DCONSUMERS=0 $timeouts
protocol all-end ends "${two_writers[@]}"
protocol all-end-break ends $break_snapshot "${two_writers[@]}"
protocol all-end-status ends "${querier[@]}" -DWRITERS=1
handshake handshake holds -DWITH_CONSUMER -DWITH_BREAKER
handshake handshake-with-slow-io holds -DWITH_BREAKER -DSLOW_AFTER_END

temp_tables=(-DTEMP_TABLES -DCOMPACTIONS=0)
resume journal-power-loss journal holds -DKILLS=1 -DPOWER_LOSS
resume boots boots holds
resume copies-consumer copies holds -DKILLS=1 -DCOMPACTIONS=0
resume copies-compaction copies holds -DKILLS=1 -DCONSUMERS=0
resume copies-twice copies holds -DGUESTS=1
resume copies-break-snapshot copies holds -DGUESTS=1 $break_snapshot
resume copies-temp-tables copies holds -DKILLS=1 "${temp_tables[@]}"
resume journal journal holds
resume journal-foreign journal holds -DKILLS=1 -DFOREIGN
resume sessions sessions holds
resume sessions-stop sessions holds -DSTOPS=1
resume sessions-guests sessions holds -DGUESTS=2 -DSTOPS=1 -DKILLS=1 -DWRITES=1
resume sessions-failures sessions holds -DSTOPS=1 -DWRITES=1 -DFAILURES
resume backup backup holds

protocol_mutation I1_NO_SECOND_TEST I1 "${one_writer[@]}" -DWITHOUT_I2
protocol_mutation I1_DONE_BEFORE_TEMP I1 "${one_writer[@]}" -DCONSUMERS=0
protocol_mutation I1_COPY_OF_SETTLED I1 "${two_writers[@]}" -DSECOND_WRITE=1,2 -DWITHOUT_I2
protocol_mutation I1_EMPTY_FREEZE I1 "${two_readers[@]}" -DCONSUMERS=0 -DMAXIMUM_COUNT=1 -DWITHOUT_I2
handshake_mutation I1_FINISH_COPY_WITHOUT_FENCE I1 -DWITHOUT_I2
handshake_mutation I1_ENTER_WITHOUT_FENCE I1 -DWITHOUT_I2
handshake_mutation I1_MARK_BEHIND_SLOT I1 -DWITHOUT_I2
handshake_mutation I1_CONSUME_WITHOUT_FENCE I1 -DWITH_CONSUMER
protocol_mutation I1_LATE_COPY_IS_FORGOTTEN I1 "${two_writers[@]}" $timeouts -DWITHOUT_I2
protocol_mutation I2_LATE_WRITE_GOES_ON I2 "${one_writer[@]}" $timeouts
protocol_mutation I2_NO_WAIT_FOR_FROZEN_READS I2 "${one_writer[@]}"
protocol_mutation I2_SETTLED_IGNORES_FROZEN_READS I2 "${two_writers[@]}"
protocol_mutation I2_FROZEN_READS_BEFORE_MAPS I2 "${two_writers[@]}"
protocol_mutation I3_READ_WAITS_FOR_COPY deadlock "${one_writer[@]}" -DGUESTS_HANG
protocol_mutation I4_ANY_FROZEN_READ I4 -DREADERS=2 -DCONSUMERS=0
protocol_mutation I4_NO_SECOND_SCAN deadlock "${one_writer[@]}"
protocol_mutation I4_FAILED_COPY_WAKES_NOBODY deadlock "${two_writers[@]}"
protocol_mutation I4_FAILED_COPY_IS_REPEATED ends:livelock "${one_writer[@]}"
protocol_mutation I4_SETTLED_TAKES_LOCK I4 "${two_writers[@]}"
handshake_mutation I4_EXIT_WITHOUT_FENCE deadlock
handshake_mutation I4_REGISTER_WITHOUT_FENCE deadlock
protocol_mutation I5_MAP_CHECKED_ONCE I5 "${one_writer[@]}"
protocol_mutation I5_CONSUME_WITHOUT_LOCK I5 "${one_writer[@]}" -DCONSUMERS=2
protocol_mutation I5_STATUS_OF_NOTHING I5 "${querier[@]}" -DWRITERS=1
protocol_mutation I5_STATUS_IS_NOT_CUT I5 "${querier[@]}" -DWRITERS=1
protocol_mutation I6_NO_CHECK_AFTER_IO I6 $break_snapshot "${one_writer[@]}"
protocol_mutation I6_BREAK_DOES_NOT_ABANDON deadlock "${two_writers[@]}" -DSTOPPERS=1 -DSLOW_AFTER_END
protocol_mutation I6_BREAK_LEAVES_COPY_WAITERS deadlock "${two_writers[@]}" -DSTOPPERS=1 -DSLOW_AFTER_END
protocol_mutation I6_CLAIM_AFTER_END deadlock "${two_writers[@]}" -DSTOPPERS=1 -DSLOW_AFTER_END
protocol_mutation I6_ENDED_SESSION_FAILS_WRITE I6 "${one_writer[@]}" -DSTOPPERS=1
handshake_mutation I6_ABANDON_WITHOUT_FENCE deadlock -DWITH_BREAKER -DSLOW_AFTER_END
protocol_mutation I7_NO_RECLAIM I7 "${one_writer[@]}"
protocol_mutation I7_CONSUMED_IS_UNSETTLED I7 "${one_writer[@]}"
protocol_mutation I7_FREE_BEFORE_REFUSE I7 "${one_writer[@]}"
protocol_mutation I7_FAILED_COPY_FORGOTTEN I7 "${one_writer[@]}"

resume_mutation copies R1_WRITE_BEFORE_RECORD -DCONSUMERS=0 -DCOMPACTIONS=0
resume_mutation copies R1_RECORD_BEFORE_DATA -DCONSUMERS=0 -DCOMPACTIONS=0
resume_mutation copies R1_NO_ROOM_IS_IGNORED -DCONSUMERS=0 -DCOMPACTIONS=0
resume_mutation copies R1_FREE_BEFORE_RECORD -DGUESTS=1 -DCOMPACTIONS=0
resume_mutation copies R1_BROKEN_NOTED_AFTER_WRITE -DGUESTS=1 -DCOMPACTIONS=0 $break_snapshot
resume_mutation copies R1_TEMP_TABLE_IN_MEMORY "${temp_tables[@]}"
resume_mutation copies R1_PLACE_REUSED_BEFORE_TABLE "${temp_tables[@]}"
resume_mutation copies R1_RECORDS_TO_OLD_LOG_ALONE -DGUESTS=1 -DCONSUMERS=0
resume_mutation copies R1_BROKEN_TO_OLD_LOG_ALONE -DGUESTS=1 -DCONSUMERS=0 $break_snapshot
resume_mutation copies R1_RENAMED_BEFORE_MAPS -DGUESTS=1 -DCONSUMERS=0
resume_mutation copies R1_COMPACTION_BEGINS_WITHOUT_LOCK -DGUESTS=1 -DCONSUMERS=0
resume_mutation copies R1_JUDGED_BEFORE_LOCK -DGUESTS=1 -DCONSUMERS=0
resume_mutation copies R4_COUNT_BEFORE_RECORD -DGUESTS=1 -DCONSUMERS=0
resume_mutation copies R7_RESUME_FORGETS_FAILED_COPIES -DGUESTS=1 -DCOMPACTIONS=0
resume_mutation journal R2_NOTE_AFTER_ACKNOWLEDGE
resume_mutation journal R2_NO_ROOM_IS_IGNORED
resume_mutation journal R7_NOTES_TO_THE_CAPTURED_REGION
resume_mutation journal R7_REGION_EMPTIED_BEFORE_WRITE_BACK
resume_mutation journal R2_EMPTIED_BEFORE_REPLAY_ENDS
resume_mutation journal R2_REGIONS_IN_WRONG_ORDER
resume_mutation journal R7_PLACES_FREED_BEFORE_WRITE_BACK -DPOWER_LOSS
resume_mutation journal R7_NO_FLUSH_BETWEEN_STAGES -DPOWER_LOSS
resume_mutation journal R7_REPLAY_WITHOUT_FLUSH -DPOWER_LOSS
resume_mutation journal R7_REPLAY_STORES_EVERY_NOTE -DPOWER_LOSS
resume_mutation journal R7_OTHER_BOOT_ACCEPTED -DKILLS=0 -DPOWER_LOSS
resume_mutation journal R7_REPLAYED_OVER_A_LATER_CHANGE -DKILLS=1 -DFOREIGN
resume_mutation sessions R3_BITMAPS_BEFORE_ENDING -DSTOPS=1
resume_mutation sessions R3_ENDING_IS_NOT_IDEMPOTENT -DSTOPS=1
resume_mutation sessions R3_FOLDED_BEFORE_SESSIONS_ARE_KNOWN -DSTOPS=1
resume_mutation sessions R3_RESUMED_BITMAP_IS_NOT_FROZEN -DSTOPS=1
resume_mutation sessions R5_ACKNOWLEDGED_BEFORE_ENDING -DSTOPS=1
resume_mutation sessions R4_RUNNING_PER_DISK -DGUESTS=0
resume_mutation sessions R4_FOLLOWER_LEFT_STARTING -DGUESTS=0
resume_mutation sessions R6_RUNNING_BEFORE_INSTANT -DGUESTS=0
resume_mutation sessions R6_LOG_REMOVED_FIRST
resume_mutation sessions R6_FAILED_START_REMOVES_LOG_FIRST -DKILLS=1 -DGUESTS=0 -DSTOPS=0 -DFAILURES
resume_mutation sessions R6_LOG_REMOVED_FOR_MARKER -DKILLS=1 -DGUESTS=0 -DFAILURES
resume_mutation sessions R6_TEMP_BEFORE_LOG -DKILLS=1 -DGUESTS=0 -DSTOPS=0
resume_mutation boots R1_SUSPENDED_BEFORE_FLUSHES
resume_mutation boots R1_RUNNING_NOT_DURABLE -DWITHOUT_STOP
resume_mutation boots R1_OTHER_BOOT_ACCEPTED
resume_mutation boots R1_MARKER_IS_NO_LOCK
resume_mutation boots R1_MARKER_IS_NOT_READ
resume_mutation boots R1_DISCARD_NOT_DURABLE
resume_mutation boots R1_LATER_CHANGE_ACCEPTED
resume_mutation boots R4_STARTING_NOT_DURABLE -DENDS=1
resume_mutation boots R4_STARTING_OF_ANOTHER_BOOT_IS_UNDONE
resume_mutation boots R4_RUNNING_BEFORE_BOOT_ID
resume_mutation boots R4_TEMP_CLEARED_AS_LITTER
resume_mutation backup R1_GOES_ON_WITH_PARTS_OF_ANOTHER_INSTANT
resume_mutation backup R3_SUCCESS_BEFORE_MANIFEST
wait

passed=$(find "$work" -name 'passed.*' | wc -l)
failed=$((started - passed))  # a search that breaks down leaves no verdict
echo "$passed passed, $failed failed"
((failed == 0 && passed > 0)) || exit 1
