# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Another PowerShell that serves disks, and does what tests tell it to.

.DESCRIPTION
It works in a folder "server" below the test's own and ends with the test's process at the latest. Its disks vm, db and so on are raw
images of 4 MiB, at the socket server/NAME.sock.
#>

function Get-ServedUri([string] $Export, [string] $Disk = 'vm') { "nbd+unix:///${Export}?socket=$PWD/server/$Disk.sock" }

function Start-Server([string[]] $Disks = 'vm') {
    $null = New-Item server -ItemType Directory
    $seed = 1
    foreach ($disk in $Disks) { [IO.File]::WriteAllBytes("$PWD/server/$disk.raw", (Get-RandomData 4MB ($seed++))) }
    Set-Content server/server.ps1 @'
param($Module, $Parent, $Disks)
$ErrorActionPreference = 'Stop'
Import-Module $Module
foreach ($disk in $Disks -split ',') { $null = Mount-FleeceDisk "./$disk.raw" -ListenUri "nbd+unix:///?socket=$PWD/$disk.sock" }
Set-Content ready.new ready
Move-Item ready.new ready
while (-not (Test-Path stop) -and (Get-Process -Id $Parent -ErrorAction Ignore)) {
    if (Test-Path todo.ps1) {
        try { . ./todo.ps1 > answer.new } catch { Set-Content answer.new "failed: $_" }
        Remove-Item todo.ps1
        Move-Item answer.new answer
    }
    Start-Sleep -Milliseconds 20
}
'@
    $program, $first = @(Get-PowerShellCommand)
    $arguments = @($first) + '-NoProfile', '-NonInteractive', '-File', 'server.ps1', (Get-ModuleUnderTest), $PID, ($Disks -join ',')
    $process = Start-Process $program ($arguments | Where-Object { $_ }) -WorkingDirectory "$PWD/server" -PassThru `
        -Environment @{ FLEECE_HOST = 'none' } `
        -RedirectStandardOutput server/out.txt -RedirectStandardError server/err.txt
    while (-not (Test-Path server/ready)) {
        if ($process.WaitForExit(50)) { throw "The server ended: $(Get-Content server/err.txt -Raw)" }
    }
    $process
}

# Runs a piece of script in the server, and returns the text that comes of it.
function Invoke-Server($Server, [scriptblock] $Script) {
    Set-Content server/todo.new "$Script"
    Move-Item server/todo.new server/todo.ps1
    while (-not (Test-Path server/answer)) {
        if ($Server.WaitForExit(20)) { throw "The server ended: $(Get-Content server/err.txt -Raw)" }
    }
    $answer = Get-Content server/answer -Raw
    Remove-Item server/answer
    if ($answer -like 'failed: *') { throw $answer }
    "$answer".Trim()
}

# The image itself is locked while the server has it.
function Get-ServedDigest($Server) {
    Invoke-Server $Server { [Convert]::ToHexString([Security.Cryptography.SHA256]::HashData((Read-FleeceDisk vm 0 4MB))) }
}

# Clients before their server: closing flushes, and that waits for a server that is gone.
function Stop-Server($Server) {
    Get-FleeceDisk | Where-Object Path -Like 'nbd*' | Dismount-FleeceDisk -Force
    Set-Content server/stop stop
    if (-not $Server.WaitForExit(30000)) { $Server.Kill() }
}

function Get-FailureOf([scriptblock] $Action) {
    try {
        $null = & $Action
    } catch {
        return $_
    }
}
