# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Copies a snapshot of a disk of this process and of one of a host, in turn, and compares speed and processor time.

.DESCRIPTION
Both disks have the same random bytes and lie in FolderPath, which should be in memory. Jobs are Read-FleeceSnapshot | Export-Backup with
-NoManifest, the same with -DiscardConsumed, with a manifest, and a full Backup-FleeceDisk. The first round warms both processes up and does
not count. Each row has medians, with the least and the most in brackets.
#>
param(
    [int] $SizeMiB = 1024,
    [int] $Rounds = 7,
    [string] $Formats = 'raw,qcow2',
    [string] $Jobs = 'export,export consumed,export manifest,backup',
    [string] $FolderPath = "/dev/shm/fleece-bench-$PID"
)
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot/processes.ps1"
Import-Module $env:FLEECE_MODULE
$folder = New-BenchFolder $FolderPath
$socket = "$folder/host.sock"
$clock = [Diagnostics.Stopwatch]::new()

function Invoke-CopyJob([string] $Job, [string] $Disk, [string] $Target) {
    switch ($Job) {
        'export' { $null = Read-FleeceSnapshot $Disk | Export-FleeceBackup $Target -NoManifest }
        'export consumed' { $null = Read-FleeceSnapshot $Disk -DiscardConsumed | Export-FleeceBackup $Target -NoManifest }
        'export manifest' { $null = Read-FleeceSnapshot $Disk | Export-FleeceBackup $Target }
        'backup' { $null = Backup-FleeceDisk $Disk -RepositoryPath "$folder/backups" }
        default { throw "There is no job '$Job'." }
    }
}

# One run; its seconds, and the processor seconds of this process and of the host.
function Measure-Copy([string] $Job, [string] $Format, [bool] $ThroughHost) {
    $env:FLEECE_HOST = $ThroughHost ? $socket : 'none'
    $disk = ($ThroughHost ? 'hosted-' : 'own-') + $Format
    Remove-Item "$folder/target*", "$folder/backups" -Recurse -Force -ErrorAction Ignore
    if ($Job -ne 'backup') { $null = Start-FleeceSession $disk }
    $client, $server = (Get-ProcessorSeconds $PID), (Get-ProcessorSeconds $process.Id)
    $clock.Restart()
    Invoke-CopyJob $Job $disk "$folder/target.$Format"
    $seconds = $clock.Elapsed.TotalSeconds
    $client, $server = ((Get-ProcessorSeconds $PID) - $client), ((Get-ProcessorSeconds $process.Id) - $server)
    if ($Job -ne 'backup') { $null = Stop-FleeceSession $disk } else { $null = Get-FleeceBitmap $disk | Remove-FleeceBitmap -Force }
    [pscustomobject] @{ MiBPerSecond = $SizeMiB / $seconds; Client = $client; Host = $server }
}

$process = $null
try {
    $process = Start-BenchHost $folder
    foreach ($format in $Formats -split ',') {
        $random = "$folder/own-$format.raw"
        sh -c "dd if=/dev/urandom of='$random' bs=1M count=$SizeMiB status=none"
        if ($format -ne 'raw') {
            $null = Convert-FleeceImage $random "$folder/own-$format.$format" -WarningAction Ignore
            Remove-Item $random
        }
        Copy-Item "$folder/own-$format.$format" "$folder/hosted-$format.$format"
        $env:FLEECE_HOST = 'none'
        $null = Mount-FleeceDisk "$folder/own-$format.$format"
        $env:FLEECE_HOST = $socket
        $null = Mount-FleeceDisk "$folder/hosted-$format.$format"

        $runs = @{}
        foreach ($round in 0..$Rounds) {
            foreach ($job in $Jobs -split ',') {
                foreach ($throughHost in ($round % 2) ? ($true, $false) : ($false, $true)) {
                    $run = Measure-Copy $job $format $throughHost
                    if ($round) { $runs["$job/$throughHost"] += @($run) }
                }
            }
        }

        $rows += foreach ($job in $Jobs -split ',') {
            $own, $hosted = $runs["$job/False"], $runs["$job/True"]
            $speed, $hostedSpeed = (Get-Quantile $own.MiBPerSecond), (Get-Quantile $hosted.MiBPerSecond)
            $cost = Get-Quantile $own.Client
            $hostedCost = Get-Quantile $hosted.ForEach{ $_.Client + $_.Host }
            [pscustomobject] [ordered] @{
                'format' = $format
                'job' = $job
                'in this process, MiB/s' = Format-Spread $own.MiBPerSecond 0
                'through the host, MiB/s' = Format-Spread $hosted.MiBPerSecond 0
                'ratio' = '{0:0.00}' -f ($hostedSpeed / $speed)
                'processor s, this process' = '{0:0.00}' -f $cost
                'processor s, client + host' = '{0:0.00} + {1:0.00}' -f (Get-Quantile $hosted.Client), (Get-Quantile $hosted.Host)
                'processor ratio' = '{0:0.00}' -f ($hostedCost / $cost)
            }
        }

        $env:FLEECE_HOST = 'none'
        Dismount-FleeceDisk "own-$format"
        $env:FLEECE_HOST = $socket
        Dismount-FleeceDisk "hosted-$format"
        Remove-Item "$folder/*-$format.$format", "$folder/target*", "$folder/backups" -Recurse -Force -ErrorAction Ignore
    }
    "$SizeMiB MiB, $Rounds rounds, $([Environment]::ProcessorCount) processors, load $((Get-Content /proc/loadavg) -replace ' \d+/.*')"
    $rows | Format-Figures
} finally {
    Stop-BenchHost $process
    $env:FLEECE_HOST = 'none'
    Get-FleeceDisk | Dismount-FleeceDisk -Force
    Remove-Item $folder -Recurse -Force
}
