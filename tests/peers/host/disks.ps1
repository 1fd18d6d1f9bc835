# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Measures a host with many disks, each with a listener and a session: time, memory, threads, descriptors, requests and a restart.

.DESCRIPTION
For each number in -Counts a host of its own mounts as many sparse qcow2 images of 10 GiB, one after the other. A count that takes longer
than -LimitSeconds ends with the disks that it has by then. "MiB per disk" is what the host has more than before its first disk, 5 s after
the last session, and "restart" goes from SIGTERM, or from SIGKILL with -Kills, to the line that says that all disks are served again. Each
session must go on then.
#>
param(
    [string] $Counts = '200,1000',
    [int] $LimitSeconds = 120,
    [switch] $Kills,
    [string] $FolderPath = "/dev/shm/fleece-bench-$PID"
)
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot/processes.ps1"
Import-Module $env:FLEECE_MODULE
$clock = [Diagnostics.Stopwatch]::new()

# Does something for each disk until the time is over; how many were done, and the milliseconds of the last tenth of them.
function Invoke-ForDisks([int] $Count, [scriptblock] $Do) {
    $limit = [Diagnostics.Stopwatch]::StartNew()
    $times = [Collections.Generic.List[double]]::new()
    for ($i = 1; $i -le $Count -and $limit.Elapsed.TotalSeconds -lt $LimitSeconds; $i++) {
        $clock.Restart()
        $null = & $Do $i
        $times.Add($clock.Elapsed.TotalMilliseconds)
    }
    [pscustomobject] @{
        Done = $times.Count
        Seconds = $limit.Elapsed.TotalSeconds
        LastMs = Get-Quantile @($times | Select-Object -Last ([Math]::Max(1, $times.Count / 10)))
    }
}

function Measure-Disks([int] $Count, [string] $Folder) {
    $env:FLEECE_HOST = 'none'
    $null = New-FleeceImage "$Folder/1.qcow2" -SizeBytes 10GB
    foreach ($i in 2..$Count) { Copy-Item "$Folder/1.qcow2" "$Folder/$i.qcow2" }
    $clock.Restart()
    $script:process = Start-BenchHost $Folder
    $startSeconds = $clock.Elapsed.TotalSeconds
    $env:FLEECE_HOST = "$Folder/host.sock"
    $null = Get-FleeceHost
    $null = Get-FleeceDisk
    $before = Get-ProcessFigures $process.Id

    $mounts = Invoke-ForDisks $Count { param($I) Mount-FleeceDisk "$Folder/$I.qcow2" -ListenUri "nbd+unix:///?socket=$Folder/$I.sock" }
    $sessions = Invoke-ForDisks $mounts.Done { param($I) Start-FleeceSession "$I" }
    $cost = (Get-ProcessFigures $process.Id).ProcessorSeconds - $before.ProcessorSeconds
    Start-Sleep 5
    $full = Get-ProcessFigures $process.Id
    $lists = foreach ($i in 1..200) {
        $clock.Restart()
        $null = Get-FleeceDisk
        $clock.Elapsed.TotalMilliseconds
    }
    $ones = foreach ($i in 1..1000) {
        $clock.Restart()
        $null = Get-FleeceDisk 1
        $clock.Elapsed.TotalMilliseconds
    }

    # A write per disk, so that each has old data and changed tables to go on with.
    foreach ($i in 1..$sessions.Done) { Write-FleeceDisk "$i" 1MB ([byte[]]::new(64KB)) }
    $clock.Restart()
    if ($Kills) { $process.Kill(); $process.WaitForExit() } else { Stop-BenchHost $process }
    $endSeconds = $clock.Elapsed.TotalSeconds
    $script:process = Start-BenchHost $Folder
    $restartSeconds = $clock.Elapsed.TotalSeconds
    $served = @(Get-FleeceDisk).Count
    $active = @(Get-FleeceSession | Where-Object State -EQ Active).Count
    if ($active -ne $sessions.Done) { throw "$active of $($sessions.Done) sessions go on: $(Get-Content "$Folder/host.err" -Raw)" }
    $used = Get-ProcessorSeconds $process.Id
    $disks = $sessions.Done
    [pscustomobject] [ordered] @{
        'disks with a listener and a session' = $disks
        'host''s start without disks, s' = '{0:0.0}' -f $startSeconds
        'mount of a disk: mean; of the last tenth, ms' = '{0:0.0}; {1:0.0}' -f ($mounts.Seconds * 1000 / $mounts.Done), $mounts.LastMs
        'session: mean; of the last tenth, ms' = '{0:0.0}; {1:0.0}' -f ($sessions.Seconds * 1000 / $disks), $sessions.LastMs
        'host''s processor time for both, ms per disk' = '{0:0.0}' -f ($cost * 1000 / $disks)
        'MiB per disk: private; resident' = '{0:0.00}; {1:0.00}' -f (
            ($full.PrivateMiB - $before.PrivateMiB) / $disks), (($full.ResidentMiB - $before.ResidentMiB) / $disks)
        'host, MiB: private; resident' = '{0:0}; {1:0}' -f $full.PrivateMiB, $full.ResidentMiB
        'threads: before; with the disks' = "$($before.Threads); $($full.Threads)"
        'descriptors: before; with the disks' = "$($before.Descriptors); $($full.Descriptors)"
        'Get-FleeceDisk p50 / p99, ms' = '{0:0.00} / {1:0.00}' -f (Get-Quantile $lists), (Get-Quantile $lists 0.99)
        'Get-FleeceDisk NAME p50 / p99, ms' = '{0:0.00} / {1:0.00}' -f (Get-Quantile $ones), (Get-Quantile $ones 0.99)
        'restart: until it has ended; until all are served, s' = '{0:0.0}; {1:0.0}' -f $endSeconds, $restartSeconds
        'disks; sessions after it; processor s of the new host' = '{0}; {1}; {2:0.0}' -f $served, $active, $used
    }
}

$process = $null
$columns = foreach ($count in [int[]] ($Counts -split ',')) {
    $folder = New-BenchFolder "$FolderPath/$count"
    try {
        Measure-Disks $count $folder
    } finally {
        Stop-BenchHost $process
        Remove-Item $folder -Recurse -Force
    }
}
Remove-Item $FolderPath

"$([Environment]::ProcessorCount) processors, load $((Get-Content /proc/loadavg) -replace ' \d+/.*')"
$names = @($columns)[0].PSObject.Properties.Name
foreach ($name in $names) { "| $name | $(@($columns).ForEach{ $_.$name } -join ' | ') |" }
