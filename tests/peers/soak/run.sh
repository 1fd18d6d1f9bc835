#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A host under a mixed load for long: run.sh [--seconds 3600] [--restart-every 900] [--dir DIR]; soak.py says what it does and judges.
# It needs python3-libnbd and libnbd-bin; exit code 77 says what is missing. $FLEECE_MODULE names another module's manifest than the one
# under output/.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
for program in nbdcopy qemu-img /usr/bin/python3; do
    command -v "$program" >/dev/null || { echo "missing: $program" >&2; exit 77; }
done
/usr/bin/python3 -c 'import nbd' 2>/dev/null || { echo "missing: python3-libnbd" >&2; exit 77; }
source "$here/../fleece/pwsh.sh"
fleece_pwsh "$(cd "$here/../../.." && pwd)"
export SOAK_PWSH="${pwsh[*]}"
exec /usr/bin/python3 "$here/soak.py" "$@"
