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
        './backups' | Should -Not -Exist

        $session = Start-FleeceSession vm -Bitmap daily
        $backup = Read-FleeceSnapshot vm -DiscardConsumed | Export-Backup ./backups/
        Stop-FleeceSession $session -Success
        $backup.Point.Kind | Should -Be Full
        (Get-FleeceBitmap vm daily).BaselineId | Should -Be $backup.Point.Id
    }

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

    It 'say which image has lost its manifest' {
        $null = Backup-FleeceDisk vm ./backups
        $null = Backup-FleeceDisk vm ./backups
        Remove-Item ./backups/vm-000002.json

        $null = Get-FleeceBackup ./backups -WarningVariable listed -WarningAction Ignore
        "$listed" | Should -BeLike "*vm-000002.qcow2*'vm-000002.json'*"
        { Get-FleeceBackup ./backups/vm-000002.qcow2 -ErrorAction Stop } | Should -Throw "*'vm-000002.json'*"
    }

    It 'that are full without being asked for say why' {
        $null = Backup-FleeceDisk vm ./backups -WarningVariable first
        $null = Get-FleeceBitmap vm | Clear-FleeceBitmap -Force
        $null = Backup-FleeceDisk vm ./backups -WarningVariable second -WarningAction Ignore

        $first | Should -BeNullOrEmpty
        "$second" | Should -BeLike 'A full backup is made, because*'
    }

    It 'say why one is full after QEMU wrote to the dismounted disk' {
        if (-not (Get-Command qemu-img, qemu-io -CommandType Application -ErrorAction Ignore)) {
            Set-ItResult -Skipped -Because 'qemu-img and qemu-io are not installed'
        }
        & qemu-img create -q -f qcow2 guest.qcow2 4M
        $null = Mount-FleeceDisk ./guest.qcow2
        $null = Backup-FleeceDisk guest ./guests -WarningVariable first
        Dismount-FleeceDisk guest
        & qemu-io -f qcow2 -c 'write -P 7 0 64k' guest.qcow2 | Out-Null
        $null = Mount-FleeceDisk ./guest.qcow2

        $backup = Backup-FleeceDisk guest ./guests -WarningVariable second -WarningAction Ignore

        $first | Should -BeNullOrEmpty
        $backup.Point.Kind | Should -Be Full
        "$second" | Should -BeLike 'A full backup is made, because*another program has written*'
    }

    It 'of which none can be taken out are an error, and the new backup is one' {
        $null = Backup-FleeceDisk vm ./backups
        [IO.File]::WriteAllText("$PWD/backups/vm-000001.json", '')

        $backup = Backup-FleeceDisk vm ./backups -Full -Keep 1 -ErrorVariable failed -ErrorAction SilentlyContinue
        $backup = @($backup) + @(Backup-FleeceDisk vm ./backups -Keep 1 -ErrorVariable +failed -ErrorAction SilentlyContinue)
        $backup.Point.Number | Should -Be 2, 3
        $failed[-1].FullyQualifiedErrorId | Should -Be 'BackupManifestInvalid,Fleece.BackupFleeceDiskCommand'
        "$($failed[-1])" | Should -BeLike '*it is empty*move*vm-000001.json*out of the folder*'
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

    It 'begin a restore anew whose note is damaged, and say so' {
        $null = Backup-FleeceDisk vm ./backups
        [IO.File]::WriteAllText("$PWD/r.raw.partial", 'half')
        [IO.File]::WriteAllText("$PWD/r.raw.partial.progress", 'damaged')

        $null = Restore-FleeceBackup ./backups ./r.raw -WarningVariable restored -WarningAction Ignore

        "$restored" | Should -BeLike '*begins anew*'
        './r.raw.partial*' | Should -Not -Exist
    }

    It 'refuse an incremental backup where the one it builds on is not' {
        $null = Backup-FleeceDisk vm ./backups
        Remove-Item ./backups/*.json

        { Backup-FleeceDisk vm ./backups -ErrorAction Stop } |
            Should -Throw -ErrorId 'BackupParentMissing,Fleece.BackupFleeceDiskCommand'
        (Backup-FleeceDisk vm ./backups -Full).Point.Kind | Should -Be Full
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

    It 'without it says what is missing' {
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.raw -NoManifest

        './b.raw.json' | Should -Not -Exist
        { Restore-FleeceBackup ./b.raw ./r.raw -ErrorAction Stop } |
            Should -Throw "*'b.raw.json' is not beside it*Convert-FleeceImage*" -ErrorId 'BackupNotFound,Fleece.RestoreFleeceBackupCommand'
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

    It 'is restored to an export, whatever that held' {
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.qcow2
        New-MountedDisk -Name target -Data (Get-RandomData 2MB -Seed 9)
        $null = Publish-FleeceExport target "nbd+unix:///?socket=$PWD/s"

        Restore-FleeceBackup ./b.qcow2 -DestinationUri "nbd+unix:///target?socket=$PWD/s" -Force | Should -BeNullOrEmpty

        Test-SameData (Read-FleeceDisk target 0 2MB) $instant | Should -BeTrue
    }
}
