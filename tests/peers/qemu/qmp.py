#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A client of QEMU's monitor for these scripts.

qmp.py SOCKET COMMAND [ARGUMENTS AS JSON]   prints the answer
qmp.py SOCKET state                         prints nodes, devices, exports, jobs and bitmaps, a line each, so that two moments can be compared
"""
import json
import socket
import sys
import time


class Monitor:
    def __init__(self, path, patience_s=30):
        end = time.monotonic() + patience_s
        while True:
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self.lines = self.socket.makefile("r")
        self.lines.readline()
        self.do("qmp_capabilities")

    def do(self, command, **arguments):
        request = {"execute": command, "arguments": {name.replace("_", "-"): value for name, value in arguments.items()}}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        for line in self.lines:
            answer = json.loads(line)
            if "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
        raise EOFError(f"{command}: QEMU closed the monitor")

    def state(self):
        """What must be the same after a session as before it. A bitmap's name ends with its instant, which differs."""
        nodes = self.do("query-named-block-nodes", flat=True)
        return {
            "status": self.do("query-status")["status"],
            "nodes": sorted((node["node-name"], node["drv"], node["ro"]) for node in nodes),
            "bitmaps": sorted((node["node-name"], bitmap["name"].split("@")[0], bitmap["recording"], bitmap["busy"],
                               bitmap["name"].endswith("+")) for node in nodes for bitmap in node.get("dirty-bitmaps", [])),
            "devices": sorted((device.get("qdev", ""), device.get("inserted", {}).get("node-name")) for device in self.do("query-block")),
            "exports": self.do("query-block-exports"),
            "jobs": self.do("query-jobs"),
        }


if __name__ == "__main__":
    monitor = Monitor(sys.argv[1])
    if sys.argv[2] == "state":
        for name, value in monitor.state().items():
            print(name, json.dumps(value))
    else:
        print(json.dumps(monitor.do(sys.argv[2], **(json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}))))
