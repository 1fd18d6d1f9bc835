# SPDX-License-Identifier: MIT
# Matter: disks that other processes write to, and -Shared.

BeforeDiscovery {
    $script:hasNbdkit = [bool] (Get-Command nbdkit -CommandType Application -ErrorAction Ignore)
    if (-not $hasNbdkit) { Write-Warning 'nbdkit is not installed: what needs it is skipped.' }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Servers.ps1"
    Import-ModuleUnderTest
}

Describe 'A disk that is a live disk in another process' {
    BeforeEach {
        Enter-TestFolder
        $script:server = Start-Server vm
    }
    AfterEach {
        Stop-Server $server
        Exit-TestFolder
    }

    It 'takes no <Case> and says what does' -ForEach @(
        @{ Case = 'session'; Mount = @{}; Command = { Start-FleeceSession far -TempPath . } }
        @{ Case = 'session when it is read-only'; Mount = @{ ReadOnly = $true }; Command = { Start-FleeceSession far -TempPath . } }
        @{ Case = 'bitmap'; Mount = @{}; Command = { New-FleeceBitmap far daily -ErrorAction Stop } }
        @{ Case = 'next bitmap'; Mount = @{}; Command = { Start-FleeceSession far -NextBitmap daily -TempPath . } }
        @{ Case = 'backup'; Mount = @{}; Command = { Backup-FleeceDisk far ./repo -TempPath . -ErrorAction Stop } }
        @{ Case = 'backup when it is read-only'; Mount = @{ ReadOnly = $true }
            Command = { Backup-FleeceDisk far ./repo -TempPath . -ErrorAction Stop } }
    ) {
        $disk = Mount-FleeceDisk (Get-ServedUri vm) -Name far @Mount

        $failure = Get-FailureOf $Command

        $disk.IsShared | Should -BeTrue
        $failure.FullyQualifiedErrorId | Should -BeLike 'DiskShared,*'
        $failure.Exception.Message | Should -BeLike "*Read-FleeceSnapshot -Uri '*/vm/SESSION?socket=*-Shared*"
        Get-FleeceSession | Should -BeNullOrEmpty
        Get-FleeceBitmap far | Should -BeNullOrEmpty
        (Get-ChildItem).Name | Should -Be server
    }

    It 'is read and written without a warning' {
        $null = Mount-FleeceDisk (Get-ServedUri vm) -Name far -WarningVariable told

        Write-FleeceDisk far 1MB ([byte[]] (1, 2, 3))

        $told | Should -BeNullOrEmpty
        Invoke-Server $server { Read-FleeceDisk vm 1MB 3 } | Should -Be "1$([Environment]::NewLine)2$([Environment]::NewLine)3"
    }

    It 'has sessions with -Shared, which miss what others write' {
        $null = Mount-FleeceDisk (Get-ServedUri vm) -Name far -Shared
        $null = Start-FleeceSession far -TempPath .
        $null = Invoke-Server $server { Write-FleeceDisk vm 3MB ([byte[]]::new(4096)) }

        $point = (Read-FleeceSnapshot far | Export-Backup ./b.raw).Point

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")[3MB..(3MB + 4095)]) ([byte[]]::new(4096)) | Should -BeTrue
        $point.IsShared | Should -BeTrue
        (Get-Content ./b.raw.json -Raw | ConvertFrom-Json).isShared | Should -BeTrue
    }

    It 'has full backups with -Shared, each of which says that it may show several moments' {
        $null = Mount-FleeceDisk (Get-ServedUri vm) -Name far -Shared
        $null = New-FleeceBitmap far daily
        foreach ($night in 1, 2) {
            $null = Backup-FleeceDisk far ./repo -Bitmap daily -TempPath . -WarningVariable told -WarningAction SilentlyContinue
            @($told) | Should -HaveCount 1
            $told[0].Message | Should -BeLike '*not guaranteed*-Shared*'
        }

        $points = Get-FleeceBackup ./repo
        $points.Kind | Should -Be Full, Full
        $points.IsShared | Should -Be $true, $true
        (Test-FleeceBackup $points[0].Path -WarningVariable tested -WarningAction SilentlyContinue).IsGood | Should -BeTrue
        $tested[0].Message | Should -BeLike '*not guaranteed*'
        $null = Restore-FleeceBackup ./repo ./restored.raw -WarningVariable restored -WarningAction SilentlyContinue
        $restored[0].Message | Should -BeLike '*not guaranteed*'
    }

    It 'lets no session with -Shared count from another: a bitmap gets no baseline' {
        $null = Mount-FleeceDisk (Get-ServedUri vm) -Name far -Shared
        $null = New-FleeceBitmap far daily
        $null = Start-FleeceSession far -Bitmap daily -TempPath .
        $null = Read-FleeceSnapshot far | Export-Backup ./repo/
        Stop-FleeceSession far -Success

        $null = Start-FleeceSession far -Bitmap daily -TempPath .
        $point = (Read-FleeceSnapshot far | Export-Backup ./repo/).Point

        $point.Kind | Should -Be Full
    }

    It 'tells on that it is shared: <Case>' -ForEach @(
        @{ Case = 'served again'; Mount = @{}; Export = 'far' }
        @{ Case = 'served again, read-only'; Mount = @{ ReadOnly = $true }; Export = 'far' }
        @{ Case = 'a snapshot of a session with -Shared'; Mount = @{ Shared = $true }; Export = 'far/nightly' }
    ) {
        $null = Mount-FleeceDisk (Get-ServedUri vm) -Name far -ListenUri "nbd+unix:///?socket=$PWD/far.sock" @Mount
        if ($Mount.Shared) { $null = Start-FleeceSession far -Name nightly -TempPath . }

        $again = Mount-FleeceDisk "nbd+unix:///${Export}?socket=$PWD/far.sock" -Name again

        $again.IsShared | Should -BeTrue
        (Get-FailureOf { Start-FleeceSession again -TempPath . }).FullyQualifiedErrorId | Should -BeLike 'DiskShared,*'
        Dismount-FleeceDisk again
        $point = (Read-FleeceSnapshot -Uri "nbd+unix:///${Export}?socket=$PWD/far.sock" -WarningVariable told -WarningAction Ignore |
            Export-Backup ./b.raw).Point
        $point.IsShared | Should -BeTrue
        $told | Should -HaveCount 1
    }

    It 'is exclusive when it is the snapshot of a session, and has backups of its own then' {
        $null = Invoke-Server $server { $null = Start-FleeceSession vm -Name nightly }
        $disk = Mount-FleeceDisk (Get-ServedUri vm/nightly) -Name far -ReadOnly -WarningVariable told

        $null = Start-FleeceSession far -TempPath .

        $disk.IsShared | Should -BeFalse
        $told | Should -BeNullOrEmpty
        (Read-FleeceSnapshot far | Export-Backup ./repo/).Point.IsShared | Should -BeFalse
    }

    It 'is exclusive when its server has mounted the image read-only' {
        $null = Invoke-Server $server {
            Dismount-FleeceDisk vm
            $null = Mount-FleeceDisk ./vm.raw -ReadOnly -ListenUri "nbd+unix:///?socket=$PWD/vm.sock"
        }
        $disk = Mount-FleeceDisk (Get-ServedUri vm) -Name far -ReadOnly -WarningVariable told

        (Backup-FleeceDisk far ./repo -TempPath . -WarningAction Ignore).Point.IsShared | Should -BeFalse
        (Read-FleeceSnapshot -Uri (Get-ServedUri vm) | Export-Backup ./other/).Point.Disk | Should -Be vm

        $disk.IsShared | Should -BeFalse
        $told | Should -BeNullOrEmpty
    }
}

