# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Serves a disk whose flushes fail from some point on, and says as JSON what its clients, its cmdlets and the next mount saw.

.DESCRIPTION
Runs in a process of its own with failing-flush.so preloaded; FLEECE_FAULTS names its control file. Each scenario has a folder of its own
below the location. Invoke-WithFault in Faults.ps1 starts it.

.PARAMETER Module
The manifest of the module under test.

.PARAMETER Python
A Python with the module nbd.

.PARAMETER Scenarios
JSON: a list of objects with Kind, First, Times, Drops and HasSession; failing-flush.c explains the numbers. Kinds are raw, vhdx, vhd,
vhd-fixed, qcow2, qcow2-data and qcow2-header; the last two are one image, whose flushes fail in its data file or in the other.
#>
param([string] $Module, [string] $Python, [string] $Scenarios)

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Import-Module $Module
. "$PSScriptRoot/Faults.ps1"

# Two connections write and flush in turns. Each line says an operation and its error, 0 for none; a line "acknowledged" names a range
# whose bytes a flush or a forced write has called durable.
$client = @'
import nbd
import sys
def attempt(name, action):
    try:
        action()
        print(name, 0)
        return True
    except nbd.Error as e:
        print(name, e.errno)
        return False
uri = sys.argv[-1]
a = nbd.NBD()
a.connect_uri(uri)
b = nbd.NBD()
b.connect_uri(uri)
size = 64 * 1024
written = []
def acknowledge(range):
    print('acknowledged', *range)
for i in range(6):
    place = ((1 << 20) * (1 + i), size, 16 + i)
    if attempt('write', lambda: a.pwrite(bytes([place[2]]) * size, place[0])):
        written.append(place)
    if attempt('flush', (b if i % 2 else a).flush):
        for place in written:
            acknowledge(place)
        written = []
    place = ((1 << 20) * (8 + i), size, 32 + i)
    if attempt('forced-write', lambda: b.pwrite(bytes([place[2]]) * size, place[0], nbd.CMD_FLAG_FUA)):
        acknowledge(place)
attempt('forced-zero', lambda: a.zero(size, 15 << 20, nbd.CMD_FLAG_FUA))
attempt('write', lambda: a.pwrite(bytes([99]) * size, 15 << 20))
'@

# The image and the file of it whose flushes fail.
function New-Image([string] $Kind) {
    $file = Join-Path $PWD "vm.$(($Kind -split '-')[0])"
    $data = Join-Path $PWD data.bin
    $more = switch ($Kind) {
        'vhd-fixed' { @{ Fixed = $true } }
        'qcow2-data' { @{ DataFilePath = $data } }
        'qcow2-header' { @{ DataFilePath = $data } }
        default { @{} }
    }
    $null = New-FleeceImage $file -SizeBytes 16MB @more
    $file, ($Kind -eq 'qcow2-data' ? $data : $file)
}

function Test-Acknowledged([string] $Disk, [string[]] $Lines) {
    foreach ($line in $Lines -like 'acknowledged *') {
        $null, [long] $offset, [int] $length, [byte] $value = $line -split ' '
        $expected = [byte[]]::new($length)
        [Array]::Fill($expected, $value)
        $found = Read-FleeceDisk $Disk $offset $length
        if (-not [Linq.Enumerable]::SequenceEqual[byte]($expected, [byte[]] $found)) { "offset $offset" }
    }
}

function Invoke-Scenario($Scenario) {
    $folder = New-Item (Join-Path $PWD ([guid]::NewGuid().ToString('N').Substring(0, 8))) -ItemType Directory
    Push-Location $folder
    try {
        $image, $failing = New-Image $Scenario.Kind
        $socket = Join-Path $folder s
        $null = Mount-FleeceDisk $image -Name vm -ListenUri "nbd+unix:///?socket=$socket"
        Write-FleeceDisk vm 0 ([byte[]] (1..255) * 16)
        $null = Backup-FleeceDisk vm -RepositoryPath ./repository -Format qcow2
        if ($Scenario.HasSession) { $null = Start-FleeceSession vm -Name pinned }
        Set-Fault $failing -First $Scenario.First -Times $Scenario.Times -Drops:$Scenario.Drops
        $answers = @(env -u LD_PRELOAD $Python -c $client "nbd+unix:///?socket=$socket" 2>&1 | ForEach-Object ToString)
        $disk = Get-FleeceDisk vm
        $result = [ordered]@{
            Scenario = "$($Scenario.Kind) $($Scenario.First) $($Scenario.Times)$($Scenario.Drops ? ' drops' : '')" +
                ($Scenario.HasSession ? ' session' : '')
            Kind = $Scenario.Kind
            First = $Scenario.First
            Times = $Scenario.Times
            HasSession = $Scenario.HasSession
            Failing = $failing
            Answers = @($answers -notlike 'acknowledged *')
            Status = "$($disk.OperationalStatus)"
            Reason = $disk.FailureReason
            Session = if ($Scenario.HasSession) { "$((Get-FleeceSession pinned).State)" }
            Backup = Get-Failure { Backup-FleeceDisk vm -RepositoryPath ./repository }
            Start = Get-Failure { Start-FleeceSession vm -Name later | Stop-FleeceSession }
            BitmapNow = "$((Get-FleeceBitmap vm)[0].State)"
            BackupsNow = @(Get-FleeceBackup ./repository).Count
            Partials = @(Get-ChildItem ./repository -Filter *.partial*).Count
            Dismount = Get-Failure { Dismount-FleeceDisk vm -Force }
            Mounted = @(Get-FleeceDisk).Count
        }
        Clear-Fault
        $report = Test-FleeceImage $image
        $result.Corruptions = $report.CorruptionCount
        $null = Mount-FleeceDisk $image -Name vm -WarningAction Ignore
        $bitmap = @(Get-FleeceBitmap vm)[0]
        $result.StatusAfter = "$((Get-FleeceDisk vm).OperationalStatus)"
        $result.BitmapAfter = "$($bitmap.State)"
        $result.BitmapReason = "$($bitmap.Reason)"
        $result.Lost = @(Test-Acknowledged vm $answers)
        $result.NextBackup = "$((Backup-FleeceDisk vm -RepositoryPath ./repository -WarningAction Ignore).Point.Kind)"
        Dismount-FleeceDisk vm
        $null = Get-FleeceBackup ./repository | Select-Object -Last 1 | Restore-FleeceBackup -DestinationPath ./restored.raw
        $result.IsRestoreEqual = (Compare-FleeceImage $image -DifferencePath ./restored.raw).AreEqual
        $result
    } finally {
        Clear-Fault
        Get-FleeceDisk | Dismount-FleeceDisk -Force -ErrorAction Ignore
        Pop-Location
        Remove-Item $folder -Recurse
    }
}

$results = foreach ($scenario in ConvertFrom-Json $Scenarios) { Invoke-Scenario $scenario }
ConvertTo-Json @($results) -Depth 4
