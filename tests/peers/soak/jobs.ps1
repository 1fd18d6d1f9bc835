# SPDX-License-Identifier: MIT
# The administrator of soak.py: one shell that backs disks up, reads snapshots to their end and half, and stops sessions, until its folder has
# a file "stop". A host that is away for a moment is asked again; any other error is a line that begins with ERROR.
param([string] $Folder, [int] $Seed)
$ErrorActionPreference = 'Stop'
Import-Module $env:FLEECE_MODULE
$random = [Random]::new($Seed)
$count = 0
$names = 'raw', 'qcow2', 'vhdx', 'vhd'

# A session that the restart of the host left, and that no reader will come back to.
function Clear-Sessions([string] $Disk) {
    Get-FleeceSession | Where-Object Disk -EQ $Disk | ForEach-Object { $null = Stop-FleeceSession $_.Id }
}

while (-not (Test-Path "$Folder/stop")) {
    $disk = $names[$random.Next($names.Count)]
    try {
        Clear-Sessions $disk

        # A kill of the host has cut that backup off, and it is given up.
        Remove-Item "$Folder/once.qcow2.partial" -ErrorAction Ignore
        switch ($random.Next(3)) {
            0 { $null = Backup-FleeceDisk $disk -RepositoryPath "$Folder/backups-$disk" -Keep 3 }
            1 {
                $null = Start-FleeceSession $disk -Name soak -TempLimitBytes 64MB -MaxGuestDelay 0:0:0.005

                # One that a kill cuts off says where the consumed chunks are. One that goes through has nothing to warn of.
                $null = Read-FleeceSnapshot "$disk/soak" -DiscardConsumed -Order AtRiskFirst |
                    Export-FleeceBackup -DestinationPath "$Folder/once.qcow2" -Force -WarningVariable warned -WarningAction SilentlyContinue
                if ($warned) { [Console]::Out.WriteLine("ERROR $disk warned: $warned") }
                $null = Stop-FleeceSession "$disk/soak" -Success
            }
            2 {
                $null = Start-FleeceSession $disk -Name soak
                $null = Read-FleeceSnapshot "$disk/soak" | Select-Object -First 8 | ForEach-Object { $_.Dispose() }
                $null = Stop-FleeceSession "$disk/soak"
            }
        }
        $count++
    } catch {
        if ($_.FullyQualifiedErrorId -notmatch '^(Host|ConnectionLost|Nbd|Session(Unknown|Stopped)|Disk(Unknown|NotFound)|Closed)') {
            [Console]::Out.WriteLine("ERROR $disk $($_.FullyQualifiedErrorId): $($_.Exception.Message)")
        }
        Start-Sleep -Milliseconds 500
    }
    [Console]::Out.WriteLine("JOBS $count")
}
