#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Fuzzes one target with coverage, from its corpus: fuzz.sh TARGET [SECONDS [FOLDER]]. Needs afl-fuzz (Debian: afl++), the SDK
# and SharpFuzz's tool ('dotnet tool install SharpFuzz.CommandLine --version 2.3.0 --tool-path PATH', then PATH in $PATH).
# What it finds lies in FOLDER/found/default/{crashes,hangs}; 'dotnet run --project tests/Fleece.Fuzz -- replay TARGET FILE' says what
# it is, because what is instrumented runs under the fuzzer only.
set -euo pipefail

target=$1 seconds=${2:-600} folder=${3:-output/fuzz/$1}
here=$(cd "$(dirname "$0")" && pwd)
for tool in afl-fuzz sharpfuzz; do
    command -v "$tool" >/dev/null || { echo "not installed here: $tool" >&2; exit 77; }
done

rm -rf "$folder/bin" "$folder/seeds"
dotnet publish "$here/Fleece.Fuzz.csproj" -c Release -o "$folder/bin" --nologo -v q
dotnet "$folder/bin/Fleece.Fuzz.dll" seeds "$target" "$folder/seeds"
for assembly in Fleece.Block Fleece.Images Fleece.Nbd Fleece.Disks Fleece.Backups Fleece.Fuzz; do
    # Of the harness only the canary counts as code under test.
    only=()
    [[ $assembly == Fleece.Fuzz ]] && only=(Fleece.Fuzz.CanaryTarget)
    sharpfuzz "$folder/bin/$assembly.dll" "${only[@]}"
done

# Images are larger than what a fuzzer of bytes likes, and the first run of an input compiles the code it reaches.
export AFL_SKIP_BIN_CHECK=1 AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 AFL_IMPORT_FIRST=1
exec afl-fuzz -i "$folder/seeds" -o "$folder/found" -t 20000 -m none -V "$seconds" -- dotnet "$folder/bin/Fleece.Fuzz.dll" afl "$target"
