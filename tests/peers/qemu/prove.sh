# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The proof itself, for run.sh: one guest on two disks, three nights of backups, and a process of ours that is killed again and again.

state() { python3 "$here/qmp.py" "$work/qmp.sock" state; }

check_state() { # WHAT
    diff "$work/state.before" <(state) >"$work/state.diff" || fail "$1 left something in QEMU: $(cat "$work/state.diff")"
}

list_fsynced() { tr -d '\r' <"$console" | grep -aE '^FSYNCED [0-9]+ [0-9a-f]{64}$' >"$1"; }

night() { # NUMBER: both disks at one instant
    local number=$1
    list_fsynced "$work/before.$number"
    "${pwsh[@]}" "$here/night.ps1" "$work/qmp.sock" "$work/backups.$format" "$work/night.$number" >"$work/night.$number.log" 2>&1 ||
        fail "night $number: $(cat "$work/night.$number.log")"
    say "night $number: $(tr '\n' ';' <"$work/night.$number.log")"
    wait_for_writes "$(fsynced)" 10
}

# The guest's file systems were frozen at the instant, so there is no journal to replay.
check_night() {
    local number=$1 disk
    for disk in virtio0 virtio1; do
        e2fsck -fn "$work/night.$number.$disk.raw" >"$work/e2fsck.log" 2>&1 ||
            fail "e2fsck -fn of $disk, night $number: $(cat "$work/e2fsck.log")"
    done
    check_files "$work/night.$number.virtio0.raw" "$work/before.$number"
    (boot raw "$work/night.$number.virtio0.raw" "$work/night.$number.virtio1.raw" "$work/boot.console" fleece.check) </dev/null ||
        fail "night $number does not boot"
    grep -qa 'BACKUP VERIFIED' "$work/boot.console" || fail "the booted night $number found something wrong"
    say "night $number: e2fsck finds nothing, $(wc -l <"$work/before.$number") files are there; it boots and says" \
        "$(grep -a -o 'BACKUP VERIFIED [0-9]* files' "$work/boot.console")"
}

# A process of ours starts a session of both disks, reads and ends it, and is killed in one of these at a random moment.
kill_once() { # NUMBER
    local phases=(starting reading stopping) phase delay job before
    phase=${phases[$(($1 % 3))]}
    delay=$(awk -v seed="$RANDOM" 'BEGIN { srand(seed); printf "%.3f", rand() * 0.8 }')
    rm -rf "$work/killed.log" "$work/killed"
    "${pwsh[@]}" "$here/killed.ps1" "$work/qmp.sock" "$work/killed" >"$work/killed.log" 2>&1 &
    job=$!
    children+=("$job")
    wait_for "^$phase" "$work/killed.log" "$job"
    sleep "$delay"
    kill -9 "$job" 2>/dev/null || true
    wait "$job" 2>/dev/null || true
    # The guest is not left paused or frozen until the next command comes.
    before=$(fsynced)
    wait_for_writes "$before" 3
    "${pwsh[@]}" "$here/clean.ps1" "$work/qmp.sock" >"$work/clean.log" 2>&1 || fail "after the kill while $phase: $(cat "$work/clean.log")"
    check_state "a kill $delay s into $phase"
    if find "$work" -mindepth 1 -maxdepth 1 -name '*fleece-*' | grep -q .; then fail "a kill $delay s into $phase left a file"; fi
    say "killed $delay s into $phase: all is clean"
}

prove() {
    local number first second kills=${GUEST_KILLS:-10}
    format=$1 console=$work/guest.$1.console
    first=$work/first.$format second=$work/second.$format.disk
    rm -rf "$work/backups.$format" "$first" "$second"
    qemu-img convert -f raw -O "$format" "$work/root.raw" "$first"
    qemu-img convert -f raw -O "$format" "$work/second.raw" "$second"
    say "== $format${GUEST_IOTHREAD:+, a thread for each disk}"
    start_guest "$format" "$first" "$second" "$console"
    wait_for_writes 0 30
    state >"$work/state.before"
    night 1
    # The first night makes the bitmaps of backups, and nothing else that stays.
    { grep -v ^bitmaps "$work/state.before" && state | grep ^bitmaps; } | sort >"$work/state.sorted"
    diff "$work/state.sorted" <(state | sort) >"$work/state.diff" || fail "the first night left something in QEMU: $(cat "$work/state.diff")"
    state >"$work/state.before"
    for number in 2 3; do night "$number"; done
    check_state 'three nights'
    for ((number = 0; number < kills; number++)); do kill_once "$number"; done
    night 4
    check_state 'the night after the kills'

    wait_for_writes "$(fsynced)" 5
    echo stop >&"$guest_in"
    wait_for 'GUEST STOPS' "$console" "$guest"
    wait "$guest" || fail 'the guest ended badly'
    exec {guest_in}>&-
    if grep -aiE 'I/O error|EXT4-fs (error|warning)|Call Trace|GUEST FAILED' "$console"; then fail 'the guest saw errors'; fi
    for number in 1 2 3 4; do check_night "$number"; done
    check_disk "$first"
}

# Unmounted in order, so there is nothing to replay.
check_disk() {
    [[ $format == raw ]] || qemu-img check -q -f "$format" "$1" || fail 'qemu-img check finds the disk damaged'
    qemu-img convert -f "$format" -O raw "$1" "$work/disk.img"
    e2fsck -fn "$work/disk.img" >"$work/e2fsck.log" 2>&1 || fail "e2fsck -fn of the guest's own disk: $(cat "$work/e2fsck.log")"
    list_fsynced "$work/all"
    check_files "$work/disk.img" "$work/all"
    say "the guest's own disk is whole, with all $(wc -l <"$work/all") files it fsynced"
}
