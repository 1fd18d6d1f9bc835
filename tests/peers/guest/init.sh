#!/bin/sh
# SPDX-License-Identifier: MIT
# The system on the guest's disk. It writes without rest and says on the console what it has fsynced:
#   FSYNCED number sha256
# until it is told "stop"; "run COMMAND" is done and answered with "RAN status". A second disk gets a copy of each file after the
# first has it, so that no instant shows more files there, or fewer by two. With "fleece.check" on the kernel's command line it checks
# instead what it finds, and powers off.
export PATH=/bin
agent=
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
stty -echo
echo "GUEST BOOTED"

fail() {
    echo "GUEST FAILED: $*"
    poweroff -f
}

sha256sum -c -s /data/sums || fail 'the data files differ from their sums'

# The kernel has both disks by now, for both are of one kind. With "fleece.idle" there is no load, and the second has no file system.
second=
if [ -b /dev/vdb ] && ! grep -q fleece.idle /proc/cmdline; then
    mount -t ext4 -o discard /dev/vdb /second || fail 'the second disk has no file system'
    second=yes
fi

if grep -q fleece.check /proc/cmdline; then
    touch /load/ledger
    sha256sum -c -s /load/ledger || fail 'a file differs from what the ledger says'
    count=$(wc -l </load/ledger)
    if [ -n "$second" ]; then
        touch /second/ledger
        sha256sum -c -s /second/ledger || fail 'a file of the second disk differs from what the ledger says'
        behind=$((count - $(wc -l </second/ledger)))
        case $behind in 0 | 1) ;; *) fail "the second disk is $behind files behind the first" ;; esac
        umount /second
    fi
    echo "BACKUP VERIFIED $count files"
    mount -o remount,ro /
    poweroff -f
fi

# So many KiB of lines that say whose they are and where they belong: what is found in the wrong place tells where it came from.
text() {
    awk -v whose="$1" -v lines=$(($2 * 64)) 'BEGIN { while (++n <= lines) printf "%-10s%5d\n", whose, n }'
}

# Overwrites blocks that the instant holds, and deletes, renames and truncates around them.
scratch() {
    n=0
    while [ ! -e /tmp/stop ]; do
        n=$((n + 1))
        text scratch$n 64 | dd of=/scratch/blocks bs=64k iflag=fullblock seek=$((n * 37 % 256)) conv=notrunc,fsync 2>/dev/null ||
            fail dd
        cp /data/file$((n % 20)) /scratch/new && mv /scratch/new "/scratch/copy$((n % 50))" || fail cp
        rm -f "/scratch/copy$(((n + 25) % 50))"
    done
}

# Nothing of this is ever changed again, so what was fsynced before an instant is in every view of that instant.
ledger() {
    n=0
    while [ ! -e /tmp/stop ] && [ $n -lt 4000 ]; do
        n=$((n + 1))
        text file$n $((n * 7 % 24 + 1)) >/tmp/file
        sum=$(sha256sum </tmp/file)
        dd if=/tmp/file of=/load/file$n bs=64k conv=fsync 2>/dev/null || fail dd
        echo "${sum%% *}  /load/file$n" >>/load/ledger
        sync /load/ledger || fail sync
        if [ -n "$second" ]; then
            dd if=/tmp/file of=/second/file$n bs=64k conv=fsync 2>/dev/null || fail dd
            echo "${sum%% *}  /second/file$n" >>/second/ledger
            sync /second/ledger || fail sync
        fi
        echo "FSYNCED $n ${sum%% *}"
    done
}

if [ -x /bin/qemu-ga ]; then
    until [ -c "$(echo /dev/vport*p1)" ]; do usleep 10000; done
    qemu-ga --path "$(echo /dev/vport*p1)" --statedir /tmp --logfile /tmp/agent.log &
    agent=$!
fi
if ! grep -q fleece.idle /proc/cmdline; then
    scratch &
    ledger &
fi
while read -r word rest; do
    case $word in
        stop) break ;;
        run) eval "$rest"; echo "RAN $?" ;;
    esac
done
touch /tmp/stop
[ -z "$agent" ] || kill $agent
wait
[ -z "$second" ] || umount /second || fail umount
mount -o remount,ro / || fail remount
echo "GUEST STOPS"
poweroff -f
