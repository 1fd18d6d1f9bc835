# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Serves a raw image and says what memory the process has. Commands come as lines; each is answered with one.

.DESCRIPTION
measure   bytes resident (VmRSS), and bytes live after a full collection
session   starts a session, reads all of its snapshot, and stops it
The process ends with its input.
#>
param([string] $ModulePath, [string] $Folder)
$ErrorActionPreference = 'Stop'
Import-Module $ModulePath
Set-Location $Folder
$null = Mount-FleeceDisk ./vm.raw -Format Raw -ListenUri "nbd+unix:///?socket=$([uri]::EscapeDataString("$Folder/vm.sock"))"

function Get-ResidentBytes { [long] ([IO.File]::ReadAllText('/proc/self/status') -replace '(?s).*VmRSS:\s*(\d+).*', '$1') * 1KB }

[Console]::Out.WriteLine('ready')
while ($null -ne ($command = [Console]::In.ReadLine())) {
    $answer = switch ($command) {
        'measure' {
            $resident = Get-ResidentBytes
            "$resident $([GC]::GetTotalMemory($true))"
        }
        'session' {
            $null = Start-FleeceSession vm -Name soak
            $readBytes = 0
            Read-FleeceSnapshot soak | ForEach-Object { $readBytes += $_.LengthBytes }
            $null = Stop-FleeceSession soak
            $readBytes
        }
    }
    [Console]::Out.WriteLine($answer)
}
$null = Dismount-FleeceDisk vm -Force
