# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# The proof itself, for run.sh: one guest on one disk, from its first boot to the check of its disk.

ask() { # WORD ANSWER: tells the server and waits for its answer
    echo "$1" >&"$server_in"
    wait_for "^$2" "$log" "$server"
    say "server: $(grep "^$2" "$log" | tail -n 1)"
}

start_server() {
    rm -f "$work/server.fifo" "$log" "$work/nbd.sock"
    mkfifo "$work/server.fifo"
    "${pwsh[@]}" "$here/serve.ps1" "$disk" "$work/nbd.sock" <"$work/server.fifo" >"$log" 2>&1 &
    server=$!
    children+=("$server")
    exec {server_in}>"$work/server.fifo"
    wait_for '^ready' "$log" "$server"
}

start_guest() {
    rm -f "$work/guest.fifo"
    mkfifo "$work/guest.fifo"
    boot "driver=nbd,server.type=unix,server.path=$work/nbd.sock,export=vm,reconnect-delay=60" "$console" \
        <"$work/guest.fifo" &
    guest=$!
    children+=("$guest")
    exec {guest_in}>"$work/guest.fifo"
    wait_for 'GUEST BOOTED' "$console" "$guest"
    say 'the guest has booted'
}

prove() {
    local format=$1 before during after
    disk=$work/disk.$format backup=$work/backup.$format console=$work/guest.$format.console log=$work/server.$format.log
    rm -f "$disk" "$backup" "$console"
    qemu-img convert -f raw -O "$format" "$work/root.raw" "$disk"
    say "== $format"
    start_server
    start_guest
    wait_for_writes 0 50

    # What stands on the console now was fsynced before the instant, which comes later.
    cp "$console" "$work/before.console"
    grep -a '^FSYNCED' "$work/before.console" | tr -d '\r' | grep -E '^FSYNCED [0-9]+ [0-9a-f]{64}$' >"$work/before"
    before=$(wc -l <"$work/before")
    ask session session
    wait_for_writes "$before" 20

    # The snapshot is read twice while the guest writes: by this server's own backup, and over NBD by a client of somebody else's.
    nbdcopy "nbd+unix:///vm/nightly?socket=$work/nbd.sock" "$work/copy.raw" &
    local copying=$!
    ask "backup $backup" backup
    wait "$copying" || fail 'nbdcopy failed'
    during=$(fsynced)
    wait_for_writes "$during" 20
    ask stop stopped
    grep -q 'it was Active' "$log" || fail 'the session broke'
    after=$(fsynced)
    wait_for_writes "$after" 20
    say "the guest fsynced $before files before the instant, $during when the backups were made, $after when the session ended"

    check_backup "$format"
    stop_guest
    check_disk "$format"
}

check_backup() {
    qemu-img convert -f "$1" -O raw "$backup" "$work/backup.img"
    cmp "$work/backup.img" "$work/copy.raw" || fail 'the two backups differ'
    check_crashed "$work/copy.raw" "$work/replayed.raw"
    check_files "$work/replayed.raw" "$work/before"
    say "the backups are equal, $(stat -c %s "$work/copy.raw") bytes; e2fsck finds nothing; $(wc -l <"$work/before") files are there"

    (boot "file=$backup,format=$1,snapshot=on" "$work/backup.console" fleece.check) </dev/null || fail 'the backup does not boot'
    grep -qa 'BACKUP VERIFIED' "$work/backup.console" || fail 'the booted backup found something wrong'
    local verified
    verified=$(grep -a -o 'BACKUP VERIFIED [0-9]*' "$work/backup.console" | tr -dc 0-9)
    ((verified >= $(wc -l <"$work/before"))) || fail "the ledger of the booted backup has $verified files"
    say "the backup boots and verifies $verified files"
}

stop_guest() {
    local last
    last=$(fsynced)
    wait_for_writes "$last" 5
    echo stop >&"$guest_in"
    wait_for 'GUEST STOPS' "$console" "$guest"
    wait "$guest" || fail 'the guest ended badly'
    exec {guest_in}>&-
    ask quit bye
    wait "$server" || fail 'the server ended badly'
    exec {server_in}>&-
    if grep -aiE 'I/O error|EXT4-fs (error|warning)|Call Trace|GUEST FAILED' "$console"; then fail 'the guest saw errors'; fi
}

# Unmounted in order, so there is nothing to replay.
check_disk() {
    qemu-img convert -f "$1" -O raw "$disk" "$work/disk.img"
    [[ $1 == raw || $1 == vpc ]] || qemu-img check -q -f "$1" "$disk" || fail 'qemu-img check finds the disk damaged' # It knows no check of a VHD.
    e2fsck -fn "$work/disk.img" >"$work/e2fsck.log" 2>&1 || fail "e2fsck -fn of the guest's own disk: $(cat "$work/e2fsck.log")"
    grep -a '^FSYNCED' "$console" | tr -d '\r' >"$work/all"
    check_files "$work/disk.img" "$work/all"
    say "the guest's own disk is whole, with all $(wc -l <"$work/all") files it fsynced"
}
