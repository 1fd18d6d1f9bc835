#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Serves a disk and a snapshot of it, for programs that measure or check fleecing servers.
#   peer.sh start ACTIVE TEMP [BITMAP]   TEMP "-": the disk alone, without a session
#   peer.sh stop
# ACTIVE and TEMP are images that exist, their format told by the suffix. BITMAP is a text file of "OFFSET LENGTH" lines; the
# snapshot is limited to the 64 KiB clusters they touch. "start" prints active=URI, snapshot=URI and pid=N when clients can
# connect. State lies in $PEER_STATE; $FLEECE_MODULE names another module's manifest than the one under output/. With $PEER_SESSIONS,
# a folder, the session can be resumed: its log lies there.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
root=$(cd "$here/../../.." && pwd)
state=${PEER_STATE:-${TMPDIR:-/tmp}/fleece-peer}
source "$here/pwsh.sh"

stop() {
    local pid
    [[ -f $state/pid ]] || return 0
    pid=$(<"$state/pid")
    if grep -qs pwsh.dll "/proc/$pid/cmdline"; then
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 200); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$state/pid"
}

start() {
    local active=$1 temp=$2 bitmap=${3:-}
    stop
    mkdir -p "$state"
    rm -f "$state/ready" "$state/nbd.sock"
    fleece_pwsh "$root" 2>"$state/build.log"
    setsid "${pwsh[@]}" "$here/serve.ps1" "$(readlink -f "$active")" \
        "$([[ $temp == - ]] && echo - || readlink -f "$temp")" "$state" "$bitmap" </dev/null >"$state/log" 2>&1 &
    echo $! >"$state/pid"
    for _ in $(seq 400); do
        [[ -f $state/ready ]] && break
        kill -0 "$(<"$state/pid")" 2>/dev/null || break
        sleep 0.05
    done
    if [[ ! -f $state/ready ]]; then
        cat "$state/log" >&2
        stop
        exit 1
    fi
    cat "$state/ready"
    echo "pid=$(<"$state/pid")"
}

case ${1:-} in
    start) shift; start "$@" ;;
    stop) stop ;;
    *) echo "usage: peer.sh start ACTIVE TEMP|- [BITMAP] | stop" >&2; exit 2 ;;
esac
