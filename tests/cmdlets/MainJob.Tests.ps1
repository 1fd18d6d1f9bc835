# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'A backup of a <Disk> disk into a <Backup> file' -ForEach @(
    @{ Disk = 'raw'; Backup = 'raw' }
    @{ Disk = 'raw'; Backup = 'qcow2' }
    @{ Disk = 'qcow2'; Backup = 'raw' }
    @{ Disk = 'qcow2'; Backup = 'qcow2' }
) {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 2MB
        New-MountedDisk -Extension $Disk -SizeBytes 4MB -Data $old
        $null = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'is the disk as it was at the instant, although guests write while it is made' {
        $new = Get-RandomData 64KB -Seed 8

        # The guest writes from the end while the backup reads from the start: before, at and behind the place being read.
        $result = Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB | ForEach-Object {
            if (-not $_.IsZero) { Write-FleeceDisk vm (2MB - 64KB - $_.OffsetBytes) $new }
            $_
        } | Export-Backup -DestinationPath "./b.$Backup"

        $null = Mount-FleeceDisk "./b.$Backup" -ReadOnly
        Test-SameData (Read-FleeceDisk b 0 2MB) $old | Should -BeTrue
        Test-SameData (Read-FleeceDisk b 2MB 2MB) ([byte[]]::new(2MB)) | Should -BeTrue
        Test-SameData (Read-FleeceDisk vm 0 64KB) $new | Should -BeTrue
        "$($result.Format)" | Should -Be $Backup
        $result.SizeBytes | Should -Be 4MB
        $result.DataBytes + $result.ZeroBytes | Should -Be 4MB
    }

    It 'leaves nothing to read and no file but the two images and the manifest' {
        $null = Read-FleeceSnapshot -DiscardConsumed | Export-Backup "./b.$Backup"

        (Get-FleeceSession vm).ConsumedBytes | Should -Be 4MB
        Get-FleeceSnapshotMap vm | Select-Object -ExpandProperty State | Should -Be 'Consumed'
        Stop-FleeceSession vm
        (Get-ChildItem).Name | Sort-Object | Should -Be "b.$Backup", "b.$Backup.json", "vm.$Disk"
    }

    It 'can be made twice when nothing is consumed' {
        Write-FleeceDisk vm 0 ([byte[]]::new(1MB))

        $null = Read-FleeceSnapshot vm | Export-Backup "./b1.$Backup"
        $null = Read-FleeceSnapshot vm | Export-Backup "./b2.$Backup"

        $null = Mount-FleeceDisk "./b1.$Backup", "./b2.$Backup" -ReadOnly
        Test-SameData (Read-FleeceDisk b1 0 2MB) $old | Should -BeTrue
        Test-SameData (Read-FleeceDisk b2 0 2MB) $old | Should -BeTrue
    }
}

Describe 'One instant over two disks' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'gives sessions that started at the same time, and a backup of each' {
        New-MountedDisk -Name a -Data (Get-RandomData 1MB -Seed 1)
        New-MountedDisk -Name b -Data (Get-RandomData 1MB -Seed 2)

        $sessions = Get-FleeceDisk a, b | Start-FleeceSession -Name nightly
        Write-FleeceDisk a 0 ([byte[]]::new(1MB))
        Write-FleeceDisk b 0 ([byte[]]::new(1MB))
        $backups = $sessions | ForEach-Object { $_ | Read-FleeceSnapshot | Export-Backup "./$($_.Disk).bak.raw" }

        $sessions.Id | Should -Be 'a/nightly', 'b/nightly'
        $backups[0].Instant | Should -Be $backups[1].Instant
        $null = Mount-FleeceDisk ./*.bak.raw -ReadOnly
        Test-SameData (Read-FleeceDisk a.bak 0 1MB) (Get-RandomData 1MB -Seed 1) | Should -BeTrue
        Test-SameData (Read-FleeceDisk b.bak 0 1MB) (Get-RandomData 1MB -Seed 2) | Should -BeTrue
    }
}
