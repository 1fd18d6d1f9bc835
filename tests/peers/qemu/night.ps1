# SPDX-License-Identifier: MIT
# Backs both disks up at one instant, says what came of it, and restores them beside: RESTORED.virtio0.raw and RESTORED.virtio1.raw.
param([string] $QmpSocketPath, [string] $RepositoryPath, [string] $RestoredPath)
$ErrorActionPreference = 'Stop'
Import-Module $env:FLEECE_MODULE

$devices = 'virtio0', 'virtio1'
$backups = @(Backup-FleeceDisk -QmpSocketPath $QmpSocketPath -Device $devices -RepositoryPath $RepositoryPath -QuiesceGuest)
if ($backups.Count -ne 2) { throw "$($backups.Count) backups of two disks" }
for ($i = 0; $i -lt 2; $i++) {
    '{0}: {1} of {2} bytes' -f $devices[$i], $backups[$i].Point.Kind, $backups[$i].DataBytes
    $null = Restore-FleeceBackup $backups[$i] -DestinationPath "$RestoredPath.$($devices[$i]).raw" -Force
}
