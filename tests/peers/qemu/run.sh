#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Backs up a virtual machine that QEMU runs on disks of its own, through QEMU's monitor, and proves the backups.
#   run.sh [prove] [raw|qcow2]...     full and incremental backups of two disks while the guest writes, then kills
#   run.sh cost [ROUNDS [SECONDS]]    the price that the guest pays: see cost.py
# docs/testing.md says what is proved. $GUEST_QEMU names another qemu-system-x86_64, $GUEST_IOTHREAD=1 gives each disk a thread of
# its own, $GUEST_KILLS says how often our process is killed (10), and tests/peers/guest/run.sh has the other variables.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
root=$(cd "$here/../../.." && pwd)
source "$here/../fleece/pwsh.sh"
source "$here/../guest/machine.sh"
source "$here/prove.sh"
qemu=${GUEST_QEMU:-qemu-system-x86_64}

# Becomes QEMU. The monitor is for Fleece alone, as docs/qemu.md asks for.
boot() { # FORMAT FIRST SECOND CONSOLE [KERNEL ARGUMENTS]
    local -a disks=()
    local i=0 path
    for path in "$2" "$3"; do
        [[ -z ${GUEST_IOTHREAD:-} ]] || disks+=(-object "iothread,id=thread$i")
        disks+=(-blockdev "driver=$1,node-name=disk$i,discard=unmap,file.driver=file,file.discard=unmap,file.filename=$path"
            -device "virtio-blk-pci,drive=disk$i,id=virtio$i${GUEST_IOTHREAD:+,iothread=thread$i}")
        i=$((i + 1))
    done
    exec "$qemu" -accel "$accel" -m 256 -smp 2 -nodefaults -no-user-config -display none -no-reboot -name proof \
        -kernel "$kernel" -initrd "$work/initramfs.gz" -append "console=ttyS0 panic=-1 quiet ${5:-}" \
        -chardev stdio,id=console,signal=off -serial chardev:console "${disks[@]}" \
        -qmp "unix:$work/qmp.sock,server=on,wait=off" -device virtio-serial-pci \
        -chardev "socket,id=agent,path=$work/agent.sock,server=on,wait=off" \
        -device virtserialport,chardev=agent,name=org.qemu.guest_agent.0 >"$4" 2>"$4.log"
}

start_guest() { # FORMAT FIRST SECOND CONSOLE [KERNEL ARGUMENTS]
    rm -f "$work/guest.fifo" "$4"
    mkfifo "$work/guest.fifo"
    boot "$@" <"$work/guest.fifo" &
    guest=$!
    children+=("$guest")
    exec {guest_in}>"$work/guest.fifo"
    wait_for 'GUEST BOOTED' "$4" "$guest"
    say 'the guest has booted'
}

make_guest() {
    make_initramfs "${kernel##*/vmlinuz-}"
    make_tree
    add_program "$agent"
    [[ -z ${latency:-} ]] || add_program "$latency"
    make_disk 256M
    mkdir -p "$work/empty"
    mkfs.ext4 -q -d "$work/empty" "$work/second.raw" 192M >>"$work/mkfs.log"
}

# Random data fill the second disk, for copies of holes cost nothing.
cost() {
    latency=$work/latency
    gcc -O2 -static -o "$latency" "$here/latency.c"
    make_guest
    head -c 1G /dev/urandom >"$work/filled.raw"
    console=$work/cost.console
    start_guest raw "$work/root.raw" "$work/filled.raw" "$console" fleece.idle
    python3 "$here/cost.py" "$work/qmp.sock" disk1 virtio1 "$console" "$work" "${1:-3}" "${2:-5}" >&"$guest_in"
}

agent=$(PATH=$PATH:/usr/sbin:/sbin command -v qemu-ga || true)
task=prove
case ${1:-} in prove | cost) task=$1; shift ;; esac
if [[ $task == cost ]]; then machine_begin gcc python3 nbdcopy; else machine_begin python3 dotnet; fi
[[ -n $agent ]] || skip 'qemu-ga is not installed (package qemu-guest-agent)'
command -v "$qemu" >/dev/null || skip "$qemu is not installed"
say "kernel ${kernel##*/vmlinuz-}, $accel, $("$qemu" --version | head -n 1)"
if [[ $task == cost ]]; then
    cost "$@"
else
    fleece_pwsh "$root" 2>"$work/build.log"
    make_guest
    for format in "${@:-raw}"; do prove "$format"; done
fi
say passed
