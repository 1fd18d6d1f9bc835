#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A virtual machine on a disk of a host that is killed again and again: run.sh [raw|qcow2|vpc|vhdx]...
# QEMU connects anew each time (reconnect-delay), and its guest must notice nothing. See docs/testing.md for what is proved.
# Exit code 77 says that something is missing here, and what. $RESUME_KILLS is the number of kills for each format, 10 without it; the
# variables of tests/peers/guest/run.sh count here too.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
root=$(cd "$here/../../.." && pwd)
kills=${RESUME_KILLS:-10}
source "$here/../guest/machine.sh"
source "$here/../guest/prove.sh"
source "$here/prove.sh"

# Becomes QEMU, so that its process id is the caller's.
boot() { # DRIVE CONSOLE
    exec qemu-system-x86_64 -accel "$accel" -m 256 -smp 1 -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$kernel" -initrd "$work/initramfs.gz" -append "console=ttyS0 panic=-1 quiet" \
        -chardev stdio,id=console,signal=off -serial chardev:console -drive "$1,if=virtio,discard=unmap" >"$2" 2>"$2.log"
}

machine_begin nbdcopy dotnet
program=$root/tests/Fleece.Resume.Tests/bin/Release/net10.0/Fleece.Resume.Tests.dll
[[ -f $program ]] || (cd "$root" && dotnet build -c Release tests/Fleece.Resume.Tests >"$work/build.log") || fail 'the host does not build'
make_initramfs "${kernel##*/vmlinuz-}"
make_tree
make_disk
say "kernel ${kernel##*/vmlinuz-}, $accel, $kills kills for each format"
for format in "${@:-raw}"; do prove_kills "$format"; done
say passed
