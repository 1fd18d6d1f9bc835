# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The proof itself, for run.sh: one guest on one disk, and a host that is killed under it.

control() { dotnet "$program" control "$work/host.sock" "$@"; }

start_host() {
    rm -f "$work/host.fifo"
    mkfifo "$work/host.fifo"
    : >"$work/host.said"
    dotnet "$program" serve-host <"$work/host.fifo" >"$work/host.said" 2>"$work/host.errors.log" &
    host=$!
    children+=("$host")
    exec {host_in}>"$work/host.fifo"
    echo "$work/state|$work/host.sock|$work/host.log|" >&"$host_in"
    wait_for '^ready' "$work/host.said" "$host"
}

kill_host() {
    kill -9 "$host"
    wait "$host" 2>/dev/null || true
    exec {host_in}>&-
}

prove_kills() {
    local format=$1 extension=${1/vpc/vhd} kill instant
    disk=$work/disk.$extension console=$work/guest.$format.console
    rm -rf "$disk"* "$console" "$work/state" "$work/temp"
    mkdir "$work/temp"
    qemu-img convert -f raw -O "$format" "$work/root.raw" "$disk"
    say "== $format"
    start_host
    control mount "$disk" vm "$work/nbd.sock"
    start_guest
    wait_for_writes 0 20
    grep -a '^FSYNCED' "$console" | tr -d '\r' | grep -E '^FSYNCED [0-9]+ [0-9a-f]{64}$' >"$work/before"
    control start vm nightly "$work/temp"
    instant=$(control list | grep -F vm/nightly | cut -d' ' -f3)
    nbdcopy "nbd+unix:///vm/nightly?socket=$work/nbd.sock" "$work/first.raw"

    for ((kill = 1; kill <= kills; kill++)); do
        sleep "0.$((RANDOM % 10))"
        kill_host
        start_host
        wait_for_writes "$(fsynced)" 3
    done

    control list >"$work/sessions.log"
    grep -q "^vm/nightly Active $instant " "$work/sessions.log" || fail "the session is not what it was: $(cat "$work/sessions.log")"
    nbdcopy "nbd+unix:///vm/nightly?socket=$work/nbd.sock" "$work/last.raw"
    cmp "$work/first.raw" "$work/last.raw" || fail 'the snapshot has changed'
    check_crashed "$work/last.raw" "$work/replayed.raw"
    check_files "$work/replayed.raw" "$work/before"
    say "after $kills kills the snapshot is the same: $(grep -F vm/nightly "$work/sessions.log")"
    control stop vm/nightly
    [[ -z $(ls "$work/temp") ]] || fail "old data is left: $(ls "$work/temp")"
    end_guest
    check_disk "$format"
}

end_guest() {
    wait_for_writes "$(fsynced)" 5
    echo stop >&"$guest_in"
    wait_for 'GUEST STOPS' "$console" "$guest"
    wait "$guest" || fail 'the guest ended badly'
    exec {guest_in}>&-
    echo stop >&"$host_in"
    wait_for '^ended' "$work/host.said" "$host"
    wait "$host" || fail 'the host ended badly'
    exec {host_in}>&-
    if grep -aiE 'I/O error|EXT4-fs (error|warning)|Call Trace|GUEST FAILED' "$console"; then fail 'the guest saw errors'; fi
}
