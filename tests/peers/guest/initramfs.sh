#!/bin/sh
# SPDX-License-Identifier: MIT
# The guest's first program: loads the modules for its disk, mounts it and hands over to it.
/bin/busybox mkdir -p /proc /dev /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do
    /bin/busybox insmod "/modules/$module"
done </modules/order
# Probing a disk takes as long as it takes; the kernel announces it by the device node.
until [ -b /dev/vda ]; do /bin/busybox usleep 10000; done
# Deleted files become discards, so that the session sees those as well.
/bin/busybox mount -t ext4 -o discard,rw /dev/vda /root || /bin/busybox poweroff -f
exec /bin/busybox switch_root /root /sbin/init
