# SPDX-License-Identifier: MIT
"""What the comparisons of fleecing servers share: the peers, their order, and how fio is asked."""
import argparse
import json
import os
import signal
import subprocess


def run(*command, **keywords):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **keywords).stdout


class Peer:
    """A server that a script starts and stops, as tests/peers/fleece/peer.sh does."""

    def __init__(self, name, script, folder):
        self.name, self.script = name, script
        self.state = os.path.join(folder, 'state-' + name)
        self.environment = dict(os.environ, PEER_STATE=self.state)

    def start(self, active, temp):
        """Serves ACTIVE, with a session unless TEMP is "-"; returns what the script printed."""
        text = run(self.script, 'start', active, temp, env=self.environment)
        return dict(line.split('=', 1) for line in text.splitlines() if '=' in line)

    def stop(self):
        run(self.script, 'stop', env=self.environment)


def parser(description, size_mib):
    """A parser with the options that every comparison has."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument('--peer', action='append', required=True, metavar='NAME=SCRIPT')
    result.add_argument('--dir', required=True)
    result.add_argument('--size-mib', type=int, default=size_mib)
    result.add_argument('--rounds', type=int, default=3)
    return result


def make_peers(arguments):
    os.makedirs(arguments.dir, exist_ok=True)
    return [Peer(*peer.split('=', 1), arguments.dir) for peer in arguments.peer]


def in_turn(peers, turn):
    """The peers of a round: in reverse order every other time."""
    return peers if turn % 2 == 0 else reversed(peers)


class Fio:
    """A job against an export, which runs until it has done what its options say, or is stopped."""

    def __init__(self, uri, size_bytes, *options):
        self.process = subprocess.Popen(
            ['fio', '--name=j', '--ioengine=nbd', '--uri=' + uri, f'--size={size_bytes}', '--thread', '--randseed=7',
             '--output-format=json', *options], stdout=subprocess.PIPE, text=True)

    def result(self):
        """fio's record of the job, when it has ended."""
        text, _ = self.process.communicate()
        if self.process.returncode not in (0, 128):
            raise subprocess.CalledProcessError(self.process.returncode, self.process.args, text)
        return json.loads(text[text.index('{'):])['jobs'][0]

    def stop(self):
        """Ends the job; returns what it has done until now."""
        self.process.send_signal(signal.SIGINT)
        return self.result()


def fio(uri, size_bytes, *options):
    """Runs one job against an export; returns fio's record of it."""
    return Fio(uri, size_bytes, *options).result()
