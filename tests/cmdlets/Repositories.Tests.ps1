# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
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

    It 'are free again after an export that its own warning has ended' {
        Backup-Night ./vms 1 | Should -Be Full
        $null = New-Item ./other -ItemType Directory
        Dismount-FleeceDisk vm
        $null = New-FleeceImage ./other/vm.raw -SizeBytes 2MB
        $null = Mount-FleeceDisk ./other/vm.raw
        $null = Start-FleeceSession vm
        { Read-FleeceSnapshot | Export-FleeceBackup ./vms -WarningAction Stop } | Should -Throw '*If these are two disks*'
        Stop-FleeceSession vm
        Get-ChildItem ./vms -Filter *.partial | Should -BeNullOrEmpty
        Backup-Night ./vms 2 | Should -Be Full
    }
}

Describe 'A repository from a stranger' {
    BeforeEach {
        Enter-TestFolder
        if ($IsWindows -or -not (Get-Command mkfifo -CommandType Application -ErrorAction Ignore)) {
            Set-ItResult -Skipped -Because 'mkfifo is not installed'
        }
        $null = New-FleeceImage ./vm.raw -SizeBytes 2MB
        $null = Mount-FleeceDisk ./vm.raw
        $null = Backup-FleeceDisk vm ./backups
        $null = Backup-FleeceDisk vm ./backups
    }
    AfterEach { Exit-TestFolder }

    It 'with a <Kind> in the place of <File> is refused by that name by all cmdlets' -ForEach @(
        foreach ($file in 'vm-000001.qcow2', 'vm-000001.json', 'repository.lock') {
            @{ Kind = 'link'; File = $file }
            @{ Kind = 'pipe'; File = $file }
        }
    ) {
        $path = "$PWD/backups/$File"
        Move-Item $path "$PWD/outside"
        $before = (Get-FileHash ./outside).Hash
        if ($Kind -eq 'link') { $null = New-Item $path -ItemType SymbolicLink -Target "$PWD/outside" } else { & mkfifo $path }

        $all = @(
            { Backup-FleeceDisk vm ./backups -ErrorAction Stop }
            if ($File -ne 'repository.lock') {
                { Restore-FleeceBackup ./backups/vm-000001.qcow2 ./r.raw -ErrorAction Stop }
                { Restore-FleeceBackup ./backups ./r.raw -ErrorAction Stop }
            }
            if ($File -like '*.json') {
                { Get-FleeceBackup ./backups -ErrorAction Stop }
                { Test-FleeceBackup ./backups -Deep -ErrorAction Stop }
            }
        )
        foreach ($one in $all) { $one | Should -Throw "*$File*" }
        if ($File -like '*.qcow2') {
            (Test-FleeceBackup ./backups -Deep).IsGood | Should -Be $false, $false
            (Test-FleeceBackup ./backups).Findings[0].Message | Should -BeLike "*$path*"
        }
        $null = Backup-FleeceDisk vm ./backups -Full -Keep 1 -ErrorVariable kept -ErrorAction SilentlyContinue -WarningAction Ignore
        (Get-FileHash ./outside).Hash | Should -Be $before
        './r.raw' | Should -Not -Exist
    }
}
