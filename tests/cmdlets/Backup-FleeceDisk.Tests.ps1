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

    # A job names its session after its bitmap, and its user can give it no other name.
    It 'tell a job whose bitmap another one uses of that one''s session' {
        $null = New-FleeceBitmap vm shared
        $null = Start-FleeceSession vm -Name shared -Bitmap shared

        { Backup-FleeceDisk vm ./backups -Bitmap shared -ErrorAction Stop } | Should -Throw -ErrorId 'BitmapBusy,*' -PassThru |
            Should -BeLike "*the session 'vm/shared', which began 20*Stop-FleeceSession vm/shared*"
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

    It 'refuse an incremental backup where the one it builds on is not' {
        $null = Backup-FleeceDisk vm ./backups
        Remove-Item ./backups/*.json

        { Backup-FleeceDisk vm ./backups -ErrorAction Stop } |
            Should -Throw -ErrorId 'BackupParentMissing,Fleece.BackupFleeceDiskCommand'
        (Backup-FleeceDisk vm ./backups -Full).Point.Kind | Should -Be Full
    }
}

Describe 'Repositories of one disk' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.raw -SizeBytes 2MB
        $null = Mount-FleeceDisk ./vm.raw

        function Backup-Night([string] $Repository, [byte] $Value, [switch] $Full) {
            Write-FleeceDisk vm ($Value * 64KB) ([byte[]] $Value)
            (Backup-FleeceDisk vm $Repository -Full:$Full -WarningVariable script:said -WarningAction Ignore -ErrorAction Stop).Point.Kind
        }
    }
    AfterEach { Exit-TestFolder }

    It 'whose folders have one name are both full, then both incremental' {
        $null = New-Item ./local, ./nas -ItemType Directory
        Backup-Night ./local/vm 1 | Should -Be Full
        Backup-Night ./nas/vm 2 | Should -Be Full
        foreach ($night in 3, 4) {
            Backup-Night ./local/vm $night | Should -Be Incremental
            Backup-Night ./nas/vm $night | Should -Be Incremental
        }
        (Test-FleeceBackup ./local/vm, ./nas/vm -Deep).IsGood | Should -Not -Contain $false
    }

    It 'may be called <_>' -ForEach '[nas] b', 'star*', 'dots..', ' ', "line`nfeed", '`[tick' {
        if ($IsWindows) { Set-ItResult -Skipped -Because 'Windows takes few of these names' }
        $repository = "./$_"
        Backup-Night $repository 1 | Should -Be Full
        Backup-Night "$repository/" 2 | Should -Be Incremental
        Backup-Night (Join-Path $PWD $_) 3 | Should -Be Incremental
        Test-Path -LiteralPath $repository -PathType Container | Should -BeTrue
        (Test-FleeceBackup -LiteralPath $repository -Deep).IsGood | Should -Be $true, $true, $true
    }

    It 'that were copied each go on once one has done as its error says' {
        Backup-Night ./first 1 | Should -Be Full
        Copy-Item ./first ./copy -Recurse
        Backup-Night ./copy 2 | Should -Be Incremental
        { Backup-Night ./first 3 } | Should -Throw '*-Full, used here once*' -ErrorId 'BackupParentMissing,Fleece.BackupFleeceDiskCommand'
        Backup-Night ./first 3 -Full | Should -Be Full
        "$said" | Should -BeLike "*stays as it is, because another repository may count with it*Remove-FleeceBitmap*"
        Backup-Night ./copy 4 | Should -Be Incremental
        Backup-Night ./first 5 | Should -Be Incremental
    }

    It 'are not begun by a job that misses the backups it builds on' {
        Backup-Night ./vms 1 | Should -Be Full
        Rename-Item ./vms unmounted
        { Backup-Night ./vms 2 } | Should -Throw -ErrorId 'BackupParentMissing,Fleece.BackupFleeceDiskCommand'
        './vms' | Should -Not -Exist
        Rename-Item ./unmounted vms
        Backup-Night ./vms 3 | Should -Be Incremental
    }

    It 'go on in full when their bitmap was disabled, and say so' {
        Backup-Night ./vms 1 | Should -Be Full
        Disable-FleeceBitmap vm (Get-FleeceBitmap vm).Name -Force
        Backup-Night ./vms 2 | Should -Be Full
        "$said" | Should -BeLike '*was disabled*records again from now on*'
        Backup-Night ./vms 3 | Should -Be Incremental
    }

    It 'tell that another image of the name came into one, and so does a restore of the newest' {
        Backup-Night ./vms 1 | Should -Be Full
        $null = New-Item ./other -ItemType Directory
        Dismount-FleeceDisk vm
        $null = New-FleeceImage ./other/vm.raw -SizeBytes 2MB
        $null = Mount-FleeceDisk ./other/vm.raw
        (Backup-FleeceDisk vm ./vms -Keep 1 -WarningVariable said -WarningAction Ignore).Point.Kind | Should -Be Full
        "$said" | Should -BeLike "*$PWD/other/vm.raw*$PWD/vm.raw*a repository of its own*-Keep takes nothing out in this run*"

        $null = Restore-FleeceBackup ./vms ./newest.raw -WarningVariable restoring -WarningAction Ignore
        "$restoring" | Should -BeLike '*If these are two disks*'
        $points = Get-FleeceBackup ./vms
        $points.SourceAddress | Should -Be "$PWD/vm.raw", "$PWD/other/vm.raw"
        $null = Restore-FleeceBackup $points[0] ./named.raw -WarningVariable restoring
        $restoring | Should -BeNullOrEmpty
    }
}

Describe 'Backup-FleeceDisk' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name a
        New-MountedDisk -Name b
    }
    AfterEach { Exit-TestFolder }

    It 'names the repository of each disk by a script block' {
        $backups = Get-FleeceDisk | Backup-FleeceDisk -RepositoryPath { "./of-$($_.Name)" }

        $backups.Path | Split-Path | Split-Path -Leaf | Should -Be 'of-a', 'of-b'
    }

    It 'makes no folder of the text of a script block without input' {
        { Backup-FleeceDisk a -RepositoryPath { './x' } } | Should -Throw -ErrorId 'ScriptBlockArgumentNoInput,*'

        Get-ChildItem -Directory | Should -BeNullOrEmpty
    }
}

Describe 'A repository of a disk that was read as a shorter one' {
    BeforeAll {
        # Source: Virtual Hard Disk Image Format Specification, "Hard Disk Footer Format": creator application at 28, checksum at 64.
        function Set-VhdCreator([string] $Path, [string] $Creator) {
            $time = (Get-Item $Path).LastWriteTimeUtc
            $bytes = [IO.File]::ReadAllBytes((Convert-Path $Path))
            $at = $bytes.Length - 512
            [Text.Encoding]::ASCII.GetBytes($Creator).CopyTo($bytes, $at + 28)
            [byte[]]::new(4).CopyTo($bytes, $at + 64)
            $sum = [uint32] 0
            for ($i = $at; $i -lt $bytes.Length; $i++) { $sum += $bytes[$i] }
            $checksum = [BitConverter]::GetBytes([uint32]::MaxValue - $sum)
            [array]::Reverse($checksum)
            $checksum.CopyTo($bytes, $at + 64)
            $file = [IO.File]::OpenWrite((Convert-Path $Path)) # The same file with the same time: only its reading changes.
            $file.Write($bytes)
            $file.Dispose()
            (Get-Item $Path).LastWriteTimeUtc = $time
        }
    }
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'begins a new chain, says why, and restores both chains' {
        $trueBytes = 64MB
        $shortBytes = 64MB - 52KB
        $null = New-FleeceImage ./vm.vhd -SizeBytes $trueBytes -Fixed
        $null = Mount-FleeceDisk ./vm.vhd
        Write-FleeceDisk vm 0 (Get-RandomData 64KB)
        Write-FleeceDisk vm ($trueBytes - 4KB) (Get-RandomData 4KB 8)
        Dismount-FleeceDisk vm

        # By its geometry, as a VHD of QEMU is read, and as all were.
        Set-VhdCreator ./vm.vhd 'qemu'
        $disk = Mount-FleeceDisk ./vm.vhd
        $disk.SizeBytes | Should -Be $shortBytes
        $null = Backup-FleeceDisk vm ./backups -Keep 3
        Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3))
        $null = Backup-FleeceDisk vm ./backups -Keep 3
        Dismount-FleeceDisk vm
        Convert-FleeceImage ./vm.vhd ./short.raw | Out-Null

        Set-VhdCreator ./vm.vhd 'win '
        (Mount-FleeceDisk ./vm.vhd -WarningAction SilentlyContinue).SizeBytes | Should -Be $trueBytes
        $third = Backup-FleeceDisk vm ./backups -Keep 3 -WarningVariable warnings -WarningAction SilentlyContinue
        Write-FleeceDisk vm 2MB ([byte[]] (4, 5, 6))
        $fourth = Backup-FleeceDisk vm ./backups -Keep 3
        Dismount-FleeceDisk vm

        "$warnings" | Should -BeLike "*full backup*recorded for a disk of $shortBytes bytes, and this one has $trueBytes*"
        $third.Point.Kind, $fourth.Point.Kind | Should -Be Full, Incremental
        $points = Get-FleeceBackup ./backups
        $points.Number | Should -Be 2, 3, 4
        $points.SizeBytes | Should -Be $shortBytes, $trueBytes, $trueBytes
        ($points | Test-FleeceBackup -Deep).IsGood | Should -Be $true, $true, $true
        $null = $points[0] | Restore-FleeceBackup -DestinationPath ./first.raw
        $null = $points[2] | Restore-FleeceBackup -DestinationPath ./second.raw
        (Compare-FleeceImage ./first.raw ./short.raw).AreEqual | Should -BeTrue
        (Get-FleeceImage ./first.raw).SizeBytes | Should -Be $shortBytes
        (Compare-FleeceImage ./second.raw ./vm.vhd).AreEqual | Should -BeTrue
    }
}

Describe 'A request to Backup-FleeceDisk' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Backup-FleeceDisk nobody ./repo'; Id = 'DiskNotFound,Fleece.BackupFleeceDiskCommand' }
        @{ Command = 'Backup-FleeceDisk vm ./no/repo'; Id = 'ImageNotFound,Fleece.BackupFleeceDiskCommand' }
        @{ Command = 'Backup-FleeceDisk vm ./small.raw'; Id = 'ImageAlreadyExists,Fleece.BackupFleeceDiskCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf: <Command>' -ForEach @(
        @{ Command = 'Backup-FleeceDisk vm ./repo -WhatIf' }
        @{ Command = 'Backup-FleeceDisk vm ./new -WhatIf' }
    ) { Assert-ChangesNothing $Command }
}
