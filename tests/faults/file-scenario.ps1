# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Makes backups, images, bitmaps and mounts whose own files can't be made durable, and says as JSON what came of each.

.DESCRIPTION
Runs in a process of its own with failing-flush.so preloaded, in the folder that its location is.

.PARAMETER Module
The manifest of the module under test.
#>
param([string] $Module)

$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
Import-Module $Module
. "$PSScriptRoot/Faults.ps1"

# What an action failed with while the flushes of a file fail, and which of the files it was to make are there.
function Invoke-Failing([string] $PathEnd, [string] $Made, [scriptblock] $Action, [int] $First = 1) {
    Set-Fault $PathEnd -First $First
    $failure = Get-Failure $Action
    Clear-Fault
    @{ Failure = $failure; Made = @(Get-ChildItem -Filter $Made | ForEach-Object Name) }
}

$results = @{}
[IO.File]::WriteAllBytes("$PWD/source.raw", [byte[]] (1..128) * 8192)
$null = New-FleeceImage ./vm.raw -SizeBytes 4MB
$null = Mount-FleeceDisk ./vm.raw
Write-FleeceDisk vm 0 ([byte[]] (1..128) * 32768)
$session = Start-FleeceSession vm

foreach ($format in 'raw', 'qcow2', 'vhd', 'vhdx') {
    # The first chunk has the target made; the flush that fails is one of its completion.
    $results["backup-$format"] = Invoke-Failing 'none' "b.$format*" {
        Read-FleeceSnapshot vm -ChunkSizeBytes 1MB |
            ForEach-Object { if ($_.OffsetBytes -eq 2MB) { Set-Fault "b.$format.partial" }; $_ } | Export-FleeceBackup "./b.$format"
    }
    $results["create-$format"] = Invoke-Failing "n.$format" "n.$format*" { New-FleeceImage "./n.$format" -SizeBytes 4MB }
}
# The flush before it is that of the new, empty image.
$results['convert'] = Invoke-Failing 'c.raw.partial' 'c.raw*' { Convert-FleeceImage ./source.raw -DestinationPath ./c.raw } -First 2
$results['backup-manifest'] = Invoke-Failing 'm.qcow2.json.partial' 'm.qcow2*' { Read-FleeceSnapshot vm | Export-FleeceBackup ./m.qcow2 }
$results['backup-folder'] = Invoke-Failing "$PWD" 'none' { Read-FleeceSnapshot vm | Export-FleeceBackup ./f.qcow2 }
$null = New-Item ./repository -ItemType Directory # One that a failed job makes goes with it.
$results['repository'] = Invoke-Failing '.partial' 'none' { Read-FleeceSnapshot vm | Export-FleeceBackup ./repository/ }
$results['repository'].Made = @(Get-FleeceBackup ./repository | ForEach-Object Path)

$null = Read-FleeceSnapshot vm | Export-FleeceBackup ./good.qcow2
$results['restore'] = Invoke-Failing 'r.raw.partial' 'r.raw*' { Restore-FleeceBackup ./good.qcow2 -DestinationPath ./r.raw } -First 2

# Only what the target has made durable may leave the snapshot.
$null = New-FleeceImage ./target.raw -SizeBytes 4MB
$null = Mount-FleeceDisk ./target.raw -ListenUri "nbd+unix:///target?socket=$PWD/s"
$results['discard'] = Invoke-Failing 'target.raw' 'none' {
    Read-FleeceSnapshot vm -DiscardConsumed | Export-FleeceBackup -DestinationUri "nbd+unix:///target?socket=$PWD/s"
}
$results['discard'].ConsumedBytes = (Get-FleeceSession $session).ConsumedBytes
$null = Get-Failure { Dismount-FleeceDisk target -Force }
Stop-FleeceSession vm

# The bitmaps' own file, while the image's flushes work.
$null = New-FleeceBitmap vm daily
Write-FleeceDisk vm 1MB ([byte[]] (1..255) * 16)
$results['sidecar-always'] = Invoke-Failing 'vm.raw.fleece-bitmaps' 'none' { Dismount-FleeceDisk vm }
$null = Mount-FleeceDisk ./vm.raw -WarningAction Ignore
$results['sidecar-always'].Bitmaps = @(Get-FleeceBitmap vm | ForEach-Object { "$($_.State)" })
if (-not $results['sidecar-always'].Bitmaps) { $null = New-FleeceBitmap vm daily } else { Clear-FleeceBitmap vm daily -Force }
Write-FleeceDisk vm 1MB ([byte[]] (1..255) * 16)
Set-Fault 'vm.raw.fleece-bitmaps' -Times 1
$results['sidecar-once'] = @{ Failure = Get-Failure { Dismount-FleeceDisk vm } }
Clear-Fault
$null = Mount-FleeceDisk ./vm.raw -WarningAction Ignore
$results['sidecar-once'].Bitmaps = @(Get-FleeceBitmap vm | ForEach-Object { "$($_.State): $($_.Reason)" })
Dismount-FleeceDisk vm

# A copy of an image that is in use has a log to replay.
$null = New-FleeceImage ./log.vhdx -SizeBytes 64MB
$null = Mount-FleeceDisk ./log.vhdx
Write-FleeceDisk log 1MB ([byte[]] (1..255) * 16) -ForceUnitAccess
cp log.vhdx crashed.vhdx
$results['log'] = Invoke-Failing 'crashed.vhdx' 'none' { Mount-FleeceDisk ./crashed.vhdx }
$null = Mount-FleeceDisk ./crashed.vhdx
$results['log'].Status = "$((Get-FleeceDisk crashed).OperationalStatus)"
$results['log'].Data = (Read-FleeceDisk crashed 1MB 4)
ConvertTo-Json $results -Depth 4
Get-FleeceDisk | Dismount-FleeceDisk -Force -ErrorAction Ignore
