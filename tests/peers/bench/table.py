#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table "Side by side with QEMU, over NBD" of docs/benchmarks.md: measures and prints it, or prints it of runs that were made.

  table.py --harness HARNESS_DIR --dir DIR [--golden DIR2] [--configs raw:raw,qcow2:qcow2] [--size-mib 2048] [--rounds 3] [--out r.jsonl]
  table.py --from r.jsonl [more.jsonl]

HARNESS_DIR holds the side-by-side harness, which is not part of this repository: run.py and peers/qemu/peer.sh. It starts Fleece
with tests/peers/fleece/peer.sh and alternates the two. A configuration is the formats of ACTIVE:TEMP. Progress goes to the standard
error, the table to the standard output. Ends with 1 if a measurement failed; such measurements are listed and left out."""
import argparse
import collections
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
NOISY_CORES = 0.3  # processors that others took during a measurement; the harness calls it clean below that
GUEST_MBPS = 128 * 1.048576  # what the harness asks of a guest of the "rated" variants
FAILURES = ('error', 'fio_error', 'guest_error', 'read_errors', 'trim_errors')


def divide(value, base):
    return value / base if value is not None and base else None


def own(workload, variant, key):
    """A figure of Fleece itself."""
    return lambda of: of('fleece', workload, variant, key)


def own_ratio(figure, base):
    return lambda of: divide(figure(of), base(of))


def to_qemu(workload, variant, key):
    """A figure of Fleece's divided by QEMU's."""
    return lambda of: divide(of('fleece', workload, variant, key), of('qemu', workload, variant, key))


def decimal(value):
    return f'{value:.0f}' if value >= 10 else f'{value:.2f}'


def fraction(value):
    return '1/' + decimal(1 / value) if 0 < value < 1 else decimal(value)


# What the design asks of a figure: how it is written, whether a value has it, and how a value is written.
Reach = collections.namedtuple('Reach', 'text holds show', defaults=[decimal])


def at_least(reach):
    return Reach(f'{reach:g}', lambda value: value >= reach)


def below(reach):
    return Reach(f'{reach:g}', lambda value: value < reach)


NONE = Reach('', lambda value: True)


def writes(workload, block, touch, reach_qd16, reach_qd1):
    return [(to_qemu(workload, f'{block} qd{depth} {touch}', 'iops'), at_least(reach))
            for depth, reach in ((16, reach_qd16), (1, reach_qd1))]


def first_to_plain(key, reach_4k, reach_64k):
    return [(own_ratio(own('W1', f'{block} qd16 first', key), own('W0', f'{block} qd16 plain', key)), reach)
            for block, reach in (('4k', reach_4k), ('64k', reach_64k))]


# Title, what stands between the figures of a cell, and the figures, each with what the design asks of it in its section 11.
ROWS = [
    ('W0, no session, IOPS: 4k qd16 / qd1', ' / ', writes('W0', '4k', 'plain', 3.5, 1.5)),
    ('W0, no session, IOPS: 64k qd16 / qd1', ' / ', writes('W0', '64k', 'plain', 2, 1.5)),
    ('W1 first touch, IOPS: 4k qd16 / qd1', ' / ', writes('W1', '4k', 'first', 6, 2.5)),
    ('W1 first touch, IOPS: 64k qd16 / qd1', ' / ', writes('W1', '64k', 'first', 2, 3)),
    ('W1 second touch, IOPS: 4k qd16 / qd1', ' / ', writes('W1', '4k', 'second', 3.5, 1.5)),
    ('W1 second touch, IOPS: 64k qd16 / qd1', ' / ', writes('W1', '64k', 'second', 2, 1.5)),
    ('W2 read: `nbdcopy` to `null:` / to a file / `qemu-img`', ' / ',
     [(to_qemu('W2', how, 'MBps'), at_least(reach)) for how, reach in (('nbdcopy-null', 2.4), ('nbdcopy-file', 2), ('qemu-img', 1.7))]),
    ('W3 read, guest at 128 MiB/s', '', [(to_qemu('W3', 'reader rated', 'MBps'), at_least(3))]),
    ("W3 guest's p99, guest at 128 MiB/s", '',
     [(to_qemu('W3', 'reader rated', 'guest_p99_us'), below(1 / 20)._replace(text='1/20', show=fraction))]),
    ('W3 read, guest unlimited; what the guest writes meanwhile', '; ',
     [(to_qemu('W3', 'reader full', key), NONE) for key in ('MBps', 'guest_MBps')]),
    ('W4 copied/touched, guest at 128 MiB/s', '', [(own('W4', 'reader-trim rated', 'copied/touched'), below(0.45))]),
    ("W4 temp's peak to W3's", '',
     [(own_ratio(own('W4', 'reader-trim rated', 'temp_MB_peak'), own('W3', 'reader rated', 'temp_MB_peak')), below(0.2))]),
    ('W5 connecting, time to the end of the handshake (less is better)', '',
     [(to_qemu('W5', 'connect+first 4k active', 'connect_p50_us'), NONE)]),
    ('W1 first touch to W0, IOPS at qd16: 4k / 64k', ' / ', first_to_plain('iops', at_least(0.9), at_least(0.75))),
    ('W1 first touch to W0, p99 at qd16: 4k / 64k', ' / ', first_to_plain('p99_us', below(1.5), below(1.5))),
    ('W4 resident memory at the end, MiB, guest unlimited / at 128 MiB/s', ' / ',
     [(own('W4', f'reader-trim {guest}', 'VmRSS'), below(120)) for guest in ('full', 'rated')]),
]


def cell(figures, separator, of):
    values = [(figure(of), reach) for figure, reach in figures]
    return separator.join('-' if value is None else reach.show(value) + '*' * (not reach.holds(value)) for value, reach in values)


def has_failed(record):
    return record.get('sha_ok') is False or any(record.get(key) for key in FAILURES)


def print_table(records):
    """Prints the table and what was wrong with its measurements; returns whether all succeeded."""
    groups = collections.defaultdict(list)
    for record in records:
        if record.get('touched_MB'):
            record['copied/touched'] = record['cbw_MB'] / record['touched_MB']
        if not has_failed(record):
            groups[record['peer'], record['config'], record['workload'], record['variant']].append(record)

    def medians_of(config):
        def of(peer, workload, variant, key):
            values = [r[key] for r in groups.get((peer, config, workload, variant), []) if key in r]
            return statistics.median(values) if values else None
        return of

    configs = list(dict.fromkeys(record['config'] for record in records))
    print('| workload | ' + ' | '.join(configs) + ' | reach |')
    print('|---' * (len(configs) + 2) + '|')
    for title, separator, figures in ROWS:
        cells = [cell(figures, separator, medians_of(config)) for config in configs]
        reach = separator.join(reach.text for _, reach in figures if reach.text)
        print('| ' + ' | '.join([title, *cells, reach]).rstrip() + ' |')

    rounds = ' or '.join(map(str, sorted({len(group) for group in groups.values()})))
    metered = [r['foreign_cores'] + r['steal_cores'] for r in records if 'foreign_cores' in r]
    print(f"""
