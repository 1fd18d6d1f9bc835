# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'Backup repositories' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        Write-FleeceDisk vm 1MB ([byte[]] (1..255))
    }
    AfterEach { Exit-TestFolder }

    It 'begin with a full backup and go on with what changed' {
        $null = Backup-FleeceDisk vm ./backups
        Write-FleeceDisk vm 64KB ([byte[]] (1, 2, 3))
        $null = Backup-FleeceDisk vm ./backups

        $points = Get-FleeceBackup ./backups
        $points.Kind | Should -Be Full, Incremental
        $points[1].ParentId | Should -Be $points[0].Id
        ($points | Test-FleeceBackup -Deep).IsGood | Should -Be $true, $true
    }

    It 'keep as many as they are told, and restore the disk' {
        foreach ($night in 1..4) {
            Write-FleeceDisk vm ($night * 64KB) ([byte[]] $night)
            $null = Backup-FleeceDisk vm ./backups -Keep 2 -Verify
        }

        (Get-FleeceBackup ./backups).Number | Should -Be 3, 4
        $restored = Get-FleeceBackup ./backups | Select-Object -Last 1 | Restore-FleeceBackup -DestinationPath ./restored.qcow2
        $restored.Format | Should -Be Qcow2
        $path = (Get-FleeceDisk vm).Path
        Dismount-FleeceDisk vm
        (Compare-FleeceImage ./restored.qcow2 $path).AreEqual | Should -BeTrue
    }

    It 'go on after a pipeline that was cut' {
        $null = New-FleeceBitmap vm daily
        $session = Start-FleeceSession vm -Bitmap daily
        { Read-FleeceSnapshot vm -DiscardConsumed | Select-Object -First 1 | Export-Backup ./backups/ } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand'
        Stop-FleeceSession $session
        Get-FleeceBackup ./backups | Should -BeNullOrEmpty

        $session = Start-FleeceSession vm -Bitmap daily
        $backup = Read-FleeceSnapshot vm -DiscardConsumed | Export-Backup ./backups/
        Stop-FleeceSession $session -Success
        $backup.Point.Kind | Should -Be Full
        (Get-FleeceBitmap vm daily).BaselineId | Should -Be $backup.Point.Id
    }

    It 'refuse an incremental backup where the one it builds on is not' {
        $null = Backup-FleeceDisk vm ./backups
        Remove-Item ./backups/*.json

        { Backup-FleeceDisk vm ./backups -ErrorAction Stop } |
            Should -Throw -ErrorId 'BackupParentMissing,Fleece.BackupFleeceDiskCommand'
        (Backup-FleeceDisk vm ./backups -Full).Point.Kind | Should -Be Full
    }
}
