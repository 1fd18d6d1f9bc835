#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a session adds to the latency of a guest's writes, with readers of several kinds.

  latency.py --peer qemu=QEMU_PEER --peer fleece=tests/peers/fleece/peer.sh --dir DIR [--size-mib 1024] [--rounds 3]

A peer is a script as tests/peers/fleece/peer.sh is one. The guest writes at random, one request at a time and IOPS a second, so
that a pause shows in the latencies. Readers: "no session", "none", "full" (nbdcopy as fast as it can, again and again), "rated"
(100 MiB/s) and "stalled" (a client that asks and takes no answers). Prints one line a measurement, with the server's garbage
collections where it counts them, and the medians."""
import os
import signal
import statistics
import subprocess
import sys
import time

from peers import fio, in_turn, make_peers, parser, run

READERS = ['no session', 'none', 'full', 'rated', 'stalled']
SINK = {
    'rated': 'import sys,time\nt=time.monotonic();n=0\n'
             'while d:=sys.stdin.buffer.read(1<<20):\n n+=len(d);time.sleep(max(0,t+n/(100<<20)-time.monotonic()))',
    'stalled': 'import time\ntime.sleep(3600)',
}
COLUMNS = ['50.000000', '99.000000', '99.900000']


def start_reader(kind, uri):
    if kind in ('no session', 'none'):
        return None
    if kind == 'full':
        command = 'while nbdcopy "$0" null:; do :; done'
    else:
        command = 'nbdcopy "$0" - | "$1" -c "$2"'
    arguments = [command, uri, sys.executable, SINK.get(kind, '')]
    return subprocess.Popen(['bash', '-c', *arguments], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(peer, reader, block, arguments, active, temp):
    size = arguments.size_mib << 20
    for path in (active, temp):
        if os.path.exists(path):
            os.remove(path)
    with open(active, 'wb') as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    run('truncate', '-s', str(size), temp)
    uris = peer.start(active, '-' if reader == 'no session' else temp)
    reading = None
    try:
        reading = start_reader(reader, uris.get('snapshot'))
        time.sleep(0.5)
        result = fio(uris['active'], size, '--rw=randwrite', '--bs=' + block, '--iodepth=1', f'--rate_iops={arguments.iops}',
                     '--time_based', f'--runtime={arguments.seconds}', '--ramp_time=1')
        collections = os.path.join(peer.state, 'collections')
        collected = open(collections, encoding='utf-8').read().strip() if os.path.exists(collections) else ''
    finally:
        if reading is not None:
            os.killpg(reading.pid, signal.SIGKILL)
            reading.wait()
        peer.stop()
    side = result['write']['clat_ns']
    return [side['percentile'][column] / 1000 for column in COLUMNS] + [side['max'] / 1000], collected


def main():
    options = parser(__doc__, size_mib=1024)
    options.add_argument('--seconds', type=int, default=5)
    options.add_argument('--iops', type=int, default=1000)
    arguments = options.parse_args()
    peers = make_peers(arguments)
    active, temp = (os.path.join(arguments.dir, name + '.raw') for name in ('active', 'temp'))
    results = {}
    for turn in range(arguments.rounds):
        for block in ('4k', '64k'):
            for reader in READERS:
                for peer in in_turn(peers, turn):
                    figures, collected = measure(peer, reader, block, arguments, active, temp)
                    results.setdefault((block, reader, peer.name), []).append(figures)
                    print(turn, block, reader, peer.name, 'p50 %.0f p99 %.0f p99.9 %.0f max %.0f us' % tuple(figures), collected, flush=True)
    print('\nmedians: block, reader, peer, p50, p99, p99.9, max in us')
    for key, figures in results.items():
        print(*key, *('%.0f' % statistics.median(column) for column in zip(*figures)))


if __name__ == '__main__':
    main()
