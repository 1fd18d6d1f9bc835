# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# To be sourced by a script that boots guests: their disks and kernel, waiting for them, and the checks of their images.
# machine_begin comes first; it sets $work, $kernel and $accel.

PATH=$PATH:/usr/sbin:/sbin
machine=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
patience=${GUEST_PATIENCE:-120}
declare -a children=()


skip() { echo "skipped: $*"; exit 77; }
fail() { echo "FAILED: $*" >&2; exit 1; }
say() { awk -v from="$started" -v to="$EPOCHREALTIME" -v text="$*" 'BEGIN { printf "%6.1f s  %s\n", to - from, text }'; }

finish() {
    local code=$?
    for child in "${children[@]}"; do kill -9 "$child" 2>/dev/null || true; done
    if ((code != 0 && code != 77)) && [[ -d ${work:-} ]]; then
        tail -n 15 "$work"/*.console "$work"/*.log >&2 2>/dev/null || true
    fi
    [[ -n ${GUEST_FOLDER:-} || -z ${work:-} ]] || rm -rf "$work"
    exit $code
}

# Waits until a file has a line of that pattern, while the process that is to write it lives.
wait_for() {
    local pattern=$1 file=$2 pid=$3 end=$((SECONDS + patience))
    until grep -qs -- "$pattern" "$file"; do
        kill -0 "$pid" 2>/dev/null || grep -qs -- "$pattern" "$file" || fail "no '$pattern' in $file and its writer is gone"
        ((SECONDS < end)) || fail "no '$pattern' in $file after $patience s"
        sleep 0.05
    done
}

fsynced() { { grep -ac '^FSYNCED [0-9]* [0-9a-f]\{64\}.$' "$console" || true; } 2>/dev/null; }

# Waits until the guest has fsynced so many more files than that.
wait_for_writes() {
    local goal=$(($1 + $2)) end=$((SECONDS + patience))
    until (($(fsynced) >= goal)); do
        kill -0 "$guest" 2>/dev/null || fail 'the guest is gone'
        ((SECONDS < end)) || fail "the guest has fsynced $(fsynced) files, not $goal, after $patience s"
        sleep 0.05
    done
}

# The modules a kernel needs for its disk, in the order they load; none where they are built in.
modules() {
    local folder=/lib/modules/$1
    awk -F'[: ]+' '
        { needs[$1] = ""; for (i = NF; i > 1; i--) if ($i != "") needs[$1] = needs[$1] " " $i
          name = $1; sub(/.*\//, "", name); sub(/\.ko.*/, "", name); path[name] = $1 }
        END { for (i = 1; i <= split("virtio_pci virtio_blk virtio_console crc32c_generic ext4", wanted, " "); i++) if (wanted[i] in path) {
                  n = split(needs[path[wanted[i]]], list, " "); for (k = 1; k <= n; k++) if (!seen[list[k]]++) print list[k]
                  if (!seen[path[wanted[i]]]++) print path[wanted[i]] } }' "$folder/modules.dep" 2>/dev/null || true
}

make_initramfs() {
    local version=$1 tree=$work/initramfs path name
    mkdir -p "$tree/bin" "$tree/modules"
    cp "$busybox" "$tree/bin/busybox"
    ln -sf busybox "$tree/bin/sh"
    install -m 755 "$machine/initramfs.sh" "$tree/init"
    : >"$tree/modules/order"
    modules "$version" | while read -r path; do
        name=$(basename "${path%.ko*}").ko
        case $path in
            *.xz) xz -dc "/lib/modules/$version/$path" ;;
            *.zst) zstd -dcq "/lib/modules/$version/$path" ;;
            *) cat "/lib/modules/$version/$path" ;;
        esac >"$tree/modules/$name"
        echo "$name" >>"$tree/modules/order"
    done
    (cd "$tree" && find . | cpio -o -H newc --quiet) | gzip -1 >"$work/initramfs.gz"
}

