# SPDX-License-Identifier: MIT
# A session of both disks from its start to its end, and says where it is, for a kill.
param([string] $QmpSocketPath, [string] $BackupPath)
$ErrorActionPreference = 'Stop'
Import-Module $env:FLEECE_MODULE

'starting'
$sessions = Start-FleeceSession -QmpSocketPath $QmpSocketPath -Device virtio0, virtio1 -QuiesceGuest
'reading'
$null = New-Item -ItemType Directory $BackupPath
foreach ($session in $sessions) {
    $null = Read-FleeceSnapshot -Session $session -DiscardConsumed | Export-Backup -DestinationPath "$BackupPath/$($session.Disk).qcow2"
}
'stopping'
$sessions | Stop-FleeceSession
'stopped'
