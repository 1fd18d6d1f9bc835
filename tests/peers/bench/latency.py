#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a session adds to the latency of a guest's writes, with readers of several kinds.

  latency.py --peer qemu=QEMU_PEER --peer fleece=tests/peers/fleece/peer.sh --dir DIR [--size-mib 1024] [--rounds 3]

A peer is a script as tests/peers/fleece/peer.sh is one. The guest writes at random, one request at a time and IOPS a second, so
that a pause shows in the latencies. Readers: "no session", "none", "full" (nbdcopy as fast as it can, again and again), "rated"
(100 MiB/s) and "stalled" (a client that asks and takes no answers). Prints one line a measurement, with the server's garbage
collections where it counts them, and the medians."""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time

READERS = ['no session', 'none', 'full', 'rated', 'stalled']
SINK = {
    'rated': 'import sys,time\nt=time.monotonic();n=0\n'
             'while d:=sys.stdin.buffer.read(1<<20):\n n+=len(d);time.sleep(max(0,t+n/(100<<20)-time.monotonic()))',
    'stalled': 'import time\ntime.sleep(3600)',
}
COLUMNS = ['50.000000', '99.000000', '99.900000']


def run(*command, **keywords):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **keywords).stdout


def start_reader(kind, uri):
    if kind in ('no session', 'none'):
        return None
    if kind == 'full':
        command = 'while nbdcopy "$0" null:; do :; done'
    else:
        command = 'nbdcopy "$0" - | "$1" -c "$2"'
    arguments = [command, uri, sys.executable, SINK.get(kind, '')]
    return subprocess.Popen(['bash', '-c', *arguments], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure(script, environment, reader, size, block, seconds, iops, active, temp):
    for path in (active, temp):
        if os.path.exists(path):
            os.remove(path)
    with open(active, 'wb') as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    run('truncate', '-s', str(size), temp)
    text = run(script, 'start', active, '-' if reader == 'no session' else temp, env=environment)
    uris = dict(line.split('=', 1) for line in text.splitlines() if '=' in line)
    reading = None
    try:
        reading = start_reader(reader, uris.get('snapshot'))
        time.sleep(0.5)
        text = run('fio', '--name=j', '--ioengine=nbd', '--uri=' + uris['active'], f'--size={size}', '--thread', '--rw=randwrite',
                   '--bs=' + block, '--iodepth=1', f'--rate_iops={iops}', '--time_based', f'--runtime={seconds}', '--ramp_time=1',
                   '--randseed=7', '--output-format=json')
        collections = os.path.join(environment['PEER_STATE'], 'collections')
        collected = open(collections, encoding='utf-8').read().strip() if os.path.exists(collections) else ''
    finally:
        if reading is not None:
            os.killpg(reading.pid, signal.SIGKILL)
            reading.wait()
        run(script, 'stop', env=environment)
    side = json.loads(text[text.index('{'):])['jobs'][0]['write']['clat_ns']
    return [side['percentile'][column] / 1000 for column in COLUMNS] + [side['max'] / 1000], collected


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--peer', action='append', required=True, metavar='NAME=SCRIPT')
    parser.add_argument('--dir', required=True)
    parser.add_argument('--size-mib', type=int, default=1024)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=int, default=5)
    parser.add_argument('--iops', type=int, default=1000)
    arguments = parser.parse_args()
    os.makedirs(arguments.dir, exist_ok=True)
    peers = [peer.split('=', 1) for peer in arguments.peer]
    active, temp = (os.path.join(arguments.dir, name + '.raw') for name in ('active', 'temp'))
    results = {}
    for turn in range(arguments.rounds):
        for block in ('4k', '64k'):
            for reader in READERS:
                for name, script in peers if turn % 2 == 0 else reversed(peers):
                    environment = dict(os.environ, PEER_STATE=os.path.join(arguments.dir, 'state-' + name))
                    figures, collected = measure(script, environment, reader, arguments.size_mib << 20, block, arguments.seconds,
                                                 arguments.iops, active, temp)
                    results.setdefault((block, reader, name), []).append(figures)
                    print(turn, block, reader, name, 'p50 %.0f p99 %.0f p99.9 %.0f max %.0f us' % tuple(figures), collected, flush=True)
    print('\nmedians: block, reader, peer, p50, p99, p99.9, max in us')
    for key, figures in results.items():
        print(*key, *('%.0f' % statistics.median(column) for column in zip(*figures)))


if __name__ == '__main__':
    main()
