#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares fleecing servers on a real file system whose cache is cold.

  cold.py --peer qemu=QEMU_PEER --peer fleece=tests/peers/fleece/peer.sh --dir DIR [--size-mib 2048] [--rounds 3] [--config raw:raw]

A peer is a script as tests/peers/fleece/peer.sh is one. DIR lies on the file system to measure, not in memory. Before every
measurement the images are made anew, everything is synced and the caches are dropped, which takes root. The peers alternate,
in reverse order every other round. Prints one line a measurement and the ratios of the medians to the first peer."""
import argparse
import json
import os
import random
import statistics
import subprocess
import time

MIB = 1 << 20
JOBS = {
    # name: fio's options; each runs for a fixed number of requests, so that times compare
    'randread 4k qd1': ['--rw=randread', '--bs=4k', '--iodepth=1', '--number_ios=2000'],
    'randread 4k qd16': ['--rw=randread', '--bs=4k', '--iodepth=16', '--number_ios=8000'],
    'randread 64k qd16': ['--rw=randread', '--bs=64k', '--iodepth=16', '--number_ios=4000'],
    'randwrite 4k qd16': ['--rw=randwrite', '--bs=4k', '--iodepth=16', '--number_ios=4000'],
    'randwrite 64k qd1': ['--rw=randwrite', '--bs=64k', '--iodepth=1', '--number_ios=1000'],
    'randwrite 64k qd16': ['--rw=randwrite', '--bs=64k', '--iodepth=16', '--number_ios=3000'],
}


def run(*command, **keywords):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **keywords).stdout


def drop_caches():
    run('sync')
    with open('/proc/sys/vm/drop_caches', 'w') as file:
        file.write('3')


def write_golden(path, size_bytes, seed):
    numbers = random.Random(seed)
    with open(path, 'wb') as file:
        for _ in range(size_bytes // MIB):
            file.write(numbers.randbytes(MIB))


class Peer:
    def __init__(self, name, script, folder):
        self.name, self.script = name, script
        self.environment = dict(os.environ, PEER_STATE=os.path.join(folder, 'state-' + name))

    def start(self, active, temp):
        text = run(self.script, 'start', active, temp, env=self.environment)
        return dict(line.split('=', 1) for line in text.splitlines() if '=' in line)

    def stop(self):
        run(self.script, 'stop', env=self.environment)


def image(path, size_bytes, golden=None):
    if os.path.exists(path):
        os.remove(path)
    kind = os.path.splitext(path)[1][1:]
    if golden is None:
        run('qemu-img', 'create', '-q', '-f', kind, path, str(size_bytes))
    else:
        run('qemu-img', 'convert', '-f', 'raw', '-O', kind, golden, path)


def measure(job, uris, size_bytes):
    started = time.monotonic()
    if job == 'copy':
        run('nbdcopy', uris['snapshot'], 'null:')
        return size_bytes / MIB / (time.monotonic() - started), 0.0
    text = run('fio', '--name=j', '--ioengine=nbd', '--uri=' + uris['active'], f'--size={size_bytes}', '--randseed=7', '--thread',
               '--allrandrepeat=1', '--output-format=json', '--end_fsync=1', *JOBS[job])
    result = json.loads(text[text.index('{'):])['jobs'][0]
    side = result['write' if 'write' in job else 'read']
    return side['iops'], side['clat_ns']['percentile']['99.000000'] / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--peer', action='append', required=True, metavar='NAME=SCRIPT')
    parser.add_argument('--dir', required=True)
    parser.add_argument('--size-mib', type=int, default=2048)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--config', default='raw:raw', help='formats of ACTIVE:TEMP')
    parser.add_argument('--jobs', default=','.join(['copy', *JOBS]))
    arguments = parser.parse_args()
    os.makedirs(arguments.dir, exist_ok=True)
    size_bytes = arguments.size_mib * MIB
    peers = [Peer(*peer.split('=', 1), arguments.dir) for peer in arguments.peer]
    golden = os.path.join(arguments.dir, 'golden.raw')
    if not os.path.exists(golden) or os.path.getsize(golden) != size_bytes:
        write_golden(golden, size_bytes, seed=7)
    active, temp = (os.path.join(arguments.dir, name + '.' + kind) for name, kind in zip(('active', 'temp'), arguments.config.split(':')))
    results = {}
    for turn in range(arguments.rounds):
        for job in arguments.jobs.split(','):
            for peer in peers if turn % 2 == 0 else reversed(peers):
                if 'write' in job or not os.path.exists(active):
                    image(active, size_bytes, golden)
                image(temp, size_bytes)
                try:
                    uris = peer.start(active, temp)
                    drop_caches()
                    figure, p99_us = measure(job, uris, size_bytes)
                finally:
                    peer.stop()
                results.setdefault(job, {}).setdefault(peer.name, []).append((figure, p99_us))
                print(f'{turn} {peer.name:10} {job:20} {figure:10.0f} {"MiB/s" if job == "copy" else "IOPS"} p99 {p99_us:.0f} us', flush=True)
    for job, of_peers in results.items():
        base = of_peers[peers[0].name]
        for peer in peers[1:]:
            ours = of_peers[peer.name]
            rate = statistics.median(x[0] for x in ours) / statistics.median(x[0] for x in base)
            tail = statistics.median(x[1] for x in ours) / (statistics.median(x[1] for x in base) or 1)
            print(f'{peer.name}/{peers[0].name} {job:20} {rate:.2f}' + (f' p99 {tail:.2f}' if tail else ''))


if __name__ == '__main__':
    main()
