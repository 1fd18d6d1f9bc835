#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The price that a guest pays for a backup: it writes to its second disk, block by block, each synced, in these situations.

none        nothing happens
session     a session as Fleece builds it (copy-before-write, snapshot-access, export), without a reader
reading     the same, with nbdcopy that reads the snapshot into a file again and again
pull        libvirt's and virtnbdbackup's way: blockdev-backup sync=none into a qcow2 over the disk, nbdcopy reads that
push        libvirt's other way: blockdev-backup sync=full into a file, again and again

cost.py MONITOR NODE DEVICE CONSOLE FOLDER ROUNDS SECONDS     commands for the guest go to standard output
"""
import os
import re
import statistics
import subprocess
import sys
import time

from qmp import Monitor

SITUATIONS = ["none", "session", "reading", "pull", "push"]
BLOCKS = [4096, 65536]
PATH = "/machine/peripheral/{}/virtio-backend"


class Guest:
    def __init__(self, console):
        self.console = console

    def latencies(self, size_mib, block, seconds, seed, while_waiting):
        """Writes per second, and microseconds at the median and the 99th percentile."""
        start = os.path.getsize(self.console)
        print(f"run latency /dev/vdb {size_mib} {block} {seconds} {seed}", flush=True)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with open(self.console, "rb") as console:
                console.seek(start)
                text = console.read().decode("latin1")
            if found := re.search(r"LATENCY (\d+) (\d+) (\d+) \d+\s+RAN 0", text):
                return [int(number) for number in found.groups()]
            while_waiting()
            time.sleep(0.1)
        raise TimeoutError(text[-300:])


class Backup:
    """One situation: enter, leave, and a process that reads in between."""

    def __init__(self, monitor, node, device, folder, name):
        self.monitor, self.node, self.path, self.folder, self.name = monitor, node, PATH.format(device), folder, name
        self.temp = f"{folder}/cost.temp"
        self.reader = None
        nodes = monitor.do("query-named-block-nodes", flat=True)
        self.size = next(entry["image"]["virtual-size"] for entry in nodes if entry["node-name"] == node)

    def new_file(self, name):
        with open(f"{self.folder}/{name}", "wb") as file:
            file.truncate(self.size)
        return {"driver": "file", "filename": f"{self.folder}/{name}", "discard": "unmap"}

    def read(self):
        uri = f"nbd+unix:///cost?socket={self.folder}/cost.sock"
        target = f"{self.folder}/cost.copy"
        loop = f"trap 'kill $!; exit' TERM; while :; do nbdcopy '{uri}' '{target}' & wait $!; done"
        self.reader = subprocess.Popen(["bash", "-c", loop])

    def enter(self):
        do = self.monitor.do
        address = {"type": "unix", "data": {"path": f"{self.folder}/cost.sock"}}
        if self.name in ("session", "reading"):
            do("blockdev-add", driver="raw", node_name="cost-temp", discard="unmap", file=self.new_file("cost.temp"))
            do("blockdev-add", driver="copy-before-write", node_name="cost-filter", file=self.node, target="cost-temp",
               discard="unmap", on_cbw_error="break-snapshot")
            do("qom-set", path=self.path, property="drive", value="cost-filter")
            do("blockdev-add", driver="snapshot-access", node_name="cost-view", file="cost-filter", discard="unmap")
        elif self.name == "pull":
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", self.temp, str(self.size)], check=True)
            do("blockdev-add", driver="qcow2", node_name="cost-view", discard="unmap", backing=self.node,
               file={"driver": "file", "filename": self.temp})
            do("blockdev-backup", device=self.node, target="cost-view", sync="none", job_id="cost-job")
        if self.name in ("session", "reading", "pull"):
            do("nbd-server-start", addr=address)
            do("block-export-add", type="nbd", id="cost-export", node_name="cost-view", name="cost")
        if self.name in ("reading", "pull"):
            self.read()
        if self.name == "push":
            do("blockdev-add", driver="raw", node_name="cost-temp", file=self.new_file("cost.temp"))
            self.push()

    def push(self):
        self.monitor.do("blockdev-backup", device=self.node, target="cost-temp", sync="full", job_id="cost-job")

    def keep(self):
        """Pushes again when the job has ended."""
        if self.name == "push" and not self.monitor.do("query-jobs"):
            self.push()

    def leave(self):
        do = self.monitor.do
        if self.reader:
            self.reader.terminate()
            self.reader.wait()
        if self.name in ("session", "reading", "pull"):
            do("block-export-del", id="cost-export", mode="hard")
            self.until(lambda: not do("query-block-exports"))
            do("nbd-server-stop")
        if self.name in ("pull", "push"):
            try:
                do("block-job-cancel", device="cost-job")
            except RuntimeError as error:
                if "not found" not in str(error):
                    raise
            self.until(lambda: not do("query-jobs"))
        if self.name in ("session", "reading"):
            do("blockdev-del", node_name="cost-view")
            do("qom-set", path=self.path, property="drive", value=self.node)
            do("blockdev-del", node_name="cost-filter")
        if self.name == "pull":
            do("blockdev-del", node_name="cost-view")
        elif self.name != "none":
            do("blockdev-del", node_name="cost-temp")
        for name in ("cost.temp", "cost.copy"):
            if os.path.exists(f"{self.folder}/{name}"):
                os.remove(f"{self.folder}/{name}")

    @staticmethod
    def until(done):
        while not done():
            time.sleep(0.02)


def main():
    monitor_path, node, device, console, folder, rounds, seconds = sys.argv[1:]
    monitor, guest = Monitor(monitor_path), Guest(console)
    found = {(name, block): [] for name in SITUATIONS for block in BLOCKS}
    for number in range(int(rounds)):
        for block in BLOCKS:
            # Rounds alternate, so that no situation has the machine's better minutes.
            for name in SITUATIONS if number % 2 == 0 else reversed(SITUATIONS):
                backup = Backup(monitor, node, device, folder, name)
                backup.enter()
                try:
                    found[name, block].append(guest.latencies(backup.size >> 20, block, seconds, number, backup.keep))
                finally:
                    backup.leave()
    version = monitor.do("query-version")["qemu"]
    print(f"QEMU {version['major']}.{version['minor']}.{version['micro']}, medians of {rounds} rounds of {seconds} s", file=sys.stderr)
    print("| situation | block | writes/s | of none | p50 us | p99 us |\n|---|---|---|---|---|---|", file=sys.stderr)
    for block in BLOCKS:
        base = statistics.median(row[0] for row in found["none", block])
        for name in SITUATIONS:
            rate, middle, high = (statistics.median(column) for column in zip(*found[name, block]))
            print(f"| {name} | {block >> 10} KiB | {rate:.0f} | {rate / base:.2f} | {middle:.0f} | {high:.0f} |", file=sys.stderr)


if __name__ == "__main__":
    main()
