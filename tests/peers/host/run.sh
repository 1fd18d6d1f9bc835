#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Measures a Fleece host in a process of its own beside this process: docs/benchmarks.md has the method and the figures.
#   run.sh copy|control|disks [PARAMETERS OF copy.ps1, control.ps1 OR disks.ps1]
# $FLEECE_MODULE names another module's manifest than the one under output/.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
tuned=$(compgen -e | grep -E '^DOTNET_(Tiered|TC_)' || true)
source "$here/../fleece/pwsh.sh"
case ${1:-} in
    copy | control | disks) script=$1; shift ;;
    *) echo "usage: run.sh copy|control|disks [PARAMETERS]" >&2; exit 2 ;;
esac
fleece_pwsh "$(cd "$here/../../.." && pwd)"

# The shells of users and the unit of the host have the runtime's own settings, unless the caller sets others.
if [[ -z $tuned ]]; then
    unset DOTNET_TieredPGO DOTNET_TC_CallCountThreshold DOTNET_TC_CallCountingDelayMs
fi
exec "${pwsh[@]}" "$here/$script.ps1" "$@"
