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

    It 'give points, which are piped to be tested and restored' {
        $first = Backup-FleeceDisk vm ./backups
        Write-FleeceDisk vm 1MB ([byte[]] (1..255))
        $second = Backup-FleeceDisk vm ./backups

        @(Get-FleeceBackup ./backups | Test-FleeceBackup -Deep) | Should -HaveCount 2
        @((Get-FleeceBackup ./backups)[-1] | Test-FleeceBackup) | Should -HaveCount 2
        @($second | Test-FleeceBackup).Number | Should -Be 1, 2
        ($first | Get-FleeceBackup).Number | Should -Be 1
        ((Get-FleeceBackup ./backups)[0] | Restore-FleeceBackup -DestinationPath ./first.raw).SizeBytes | Should -Be 2MB
        (Get-FleeceBackup ./backups -At ([datetime]::Now)).Number | Should -Be 2
    }
}

Describe 'A backup that is one file' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 4MB
        Write-FleeceDisk vm 1MB (Get-RandomData 1MB)
        $script:session = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'is found, tested and restored by its manifest: <_>' -ForEach 'raw', 'qcow2', 'vhdx', 'vhd' {
        $null = Read-FleeceSnapshot | Export-Backup "./b.$_"

        $point = Get-FleeceBackup "./b.$_"

        $point.Kind, $point.Disk, $point.Number, $point.SizeBytes, $point.DataBytes | Should -Be Full, vm, 0, 4MB, 1MB
        $point.Id | Should -Be $session.InstantId
        $report = $point | Test-FleeceBackup -Deep
        $report.IsGood | Should -BeTrue
        $report.CheckedBytes | Should -Be 1MB
        $null = Restore-FleeceBackup "./b.$_" ./restored.raw
        $null = $point | Restore-FleeceBackup -DestinationPath ./restored.vhdx
        './restored.raw.json' | Should -Not -Exist
        Stop-FleeceSession vm
        Dismount-FleeceDisk vm
        (Compare-FleeceImage ./vm.raw ./restored.raw).AreEqual | Should -BeTrue
        (Compare-FleeceImage ./vm.raw ./restored.vhdx).AreEqual | Should -BeTrue
    }

    It 'is meant by its object, its manifest and wildcards too' {
        $backup = Read-FleeceSnapshot | Export-Backup ./b.qcow2

        ($backup | Get-FleeceBackup).Path | Should -Be $backup.Path
        (Get-FleeceBackup ./b.qcow2.json).Path | Should -Be $backup.Path
        @(Get-FleeceBackup ./*.qcow2).Path | Should -Be $backup.Path
    }

    It 'and has no manifest is refused with its name and the way: <_>' -ForEach 'Get-FleeceBackup', 'Test-FleeceBackup' {
        $null = Read-FleeceSnapshot | Export-Backup ./b.raw -NoManifest

        { & $_ ./b.raw -ErrorAction Stop } |
            Should -Throw "*its manifest 'b.raw.json' is not beside it*Convert-FleeceImage*" -ErrorId 'BackupNotFound,*'
    }

    It 'and is gone is named: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceBackup ./b.raw' }
        @{ Command = 'Restore-FleeceBackup ./b.raw ./r.raw' }
    ) {
        $null = Read-FleeceSnapshot | Export-Backup ./b.raw
        Remove-Item ./b.raw

        { & ([scriptblock]::Create("$Command -ErrorAction Stop")) } | Should -Throw '*b.raw*' -ErrorId 'BackupChainBroken,*'
        (Test-FleeceBackup ./b.raw).IsGood | Should -BeFalse
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
