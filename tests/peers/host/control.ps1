# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Measures requests that move no bytes: the cmdlets Get-FleeceDisk and Get-FleeceSession, their call without PowerShell, the first call of a
process, and Import-Module.

.DESCRIPTION
The host has as many disks as -Disks says. The call without PowerShell is IDiskControl.ListDisksAsync, awaited and called again from one
thread. Fresh processes take turns: one asks its own disks first, one the host's.
#>
param(
    [int] $Disks = 1,
    [int] $Calls = 5000,
    [int] $Processes = 7,
    [string] $FolderPath = "/dev/shm/fleece-bench-$PID"
)
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot/processes.ps1"
Import-Module $env:FLEECE_MODULE
Add-Type -TypeDefinition @'
using System;
using System.Diagnostics;
using System.Threading;
using System.Threading.Tasks;

public static class CallClock
{
    public static double[] Microseconds<T>(Func<CancellationToken, ValueTask<T>> call, int count)
    {
        double[] all = new double[count];
        for (int i = 0; i < count; i++)
        {
            long startedAt = Stopwatch.GetTimestamp();
            call(CancellationToken.None).AsTask().GetAwaiter().GetResult();
            all[i] = Stopwatch.GetElapsedTime(startedAt).TotalMicroseconds;
        }

        return all;
    }
}
'@
$folder = New-BenchFolder $FolderPath

# The member of the owner of the disks that Get-FleeceDisk calls, which is internal.
function Get-EngineCall {
    $static = [Reflection.BindingFlags] 'Static, NonPublic, Public'
    $module = [Fleece.FleeceCommand].Assembly.GetType('Fleece.FleeceModule')
    $found = $module.GetMethod('FindOwnerAsync', $static).Invoke($null, @($folder, [Threading.CancellationToken]::None))
    $owner = $found.AsTask().GetAwaiter().GetResult()
    $control = $owner.GetType().GetInterface('IDiskOwner').GetProperty('Disks').GetValue($owner)
    $method = $control.GetType().GetInterface('IDiskControl').GetMethod('ListDisksAsync')
    $type = [Func`2].MakeGenericType([Threading.CancellationToken], $method.ReturnType)
    $method.CreateDelegate($type, $control), $method.ReturnType.GetGenericArguments()[0]
}

function Measure-Cmdlet([scriptblock] $Call) {
    $clock = [Diagnostics.Stopwatch]::new()
    foreach ($i in 1..$Calls) {
        $clock.Restart()
        $null = & $Call
        $clock.Elapsed.TotalMicroseconds
    }
}

function Format-Calls([string] $What, [double[]] $Own, [double[]] $Hosted) {
    [pscustomobject] [ordered] @{
        "$Disks disks" = $What
        'this process p50 / p99, us' = '{0:0} / {1:0}' -f (Get-Quantile $Own), (Get-Quantile $Own 0.99)
        'host p50 / p99, us' = '{0:0} / {1:0}' -f (Get-Quantile $Hosted), (Get-Quantile $Hosted 0.99)
    }
}

# What a fresh process says: Import-Module, the first call and the second, in milliseconds.
function Measure-FreshProcess([string] $Where, [string] $Script) {
    $said = dotnet "$PSHOME/pwsh.dll" -NoProfile -NonInteractive -File $Script $env:FLEECE_MODULE $Where
    if ($LASTEXITCODE) { throw "The process failed: $said" }
    , [double[]] ($said -split ' ')
}

$process = $null
try {
    $process = Start-BenchHost $folder
    foreach ($where in 'none', "$folder/host.sock") {
        $env:FLEECE_HOST = $where
        $prefix = $where -eq 'none' ? 'own' : 'hosted'
        foreach ($i in 1..$Disks) {
            $null = New-FleeceImage "$folder/$prefix$i.qcow2" -SizeBytes 1GB
            $null = Mount-FleeceDisk "$folder/$prefix$i.qcow2"
        }
        $null = Start-FleeceSession "${prefix}1"
    }

    # The first half of the calls has both processes compile what is hot, and does not count.
    $times = @{}
    foreach ($turn in 1..2) {
        foreach ($where in 'none', "$folder/host.sock") {
            $env:FLEECE_HOST = $where
            $call, $answer = Get-EngineCall
            $clockOf = [CallClock].GetMethod('Microseconds').MakeGenericMethod($answer)
            $times["$where engine"] = $clockOf.Invoke($null, @($call, $Calls))
            $times["$where disk"] = Measure-Cmdlet { Get-FleeceDisk }
            $times["$where session"] = Measure-Cmdlet { Get-FleeceSession }
        }
    }
    $env:FLEECE_HOST = 'none'
    foreach ($row in @{ engine = 'ListDisksAsync' }, @{ disk = 'Get-FleeceDisk' }, @{ session = 'Get-FleeceSession' }) {
        $key = @($row.Keys)[0]
        $rows += @(Format-Calls $row[$key] $times["none $key"] $times["$folder/host.sock $key"])
    }

    Set-Content "$folder/fresh.ps1" @'
param($Module, $Where)
$clock = [Diagnostics.Stopwatch]::StartNew()
Import-Module $Module
$import = $clock.Elapsed.TotalMilliseconds
$env:FLEECE_HOST = $Where
$clock.Restart()
$null = Get-FleeceDisk
$first = $clock.Elapsed.TotalMilliseconds
$used = (Get-Process -Id $PID).TotalProcessorTime.TotalMilliseconds
$clock.Restart()
$null = Get-FleeceDisk
"$import $first $($clock.Elapsed.TotalMilliseconds) $used"
'@
    $fresh = @{ none = @(); host = @() }
    foreach ($turn in 1..$Processes) {
        $fresh.none += , (Measure-FreshProcess none "$folder/fresh.ps1")
        $fresh.host += , (Measure-FreshProcess "$folder/host.sock" "$folder/fresh.ps1")
    }
    $column = 0
    $measured = 'Import-Module, ms', 'first call, ms', 'second call, ms', 'processor time of the process after the first call, ms'
    $starts = foreach ($what in $measured) {
        [pscustomobject] [ordered] @{
            "$Processes fresh processes, median (least to most)" = $what
            'this process' = Format-Spread @($fresh.none | ForEach-Object { $_[$column] }) 1
            'host' = Format-Spread @($fresh.host | ForEach-Object { $_[$column] }) 1
        }
        $column++
    }

    "$Calls calls, $([Environment]::ProcessorCount) processors, load $((Get-Content /proc/loadavg) -replace ' \d+/.*')"
    $rows | Format-Figures
    ''
    $starts | Format-Figures
} finally {
    Stop-BenchHost $process
    $env:FLEECE_HOST = 'none'
    Get-FleeceDisk | Dismount-FleeceDisk -Force
    Remove-Item $folder -Recurse -Force
}
