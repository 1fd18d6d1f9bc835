#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Keeps a host busy for long and judges whether it stays as it was.

  run.sh [--seconds 3600] [--restart-every 900] [--dir DIR] [--seed 7]

The host serves a raw, a qcow2, a VHDX and a VHD disk of 256 MiB. Each has a guest that writes blocks of 4 to 64 KiB and reads them back, and a
probe writes 4 KiB to the raw disk 50 times a second, one at a time. One shell backs disks up, starts and stops sessions and reads
snapshots, to the end and half (jobs.ps1). Clients die: nbdcopy is killed at a random moment, and connections end in the middle of a
request. The host is killed with SIGKILL every --restart-every seconds and started again; guests reconnect, and hold every write that was
acknowledged.

Prints a line every 10 seconds: seconds, life, MiB resident, descriptors, threads, and median, p99 and longest wait of the probe in
milliseconds. Exit code 0 when no guest read a wrong byte or met an error, the shell met none, and within the lives of the host the last third
of the samples has no more memory (8 MiB), descriptors (4) and threads (4) than the second, by the median of the lives; and the median of
the probe's p99 in the last third of the run is at most twice that of the second, or below a millisecond."""
import argparse
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import nbd

MIB = 1 << 20
SIZE = 256 * MIB
FORMATS = {'raw': 'raw', 'qcow2': 'qcow2', 'vhdx': 'vhdx', 'vhd': 'vpc'}
SAMPLE_SECONDS = 10
ALLOWED = {'MiB': 8, 'descriptors': 4, 'threads': 4}


class Load:
    """What all threads share."""

    def __init__(self, folder, seed):
        self.folder, self.seed = folder, seed
        self.over = threading.Event()
        self.faults, self.waits = [], []
        self.lock = threading.Lock()

    def fault(self, text):
        with self.lock:
            self.faults.append(text)
        print('FAULT', text, flush=True)

    def uri(self, disk):
        return f'nbd+unix:///{disk}?socket={self.folder}/{disk}.sock'

    def connect(self, disk):
        """A connection, as soon as there is one; None at the end."""
        while not self.over.is_set():
            try:
                handle = nbd.NBD()
                handle.connect_uri(self.uri(disk))
                return handle
            except nbd.Error:
                time.sleep(0.2)
        return None


def is_cut(handle):
    return handle.aio_is_dead() or handle.aio_is_closed()