# The files of the guest's system.
make_tree() {
    local tree=$work/tree i
    mkdir -p "$tree"/{bin,sbin,proc,dev,tmp,data,load,scratch,second}
    cp "$busybox" "$tree/bin/busybox"
    ln -sf busybox "$tree/bin/sh"
    install -m 755 "$machine/init.sh" "$tree/sbin/init"
    for i in $(seq 0 19); do head -c $((i * 40001 + 1)) /dev/urandom >"$tree/data/file$i"; done
    head -c 16M /dev/urandom >"$tree/scratch/blocks"
    (cd "$tree" && sha256sum data/file* | sed 's# data# /data#' >data/sums)
}

# A program of this machine for the guest, with the libraries it needs.
add_program() {
    local tree=$work/tree path
    cp -L "$1" "$tree/bin/"
    { ldd "$1" 2>/dev/null || true; } | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }' | while read -r path; do
        mkdir -p "$tree${path%/*}"
        cp -L "$path" "$tree$path"
    done
}

make_disk() { mkfs.ext4 -q -d "$work/tree" "$work/root.raw" "${1:-192M}" >"$work/mkfs.log"; }

# A device that opens may still run no guest, as in some nested machines. A kernel without a disk panics, and QEMU ends, in a
# second or two where it runs at all.
kvm_works() {
    { : <>/dev/kvm; } 2>/dev/null && timeout 10 qemu-system-x86_64 -accel kvm -m 256 -nodefaults -no-user-config -display none \
        -no-reboot -kernel "$kernel" -append 'panic=-1' >/dev/null 2>&1
}

# A crashed machine's file system is whole once its journal is replayed, as mounting it does. e2fsck -n reads without replaying
# and would complain about what the journal holds. So the journal is replayed in a copy, and nothing else may be wrong with it.
check_crashed() {
    cp --sparse=always "$1" "$2"
    e2fsck -E journal_only -y "$2" >"$work/replay.log" 2>&1 || (($? == 1)) || fail "the journal of $1 cannot be replayed"
    e2fsck -fn "$2" >"$work/e2fsck.log" 2>&1 || fail "e2fsck -fn of $1: $(cat "$work/e2fsck.log")"
}

# Every file of the list, which has the console's lines, must be in the image with its content.
check_files() {
    local image=$1 list=$2 folder=$work/restored
    rm -rf "$folder"
    mkdir "$folder"
    debugfs -R "rdump /load $folder" "$image" >"$work/debugfs.log" 2>&1
    awk '{ print $3 "  load/file" $2 }' "$list" >"$list.sums"
    (cd "$folder" && sha256sum --quiet -c "$list.sums") || fail "$image lacks files that were fsynced"
}

# Sees to what is needed, the programs named among it, and makes the folder to work in.
machine_begin() {
    local program
    for program in qemu-system-x86_64 qemu-img mkfs.ext4 e2fsck debugfs cpio "$@"; do
        command -v "$program" >/dev/null || skip "$program is not installed"
    done
    busybox=$(command -v busybox) || skip 'busybox is not installed (package busybox-static)'
    ! ldd "$busybox" >/dev/null 2>&1 || skip 'busybox is linked dynamically; the guest has no libraries (package busybox-static)'
    kernel=${GUEST_KERNEL:-$(ls -v /boot/vmlinuz-* 2>/dev/null | tail -n 1 || true)}
    [[ -r $kernel ]] || skip 'no readable kernel in /boot (package linux-image-cloud-amd64); set GUEST_KERNEL'
    accel=${GUEST_ACCEL:-tcg}
    if [[ -z ${GUEST_ACCEL:-} ]] && kvm_works; then accel=kvm; fi
    started=$EPOCHREALTIME
    trap finish EXIT
    work=${GUEST_FOLDER:-$(mktemp -d "${TMPDIR:-/tmp}/fleece-guest.XXXXXX")}
    mkdir -p "$work"
    work=$(cd "$work" && pwd)
}
