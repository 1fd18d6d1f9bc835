#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares fleecing servers on a real file system whose cache is cold.

  cold.py --peer qemu=QEMU_PEER --peer fleece=tests/peers/fleece/peer.sh --dir DIR [--size-mib 2048] [--rounds 3] [--config raw:raw]

A peer is a script as tests/peers/fleece/peer.sh is one. DIR lies on the file system to measure, not in memory. Before every
measurement the images are made anew, the server is asked for a little of the disk's end, so that it has loaded and compiled its code as
one that has run for days, everything is synced, and the caches are dropped, which takes root; a cache of the host that this machine runs
on stays. The peers alternate, in reverse order every other round. Prints one line a measurement and the ratios
of the medians to the first peer."""
import os
import random
import statistics
import time

from peers import Fio, fio, in_turn, make_peers, parser, run

MIB = 1 << 20
JOBS = {
    # name: fio's options; each runs for a fixed number of requests, so that times compare
    'randread 4k qd1': ['--rw=randread', '--bs=4k', '--iodepth=1', '--number_ios=2000'],
    'randread 4k qd16': ['--rw=randread', '--bs=4k', '--iodepth=16', '--number_ios=50000'],
    'randread 64k qd16': ['--rw=randread', '--bs=64k', '--iodepth=16', '--number_ios=12000'],
    'randwrite 4k qd16': ['--rw=randwrite', '--bs=4k', '--iodepth=16', '--number_ios=4000'],
    'randwrite 64k qd1': ['--rw=randwrite', '--bs=64k', '--iodepth=1', '--number_ios=1000'],
    'randwrite 64k qd16': ['--rw=randwrite', '--bs=64k', '--iodepth=16', '--number_ios=3000'],
    'read 64k qd1': ['--rw=read', '--bs=64k', '--iodepth=1', '--number_ios=12000'],
    'read 1m qd4': ['--rw=read', '--bs=1m', '--iodepth=4', '--number_ios=1000'],
    'write 64k qd4': ['--rw=write', '--bs=64k', '--iodepth=4', '--number_ios=6000'],
    'randrw 4k qd8': ['--rw=randrw', '--bs=4k', '--iodepth=8', '--number_ios=10000'],
}
GUESTS = {
    # name: fio's options of a guest that writes while the snapshot is copied
    'copy beside 4k': ['--rw=randwrite', '--bs=4k', '--iodepth=1', '--rate_iops=500'],
    'copy beside 64k': ['--rw=randwrite', '--bs=64k', '--iodepth=16', '--rate_iops=1000'],
}


def drop_caches():
    run('sync')
    with open('/proc/sys/vm/drop_caches', 'w') as file:
        file.write('3')


def write_golden(path, size_bytes, seed):
    numbers = random.Random(seed)
    with open(path, 'wb') as file:
        for _ in range(size_bytes // MIB):
            file.write(numbers.randbytes(MIB))


def image(path, size_bytes, golden=None):
    if os.path.exists(path):
        os.remove(path)
    suffix = os.path.splitext(path)[1][1:]
    kind = ['vpc', '-o', 'force_size=on'] if suffix == 'vhd' else [suffix]
    if golden is None:
        run('qemu-img', 'create', '-q', '-f', *kind, path, str(size_bytes))
    else:
        run('qemu-img', 'convert', '-f', 'raw', '-O', *kind, golden, path)


def warm_up(uris, size_bytes):
    """Has the server do each kind of request, in the last 16 MiB, which are a part of what is measured later."""
    for export, kind in (('active', 'randrw'), ('snapshot', 'read')):
        for block in ('4k', '64k'):
            fio(uris[export], size_bytes, '--rw=' + kind, '--bs=' + block, '--iodepth=16', f'--offset={size_bytes - 16 * MIB}')


def measure(job, uris, size_bytes):
    """The figure of a job, and the p99 of the guest's requests in microseconds."""
    if job in JOBS:
        result = fio(uris['active'], size_bytes, '--allrandrepeat=1', '--end_fsync=1', *JOBS[job])
        side = result['write' if 'write' in job else 'read']
        return side['iops'], side['clat_ns']['percentile']['99.000000'] / 1000
    guest = Fio(uris['active'], size_bytes, *GUESTS[job]) if job in GUESTS else None
    started = time.monotonic()
    run('nbdcopy', uris['snapshot'], 'null:')
    rate = size_bytes / MIB / (time.monotonic() - started)
    return rate, guest.stop()['write']['clat_ns']['percentile']['99.000000'] / 1000 if guest else 0.0


def main():
    options = parser(__doc__, size_mib=2048)
    options.add_argument('--config', default='raw:raw', help='formats of ACTIVE:TEMP')
    options.add_argument('--jobs', default=','.join(['copy', *GUESTS, *JOBS]))
    arguments = options.parse_args()
    size_bytes = arguments.size_mib * MIB
    peers = make_peers(arguments)
    golden = os.path.join(arguments.dir, 'golden.raw')
    if not os.path.exists(golden) or os.path.getsize(golden) != size_bytes:
        write_golden(golden, size_bytes, seed=7)
    active, temp = (os.path.join(arguments.dir, name + '.' + kind) for name, kind in zip(('active', 'temp'), arguments.config.split(':')))
    results = {}
    for turn in range(arguments.rounds):
        for job in arguments.jobs.split(','):
            for peer in in_turn(peers, turn):
                image(active, size_bytes, golden)
                image(temp, size_bytes)
                try:
                    uris = peer.start(active, temp)
                    warm_up(uris, size_bytes)
                    drop_caches()
                    figure, p99_us = measure(job, uris, size_bytes)
                finally:
                    peer.stop()
                results.setdefault(job, {}).setdefault(peer.name, []).append((figure, p99_us))
                print(f'{turn} {peer.name:10} {job:20} {figure:10.0f} {"IOPS" if job in JOBS else "MiB/s"} p99 {p99_us:.0f} us', flush=True)
    for job, of_peers in results.items():
        base = of_peers[peers[0].name]
        for peer in peers[1:]:
            ours = of_peers[peer.name]
            rate = statistics.median(x[0] for x in ours) / statistics.median(x[0] for x in base)
            tail = statistics.median(x[1] for x in ours) / (statistics.median(x[1] for x in base) or 1)
            print(f'{peer.name}/{peers[0].name} {job:20} {rate:.2f}' + (f' p99 {tail:.2f}' if tail else ''))


if __name__ == '__main__':
    main()
