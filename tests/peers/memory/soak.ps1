# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Serves a disk for a long time to clients that come, work and go, with sessions that start and stop, and judges whether its memory grows.

.DESCRIPTION
The disk lies in FolderPath. In each round there are 16 honest clients, which write and read in sizes from 4 KiB to 32 MiB, and
HostileClients others (clients.ps1). Some leave in every round. In every other round a session starts, all of its snapshot is read, and
it stops. nbdcopy and fio take part where they are installed. At the end all clients leave, and the memory is looked at once more.

Standard output is a line for each sample: seconds, MiB resident, MiB live after a full collection, clients. The last line is the
verdict. The exit code is 0 when the last third of the samples is no higher than the second by more than GrowthMiB, and what is left
when all have gone is no more than LeftMiB above what there was after the first minute's clients had gone; 1 otherwise.

.EXAMPLE
pwsh -File tests/peers/memory/soak.ps1 -Seconds 3600
#>
param(
    [int] $Seconds = 600,
    [string] $FolderPath = (Join-Path ([IO.Path]::GetTempPath()) "fleece-soak-$PID"),
    [string] $ModulePath = $env:FLEECE_MODULE,
    [int] $HostileClients = 8,
    [int] $Seed = 7,
    [double] $GrowthMiB = 8,
    [double] $LeftMiB = 16
)
$ErrorActionPreference = 'Stop'
. "$PSScriptRoot/clients.ps1"
if (-not $ModulePath) {
    $ModulePath = (Get-ChildItem "$PSScriptRoot/../../../output/Fleece" -Filter Fleece.psd1 -Recurse |
        Sort-Object { [version] $_.Directory.Name } -Descending | Select-Object -First 1).FullName
}

$random = [Random]::new($Seed)
$folder = (New-Item $FolderPath -ItemType Directory -Force).FullName
$file = [IO.File]::Create("$folder/vm.raw")
$file.SetLength(256MB)
$file.Dispose()
$payload = [byte[]]::new(32MB)
$random.NextBytes($payload)
$uri = "nbd+unix:///vm?socket=$folder/vm.sock"
$hasNbdCopy = [bool] (Get-Command nbdcopy -CommandType Application -ErrorAction Ignore)
$hasFio = [bool] (Get-Command fio -CommandType Application -ErrorAction Ignore)
Write-Host "Seed $Seed; nbdcopy: $hasNbdCopy; fio: $hasFio"

# A few requests of an honest client, each answered before the next.
function Invoke-Work([Net.Sockets.Socket] $Socket) {
    foreach ($round in 1..4) {
        $lengthBytes = 4KB -shl $random.Next(14)
        $offsetBytes = 4KB * $random.Next((256MB - $lengthBytes) / 4KB)
        if ($random.Next(2)) {
            $null = $Socket.Send((Get-RequestHeader $Write $offsetBytes $lengthBytes))
            $null = $Socket.Send($payload, $lengthBytes, 'None')
            Receive-Bytes $Socket 16
        } else {
            $null = $Socket.Send((Get-RequestHeader $Read $offsetBytes $lengthBytes))
            Receive-Bytes $Socket (16 + $lengthBytes)
        }
    }
}

function Write-Sample {
    $memory = Measure-Server $server
    $sample = [pscustomobject]@{
        Seconds = [int] $clock.Elapsed.TotalSeconds
        ResidentMiB = [Math]::Round($memory.ResidentBytes / 1MB, 1)
        LiveMiB = [Math]::Round($memory.LiveBytes / 1MB, 1)
    }
    Write-Host "$($sample.Seconds) $($sample.ResidentMiB) $($sample.LiveMiB) $($honest.Count + $hostile.Count)"
    $sample
}

# All leave; the threads that served them end after ten seconds, and what they used goes back a few seconds later.
function Measure-Left {
    @($honest; $hostile) | ForEach-Object Dispose
    $honest.Clear()
    $hostile.Clear()
    Start-Sleep -Seconds 20
    Write-Sample
}

$clock = [Diagnostics.Stopwatch]::StartNew()
$server = Start-Server $ModulePath $folder
$honest = [Collections.Generic.List[Net.Sockets.Socket]]::new()
$hostile = [Collections.Generic.List[Net.Sockets.Socket]]::new()
$samples = [Collections.Generic.List[object]]::new()
$early = $null
try {
    for ($round = 0; $clock.Elapsed.TotalSeconds -lt $Seconds; $round++) {
        while ($honest.Count -lt 16) { $honest.Add((Connect-Client "$folder/vm.sock")) }
        while ($hostile.Count -lt $HostileClients) {
            $hostile.Add((Connect-Client "$folder/vm.sock"))
            $sort = @($ClientSorts.Keys)[$random.Next($ClientSorts.Count)]
            & $ClientSorts[$sort] $hostile[-1]
        }

        foreach ($client in $honest) { Invoke-Work $client }
        if ($round % 2) { $null = Invoke-Server $server 'session' }
        if ($hasNbdCopy -and $round % 5 -eq 0) { nbdcopy $uri null: }
        if ($hasFio -and $round % 5 -eq 2) {
            $null = fio --name=soak --ioengine=nbd "--uri=$uri" --rw=randrw --bs=4k --iodepth=16 --size=16m --output-format=terse
        }

        foreach ($list in $honest, $hostile) {
            for ($leaving = $random.Next($list.Count); $leaving -gt 0; $leaving--) {
                $list[0].Dispose()
                $list.RemoveAt(0)
            }
        }

        if (-not $samples.Count -or $clock.Elapsed.TotalSeconds - $samples[-1].Seconds -ge [Math]::Min(10, $Seconds / 30)) {
            $samples.Add((Write-Sample))
        }

        if (-not $early -and $clock.Elapsed.TotalSeconds -ge [Math]::Min(60, $Seconds / 4)) { $early = Measure-Left }
    }

    $late = Measure-Left
} finally {
    @($honest; $hostile) | ForEach-Object Dispose
    Stop-Server $server
    Remove-Item $folder -Recurse -Force
}

$third = [int] [Math]::Floor($samples.Count / 3)
$means = foreach ($part in 1, 2) {
    ($samples | Select-Object -Skip ($part * $third) -First $third | Measure-Object ResidentMiB -Average).Average
}
$growth = [Math]::Round($means[1] - $means[0], 1)
$left = [Math]::Round($late.ResidentMiB - $early.ResidentMiB, 1)
$isGood = $growth -le $GrowthMiB -and $left -le $LeftMiB
Write-Host ("$($isGood ? 'Good' : 'GROWS'): $round rounds; the last third is $growth MiB above the second ($GrowthMiB allowed), " +
    "and with all clients gone $left MiB more are left than early on ($LeftMiB allowed).")
exit ($isGood ? 0 : 1)
