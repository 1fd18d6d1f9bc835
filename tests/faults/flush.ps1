# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Makes every flush of every kind of image fail, one after the other, and checks that no flush was called done that was not.

.DESCRIPTION
For each kind of image, for a flush that fails once and for all that follow it, the first, the second, ... flush fails until none is left to
fail. The writes before it are lost, as a kernel loses them. Checked are what two NBD clients, the cmdlets, the next mount and the
next backup see: Find-FlushFinding lists it. Takes about six minutes on two cores.

.PARAMETER Module
The manifest of the module under test.

.PARAMETER Kind
Kinds of images; all by default.

.EXAMPLE
./build.ps1; tests/faults/flush.ps1 output/Fleece/0.1.0/Fleece.psd1
#>
param(
    [Parameter(Mandatory)]
    [string] $Module,

    [string[]] $Kind = @('raw', 'vhd', 'vhd-fixed', 'vhdx', 'qcow2', 'qcow2-data', 'qcow2-header')
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 3.0
. "$PSScriptRoot/Faults.ps1"
. "$PSScriptRoot/Find-FlushFinding.ps1"

if ($reason = Get-FaultSkipReason) { Write-Warning "Skipped: $reason."; exit 77 }
if (-not ($python = Get-NbdPython)) { Write-Warning 'Skipped: no Python with the module nbd is installed.'; exit 77 }
$folder = New-Item (Join-Path ([IO.Path]::GetTempPath()) "fleece-$([guid]::NewGuid())") -ItemType Directory
$count = 0
$findings = @()
try {
    $library = New-FaultLibrary $folder
    foreach ($one in $Kind) {
        foreach ($times in 1, 0) {
            $first = 1
            do {
                # Eight to a process, because starting one takes as long as a scenario.
                $scenarios = foreach ($n in $first..($first + 7)) {
                    @{ Kind = $one; First = $n; Times = $times; Drops = $true; HasSession = [bool] ($n % 2) }
                }
                $results = Invoke-WithFault $library $folder "$PSScriptRoot/flush-scenario.ps1" (
                    (Resolve-Path $Module).Path, $python, (ConvertTo-Json @($scenarios)))
                $findings += $results | ForEach-Object { Find-FlushFinding $_ }
                $count += $results.Count
                $first += 8
                $hasFailed = @($results | Where-Object { Test-HasFailed $_ }).Count -eq $results.Count
            } while ($hasFailed)
            Write-Host "$one, $($times ? 'once' : 'always'): $($first - 1) scenarios"
        }
    }
} finally {
    Remove-Item $folder -Recurse
}
$findings
Write-Host "$count scenarios, $($findings.Count) findings"
exit ($findings.Count ? 1 : 0)