Ratios of medians, Fleece to QEMU; W4 and "first touch to W0" are Fleece's own. Rounds: {rounds}. `*` misses its reach, judged before
rounding; `-` was not measured. With a qcow2 temp, copied/touched holds what is written to its tables too.
Others took {NOISY_CORES} processors or more during {sum(x >= NOISY_CORES for x in metered)} of {len(metered)} measurements.""")
    for (peer, config, workload, variant), group in groups.items():
        guest_mbps = statistics.median(r.get('guest_MBps', 0) for r in group)
        if variant.endswith(' rated') and guest_mbps < 0.95 * GUEST_MBPS:
            print(f'The guest wrote {guest_mbps:.0f} of the {GUEST_MBPS:.0f} MB/s asked for: {peer} {config} {workload} {variant}')
    for r in filter(has_failed, records):
        reasons = {key: r[key] for key in ('sha_ok', *FAILURES) if key in FAILURES and r.get(key) or r.get(key) is False}
        print('Failed and not counted:', r['peer'], r['config'], f"round {r['round']}", r['workload'], r['variant'], reasons)
    return not any(map(has_failed, records))


def measure(arguments):
    """Runs the harness; returns the file of its records."""
    folder, harness = os.path.abspath(arguments.dir), os.path.abspath(arguments.harness)
    out = os.path.abspath(arguments.out or os.path.join(folder, 'table.jsonl'))
    if os.path.exists(out):
        sys.exit(f'{out} exists, and the records of two runs would mix: name another file with --out, or print it with --from.')
    state = os.path.join(folder, 'state')  # both peers keep theirs below TMPDIR, apart from those of another run on this machine
    os.makedirs(state, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != 'PEER_STATE'} | {'TMPDIR': state}
    peers = {'qemu': os.path.join(harness, 'peers/qemu/peer.sh'), 'fleece': os.path.join(HERE, '../fleece/peer.sh')}
    command = [os.path.join(harness, 'run.py'), *(f'--peer={name}={script}' for name, script in peers.items()), '--dir', folder,
               '--golden', os.path.abspath(arguments.golden or os.path.join(folder, 'golden')), '--out', out]
    for option in ('configs', 'size_mib', 'ios', 'rounds', 'workloads'):
        command += ['--' + option.replace('_', '-'), str(getattr(arguments, option))]
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    return out


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument('--from', dest='files', nargs='+', metavar='FILE', help='only print the table of these records')
    options.add_argument('--harness', metavar='HARNESS_DIR')
    options.add_argument('--dir', help='where the images lie; takes four times their size')
    options.add_argument('--golden', metavar='DIR2', help='the data images begin with, made if absent; DIR/golden unless named')
    options.add_argument('--out', help='a new file for the records; DIR/table.jsonl unless named')
    options.add_argument('--configs', default='raw:raw,raw:qcow2,qcow2:raw,qcow2:qcow2')
    options.add_argument('--size-mib', type=int, default=2048)
    options.add_argument('--ios', type=int, default=8192, help='clusters that a case of W0 and W1 touches')
    options.add_argument('--rounds', type=int, default=3)
    options.add_argument('--workloads', default='W0,W1,W2,W3,W4,W5')
    arguments = options.parse_args()
    if not arguments.files and not (arguments.harness and arguments.dir):
        options.error('either --from, or --harness and --dir')
    records = []
    for path in arguments.files or [measure(arguments)]:
        with open(path, encoding='utf-8') as file:
            records += [json.loads(line) for line in file if line.strip()]
    if not records:
        sys.exit('No records.')
    sys.exit(0 if print_table(records) else 1)


if __name__ == '__main__':
    main()
