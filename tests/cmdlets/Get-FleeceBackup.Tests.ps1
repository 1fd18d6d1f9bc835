# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Backup repositories' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        Write-FleeceDisk vm 1MB ([byte[]] (1..255))
    }
    AfterEach { Exit-TestFolder }

    It 'refuse a manifest that was edited, by its name' {
        foreach ($night in 1..3) {
            Write-FleeceDisk vm ($night * 64KB) ([byte[]] $night)
            $null = Backup-FleeceDisk vm ./backups
        }
        $path = "$PWD/backups/vm-000003.json"
        [IO.File]::WriteAllText($path, ([IO.File]::ReadAllText($path) -replace '(?s)"content": \[.*\]', '"content": []'))

        (Get-FleeceBackup ./backups -ErrorAction Ignore).Number | Should -Be 1, 2
        { Get-FleeceBackup ./backups -ErrorAction Stop } |
            Should -Throw '*vm-000003.json*' -ErrorId 'BackupManifestInvalid,Fleece.GetFleeceBackupCommand'
        { Test-FleeceBackup ./backups -Deep -ErrorAction Stop } |
            Should -Throw '*vm-000003.json*' -ErrorId 'BackupManifestInvalid,Fleece.TestFleeceBackupCommand'
        { Restore-FleeceBackup ./backups ./r.raw -ErrorAction Stop } |
            Should -Throw "*vm-000003.json*name its file*vm-000002.qcow2*" -ErrorId 'BackupManifestInvalid,Fleece.RestoreFleeceBackupCommand'
        { Restore-FleeceBackup ./backups/vm-000003.qcow2 ./r.raw -ErrorAction Stop } |
            Should -Throw '*vm-000003.json*' -ErrorId 'BackupManifestInvalid,Fleece.RestoreFleeceBackupCommand'
        { Backup-FleeceDisk vm ./backups -ErrorAction Stop } |
            Should -Throw '*-Full*vm-000003.json*' -ErrorId 'BackupParentMissing,Fleece.BackupFleeceDiskCommand'
        './r.raw' | Should -Not -Exist
        (Restore-FleeceBackup ./backups/vm-000002.qcow2 ./r.raw).SizeBytes | Should -Be 2MB
    }

    It 'say which image has lost its manifest' {
        $null = Backup-FleeceDisk vm ./backups
        $null = Backup-FleeceDisk vm ./backups
        Remove-Item ./backups/vm-000002.json

        $null = Get-FleeceBackup ./backups -WarningVariable listed -WarningAction Ignore
        "$listed" | Should -BeLike "*vm-000002.qcow2*'vm-000002.json'*"
        { Get-FleeceBackup ./backups/vm-000002.qcow2 -ErrorAction Stop } | Should -Throw "*'vm-000002.json'*"
    }
}

Describe 'A request to Get-FleeceBackup' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceBackup ./nowhere'; Id = 'ImageNotFound,Fleece.GetFleeceBackupCommand' }
        @{ Command = 'Get-FleeceBackup ./repo -At 2001-01-01'; Id = 'BackupNotFound,Fleece.GetFleeceBackupCommand' }
        @{ Command = 'Get-FleeceBackup ./small.raw'; Id = 'BackupNotFound,Fleece.GetFleeceBackupCommand' }
    ) { Assert-Refused $Command $Id }
}