def guest(load, disk, first_block, blocks, seed):
    """Writes blocks, each with its own and its turn's number, and reads one back for each that it writes."""
    numbers, handle, turn = random.Random(seed), None, 0
    content = {}
    while not load.over.is_set():
        handle = handle or load.connect(disk)
        if handle is None:
            return
        turn += 1
        block = numbers.randrange(blocks)
        length = 4096 << numbers.randrange(5)
        data = (f'{disk} {block} {turn} '.encode() * (length // 8))[:length]
        try:
            # Until it is acknowledged it may be there or not.
            content.pop(block, None)
            handle.pwrite(data, (first_block + block) * 65536)
            content[block] = data
            seen = numbers.choice(list(content))
            if handle.pread(len(content[seen]), (first_block + seen) * 65536) != content[seen]:
                load.fault(f'{disk}: block {seen} is not as it was written')
        except nbd.Error as error:
            if not is_cut(handle):
                load.fault(f'{disk}: {error}')
            handle = None
        time.sleep(0.005)


def probe(load):
    handle, numbers, data = None, random.Random(1), b'p' * 4096
    while not load.over.is_set():
        handle = handle or load.connect('raw')
        if handle is None:
            return
        started = time.perf_counter()
        try:
            handle.pwrite(data, 200 * MIB + numbers.randrange(8192) * 4096)
            with load.lock:
                load.waits.append((time.perf_counter() - started) * 1000)
        except nbd.Error as error:
            if not is_cut(handle):
                load.fault(f'probe: {error}')
            handle = None
        time.sleep(max(0.0, 0.02 - (time.perf_counter() - started)))


def dying(load, seed):
    """Clients that are killed while they read, and connections that end within a request."""
    numbers = random.Random(seed)
    while not load.over.is_set():
        disk = numbers.choice(list(FORMATS))
        process = subprocess.Popen(['nbdcopy', load.uri(disk), 'null:'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(numbers.random() * 0.5)
        process.kill()
        process.wait()
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f'{load.folder}/{disk}.sock')
                connection.recv(18)
                name = disk.encode()
                connection.sendall((3).to_bytes(4, 'big') + b'IHAVEOPT' + (1).to_bytes(4, 'big') + len(name).to_bytes(4, 'big') + name)
                connection.recv(10)
                connection.sendall((0x25609513).to_bytes(4, 'big') + (1).to_bytes(4, 'big') + (7).to_bytes(8, 'big') +
                                   (0).to_bytes(8, 'big') + (MIB).to_bytes(4, 'big') + bytes(numbers.randrange(4096)))
        except OSError:
            pass
        time.sleep(numbers.random() * 3)


class Host:
    def __init__(self, load):
        self.load, self.process = load, None
        self.environment = dict(os.environ, FLEECE_HOST=f'{load.folder}/host.sock')

    def shell(self, *command):
        return [*os.environ['SOAK_PWSH'].split(' ')[:-1], *command]

    def start(self):
        command = f'Import-Module $env:FLEECE_MODULE; Start-FleeceHost -StatePath {self.load.folder}/state -SocketPath {self.load.folder}/host.sock'
        with open(f'{self.load.folder}/host.log', 'a', encoding='utf-8') as log:
            self.process = subprocess.Popen(self.shell('-Command', command), env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def mount(self):
        mounts = '; '.join(
            f"$null = Mount-FleeceDisk {self.load.folder}/{disk}.{disk} -Name {disk} -ListenUri 'nbd+unix:///?socket={self.load.folder}/{disk}.sock'"
            + (' -Format Raw' if disk == 'raw' else '') for disk in FORMATS)
        wait = 'foreach ($i in 1..300) { try { $null = Get-FleeceHost -ErrorAction Stop; break } catch { Start-Sleep -Milliseconds 100 } }'
        command = f"$ErrorActionPreference = 'Stop'; Import-Module $env:FLEECE_MODULE; {wait}; {mounts}"
        subprocess.run(self.shell('-Command', command), env=self.environment, check=True)

    def figures(self):
        with open(f'/proc/{self.process.pid}/status', encoding='utf-8') as file:
            status = dict(line.split(':', 1) for line in file)
        return {
            'MiB': int(status['VmRSS'].split()[0]) / 1024,
            'descriptors': len(os.listdir(f'/proc/{self.process.pid}/fd')),
            'threads': int(status['Threads']),
        }


def judge(samples, faults):
    """Says how the figures went; true when they are flat and nothing was wrong."""
    good = not faults
    lives = {}
    for sample in samples:
        lives.setdefault(sample['life'], []).append(sample)
    for name, allowed in ALLOWED.items():
        growths = []
        for life in lives.values():
            third = len(life) // 3
            if third >= 3:
                second, last = life[third:2 * third], life[2 * third:3 * third]
                growths.append(statistics.mean(x[name] for x in last) - statistics.mean(x[name] for x in second))
        growth = statistics.median(growths) if growths else 0.0
        good &= growth <= allowed
        print(f'{name}: {growth:+.1f} from the second to the last third of a life ({allowed} allowed), lives {[round(g, 1) for g in growths]}')
    third = len(samples) // 3
    second, last = (statistics.median(x['p99'] for x in part) for part in (samples[third:2 * third], samples[2 * third:]))
    good &= last <= max(2 * second, 1)
    print(f'p99 of the probe: {second:.2f} ms in the second third, {last:.2f} ms in the last')
    return good


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--seconds', type=int, default=3600)
    options.add_argument('--restart-every', type=int, default=900)
    options.add_argument('--dir')
    options.add_argument('--seed', type=int, default=7)
    arguments = options.parse_args()
    folder = arguments.dir or tempfile.mkdtemp(prefix='fleece-soak-')
    os.makedirs(folder, exist_ok=True)
    load = Load(folder, arguments.seed)
    print(f'seed {arguments.seed}, folder {folder}', flush=True)
    for disk, kind in FORMATS.items():
        size = ['-o', 'force_size=on'] if kind == 'vpc' else []
        subprocess.run(['qemu-img', 'create', '-q', '-f', kind, *size, f'{folder}/{disk}.{disk}', str(SIZE)], check=True)
    host = Host(load)
    host.start()
    jobs = None
    try:
        host.mount()
        jobs = subprocess.Popen(
            host.shell('-File', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'jobs.ps1'), folder, str(arguments.seed)),
            env=host.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        done = {'jobs': 0}

        def listen():
            for line in jobs.stdout:
                if line.startswith('JOBS '):
                    done['jobs'] = int(line[5:])
                else:
                    load.fault('shell: ' + line.strip())

        threads = [threading.Thread(target=listen, daemon=True)]
        for index, disk in enumerate(FORMATS):
            threads.append(threading.Thread(target=guest, args=(load, disk, 0, 1024, arguments.seed + index), daemon=True))
        threads += [threading.Thread(target=probe, args=(load,), daemon=True), threading.Thread(target=dying, args=(load, arguments.seed), daemon=True)]
        for thread in threads:
            thread.start()
        samples = watch(load, host, arguments, done)
    finally:
        open(f'{folder}/stop', 'w').close()
        load.over.set()
        if jobs:
            try:
                jobs.wait(120)
            except subprocess.TimeoutExpired:
                load.fault('the shell does not end')
                jobs.kill()
        host.process.send_signal(signal.SIGTERM)
        host.process.wait(60)
    good = judge(samples, load.faults)
    print(f'{"Good" if good else "NOT GOOD"}: {done["jobs"]} jobs, {len(load.faults)} faults')
    if not arguments.dir:
        shutil.rmtree(folder)
    sys.exit(0 if good else 1)


def watch(load, host, arguments, done):
    samples, life = [], 0
    started = sampled = restarted = time.monotonic()
    while time.monotonic() - started < arguments.seconds:
        time.sleep(0.2)
        now = time.monotonic()
        if host.process.poll() is not None:
            load.fault(f'the host has ended with {host.process.returncode}')
            return samples
        if now - restarted >= arguments.restart_every and now - started < arguments.seconds - 3 * SAMPLE_SECONDS:
            host.process.kill()
            host.process.wait()
            host.start()
            restarted, life = now, life + 1
        if now - sampled >= SAMPLE_SECONDS:
            sampled = now
            with load.lock:
                waits, load.waits = sorted(load.waits), []
            if len(waits) >= 100:
                sample = dict(host.figures(), life=life, p50=statistics.median(waits), p99=waits[len(waits) * 99 // 100], longest=waits[-1])
                samples.append(sample)
                print(f'{now - started:.0f} {life} {sample["MiB"]:.0f} MiB {sample["descriptors"]} {sample["threads"]} '
                      f'{sample["p50"]:.2f} {sample["p99"]:.2f} {sample["longest"]:.0f} ms, {done["jobs"]} jobs', flush=True)
    return samples


if __name__ == '__main__':
    main()
