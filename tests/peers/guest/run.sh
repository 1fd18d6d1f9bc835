#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Backs up a virtual machine that runs on a disk Fleece serves, and proves the backup: run.sh [raw|qcow2]...
# The guest writes and fsyncs all the while and says on its console what it has fsynced. See docs/testing.md for what is proved.
# Exit code 77 says that something is missing here, and what. $GUEST_KERNEL names a kernel other than the newest in /boot,
# $GUEST_ACCEL "kvm" or "tcg", $GUEST_FOLDER a folder to work in, which is kept then, $GUEST_PATIENCE the seconds to wait for
# one thing, and $FLEECE_MODULE another module's manifest than the one under output/.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
root=$(cd "$here/../../.." && pwd)
source "$here/../fleece/pwsh.sh"
source "$here/machine.sh"
# Becomes QEMU, so that its process id is the caller's: a guest that outlives this script would reconnect to the next run's
# server, and two guests would write one disk.
boot() { # DRIVE CONSOLE [KERNEL ARGUMENTS]
    exec qemu-system-x86_64 -accel "$accel" -m 256 -smp 2 -nodefaults -no-user-config -display none -no-reboot \
        -kernel "$kernel" -initrd "$work/initramfs.gz" -append "console=ttyS0 panic=-1 quiet ${3:-}" \
        -chardev stdio,id=console,signal=off -serial chardev:console -drive "$1,if=virtio,discard=unmap" >"$2" 2>"$2.log"
}

source "$here/prove.sh"

machine_begin nbdcopy dotnet
fleece_pwsh "$root" 2>"$work/build.log"
make_initramfs "${kernel##*/vmlinuz-}"
make_tree
make_disk
say "kernel ${kernel##*/vmlinuz-}, $accel"
for format in "${@:-raw}"; do prove "$format"; done
say passed
