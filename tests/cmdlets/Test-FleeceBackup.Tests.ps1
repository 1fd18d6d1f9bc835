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

    It 'that build on one that is gone are not good, and say which' {
        foreach ($night in 1..3) {
            Write-FleeceDisk vm ($night * 64KB) ([byte[]] $night)
            $null = Backup-FleeceDisk vm ./backups
        }
        Remove-Item ./backups/vm-000002.qcow2

        $reports = Test-FleeceBackup ./backups
        $reports.IsGood | Should -Be $true, $false, $false
        $reports[2].Findings[0].Message | Should -BeLike '*builds on the backup 2*vm-000002.qcow2*'
        ($reports | Out-String -Width 120) | Should -BeLike '*builds on*'
        (Test-FleeceBackup ./backups/vm-000003.qcow2).IsGood | Should -Be $true, $false, $false
    }

    It 'go on with manifests of the version without seals, and say that they have none' {
        $null = Backup-FleeceDisk vm ./backups
        $path = "$PWD/backups/vm-000001.json"
        $manifest = [IO.File]::ReadAllText($path) -replace '"fleeceManifest": 2', '"fleeceManifest": 1'
        [IO.File]::WriteAllText($path, ($manifest -replace '(?m)^  "(parentContentDigest|contentDigest|hasMerged)".*\n' -replace ',\n  "seal".*'))
        Write-FleeceDisk vm 64KB ([byte[]] (1, 2, 3))
        $null = Backup-FleeceDisk vm ./backups

        (Get-FleeceBackup ./backups).IsSealed | Should -Be $false, $true
        $reports = Test-FleeceBackup ./backups -Deep -WarningVariable tested -WarningAction Ignore
        $null = Restore-FleeceBackup ./backups ./r.raw -WarningVariable restored -WarningAction Ignore
        $reports.IsGood | Should -Be $true, $true
        $reports.IsSealed | Should -Be $false, $true
        "$tested" | Should -BeLike '*vm-000001.json*has no seal*'
        "$restored" | Should -BeLike '*vm-000001.json*has no seal*'
    }
}

Describe 'A backup by itself' {
    BeforeEach {
        Enter-TestFolder
        $instant = Get-RandomData 2MB
        New-MountedDisk -Data $instant
        $null = Start-FleeceSession vm
    }

    AfterEach { Exit-TestFolder }

    It 'is tested and restored by the manifest beside it' {
        $backup = Read-FleeceSnapshot vm | Export-Backup ./b.qcow2

        './b.qcow2.json' | Should -Exist
        $report = $backup | Test-FleeceBackup -Deep
        $report.IsGood | Should -BeTrue
        $report.CheckedBytes | Should -Be 2MB
        $null = Get-FleeceBackup ./*.qcow2 | Restore-FleeceBackup -DestinationPath ./restored.raw
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/restored.raw")) $instant | Should -BeTrue
    }

    It 'beside another image it is not believed' {
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.raw
        $other = [IO.File]::ReadAllBytes("$PWD/b.raw")
        $other[1MB] = $other[1MB] -bxor 1
        [IO.File]::WriteAllBytes("$PWD/b.raw", $other)

        (Test-FleeceBackup ./b.raw -Deep).Findings.Kind | Should -Be BackupDigestMismatch
        { Restore-FleeceBackup ./b.raw ./r.raw -ErrorAction Stop } |
            Should -Throw -ErrorId 'BackupDigestMismatch,Fleece.RestoreFleeceBackupCommand'
    }

    It 'is tested under another name, which its manifest has too' {
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.qcow2
        Move-Item ./b.qcow2 ./vm-000001.qcow2
        Move-Item ./b.qcow2.json ./vm-000001.qcow2.json

        (Test-FleeceBackup ./vm-000001.qcow2 -Deep).IsGood | Should -BeTrue
        Get-FleeceBackup . | Should -BeNullOrEmpty
    }

    # The length is the same, and where the manifest says zeros the image has data: only its content tells.
    It 'with data where its manifest says zeros is not believed' {
        New-MountedDisk -Name zeros
        Write-FleeceDisk zeros 0 1
        $null = Start-FleeceSession zeros
        $null = Read-FleeceSnapshot zeros | Export-Backup ./z.raw
        $bytes = [IO.File]::ReadAllBytes("$PWD/z.raw")
        $bytes[1MB + 5] = 1
        [IO.File]::WriteAllBytes("$PWD/z.raw", $bytes)

        (Test-FleeceBackup ./z.raw -Deep).Findings.OffsetBytes | Should -Be (1MB + 5)
        { Restore-FleeceBackup ./z.raw ./r.raw -ErrorAction Stop } |
            Should -Throw -ErrorId 'BackupDigestMismatch,Fleece.RestoreFleeceBackupCommand'
        './r.raw' | Should -Not -Exist
    }

    It 'of another length is not believed at first sight' {
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.raw
        $file = [IO.File]::OpenWrite("$PWD/b.raw")
        $file.SetLength(8MB)
        $file.Dispose()

        (Test-FleeceBackup ./b.raw).IsGood | Should -BeFalse
        { Get-FleeceBackup ./b.raw -ErrorAction Stop } | Should -Throw -ErrorId 'BackupChainBroken,Fleece.GetFleeceBackupCommand'
    }
}

Describe 'A request to Test-FleeceBackup' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Test-FleeceBackup ./nowhere'; Id = 'ImageNotFound,Fleece.TestFleeceBackupCommand' }
        @{ Command = 'Test-FleeceBackup ./small.raw'; Id = 'BackupNotFound,Fleece.TestFleeceBackupCommand' }
    ) { Assert-Refused $Command $Id }
}
