# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
A host in a process of its own, and what the system counts for a process. To be dot-sourced; Linux.
#>

if (-not $env:FLEECE_MODULE) { throw 'FLEECE_MODULE must name the manifest of the module; run.sh sets it.' }

function New-BenchFolder([string] $Path) {
    if (Test-Path $Path) { Remove-Item $Path -Recurse -Force }
    (New-Item $Path -ItemType Directory -Force).FullName
}

# Returns when each disk of the state is served or has failed once.
function Start-BenchHost([string] $Folder) {
    $command = "Import-Module '$env:FLEECE_MODULE'; Start-FleeceHost -StatePath '$Folder/state' -SocketPath '$Folder/host.sock'"
    $process = Start-Process dotnet "$PSHOME/pwsh.dll", '-NoProfile', '-NonInteractive', '-Command', $command -PassThru `
        -RedirectStandardOutput "$Folder/host.out" -RedirectStandardError "$Folder/host.err"
    $null = $process.Handle # Without it the exit code of a process that has ended is not known.
    while (-not (Select-String 'fleece: ready,' "$Folder/host.err" -Quiet -ErrorAction Ignore)) {
        if ($process.WaitForExit(5)) { throw "The host ended: $(Get-Content "$Folder/host.err" -Raw)" }
    }
    $process
}

function Stop-BenchHost($Process) {
    if ($Process -and -not $Process.HasExited) {
        sh -c "kill -s TERM $($Process.Id)"
        if (-not $Process.WaitForExit(120000)) { throw "The host $($Process.Id) does not end." }
    }
}

# Processor time of all threads, proc_pid_stat(5); in ticks of 10 ms.
function Get-ProcessorSeconds([int] $Id) {
    $fields = (Get-Content "/proc/$Id/stat") -replace '^.*\) ' -split ' '
    ([long] $fields[11] + [long] $fields[12]) / 100
}

# Memory of smaps_rollup in proc_pid_smaps(5): private is what no other process shares.
function Get-ProcessFigures([int] $Id) {
    $kib = @{}
    foreach ($line in Get-Content "/proc/$Id/smaps_rollup") {
        if ($line -match '^(\w+):\s+(\d+) kB') { $kib[$Matches[1]] = [double] $Matches[2] }
    }
    [pscustomobject] @{
        ResidentMiB = $kib.Rss / 1024
        PrivateMiB = ($kib.Private_Clean + $kib.Private_Dirty) / 1024
        Threads = @([IO.Directory]::GetDirectories("/proc/$Id/task")).Count
        Descriptors = @([IO.Directory]::GetFileSystemEntries("/proc/$Id/fd")).Count
        ProcessorSeconds = Get-ProcessorSeconds $Id
    }
}

function Get-Quantile([double[]] $Values, [double] $Quantile = 0.5) {
    $sorted = $Values | Sort-Object
    @($sorted)[[Math]::Min($Values.Count - 1, [Math]::Floor($Values.Count * $Quantile))]
}

# The median, and the least and the most.
function Format-Spread([double[]] $Values, [int] $Digits) {
    $number = "0.$('0' * $Digits)"
    "{0:$number} ({1:$number} to {2:$number})" -f (Get-Quantile $Values), (Get-Quantile $Values 0), (Get-Quantile $Values 1)
}

# A table in Markdown.
function Format-Figures {
    $rows = @($input)
    $names = @($rows[0].PSObject.Properties.Name)
    "| $($names -join ' | ') |"
    "|$('---|' * $names.Count)"
    foreach ($row in $rows) { "| $(($names | ForEach-Object { $row.$_ }) -join ' | ') |" }
}