Describe 'A disk whose server can not tell' {
    BeforeEach {
        Enter-TestFolder
        if ($hasNbdkit) {
            nbdkit --unix "$PWD/nbdkit.sock" --pidfile "$PWD/nbdkit.pid" memory 4M
            while (-not (Test-Path nbdkit.pid)) { Start-Sleep -Milliseconds 10 }
        }
        $script:uri = "nbd+unix:///?socket=$PWD/nbdkit.sock"
    }
    AfterEach {
        Get-FleeceDisk | Dismount-FleeceDisk -Force
        if (Test-Path nbdkit.pid) { Stop-Process -Id (Get-Content nbdkit.pid) }
        Exit-TestFolder
    }

    It 'is exclusive, with one warning at the mount' -Skip:(-not $hasNbdkit) {
        $disk = Mount-FleeceDisk $uri -Name far -WarningVariable told -WarningAction SilentlyContinue

        $null = New-FleeceBitmap far daily
        $null = foreach ($night in 1, 2) { Backup-FleeceDisk far ./repo -Bitmap daily -TempPath . -WarningAction Ignore }

        @($told) | Should -HaveCount 1
        $told[0].Message | Should -BeLike "*can't tell*snapshots*bitmaps*"
        $disk.IsShared | Should -BeFalse
        (Get-FleeceBackup ./repo).Kind | Should -Be Full, Incremental
    }

    It 'is shared with -Shared, without a warning at the mount' -Skip:(-not $hasNbdkit) {
        $disk = Mount-FleeceDisk $uri -Name far -Shared -WarningVariable told

        $told | Should -BeNullOrEmpty
        $disk.IsShared | Should -BeTrue
        (Backup-FleeceDisk far ./repo -TempPath . -WarningAction Ignore).Point.IsShared | Should -BeTrue
    }
}

Describe 'An image that is mounted with -Shared' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'has marked backups, and its bitmaps are not trusted any more: <Extension>' -ForEach @{ Extension = 'raw' }, @{ Extension = 'qcow2' } {
        New-MountedDisk -Extension $Extension -Data (Get-RandomData 1MB)
        $null = Backup-FleeceDisk vm ./repo -Bitmap daily
        Dismount-FleeceDisk vm

        $null = Mount-FleeceDisk "./vm.$Extension" -Shared -WarningAction Ignore
        (Get-FleeceBitmap vm daily).State | Should -Be Untrusted
        $null = New-FleeceBitmap vm other
        (Backup-FleeceDisk vm ./repo -Bitmap daily -WarningAction Ignore).Point.Kind | Should -Be Full
        Dismount-FleeceDisk vm

        $null = Mount-FleeceDisk "./vm.$Extension" -WarningAction Ignore
        (Get-FleeceBitmap vm).State | Should -Be Untrusted, Untrusted
        (Backup-FleeceDisk vm ./repo -Bitmap daily -WarningAction Ignore).Point.Kind | Should -Be Full
        $null = Backup-FleeceDisk vm ./repo -Bitmap daily
        (Get-FleeceBackup ./repo).Kind | Should -Be Full, Full, Full, Incremental
        (Get-FleeceBackup ./repo).IsShared | Should -Be $false, $true, $false, $false
    }
}
