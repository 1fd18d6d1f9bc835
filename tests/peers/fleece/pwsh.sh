# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# To be sourced: sets pwsh, the command that runs a script with Fleece loaded in this checkout's PowerShell, as an array.
# $FLEECE_MODULE names another module's manifest than the one staged under output/, which is built where it is missing.

# The tool's own launcher would be a second process, and get the signals in PowerShell's stead.
fleece_pwsh() {
    local root=$1 home module
    home=$(cd "$root" && dotnet tool exec powershell --yes -- -NoProfile -Command '$PSHOME')
    module=${FLEECE_MODULE:-$(find "$root/output/Fleece" -name Fleece.psd1 2>/dev/null | sort -V | tail -n 1 || true)}
    if [[ -z $module ]]; then
        (cd "$root" && dotnet tool exec powershell --yes -- ./build.ps1 -Task Build) >&2
        module=$(find "$root/output/Fleece" -name Fleece.psd1 | sort -V | tail -n 1)
    fi
    # A host of this machine has nothing to do with what is measured and tested here.
    export FLEECE_MODULE=$module FLEECE_HOST=none

    # A process that serves disks for long: docs/benchmarks.md says what each of these brings.
    export DOTNET_TieredPGO=${DOTNET_TieredPGO:-0}
    export DOTNET_TC_CallCountThreshold=${DOTNET_TC_CallCountThreshold:-0x400} DOTNET_TC_CallCountingDelayMs=${DOTNET_TC_CallCountingDelayMs:-0}
    pwsh=(dotnet "$home/pwsh.dll" -NoProfile -NonInteractive -File)
}
