# SPDX-License-Identifier: MIT
# Matter: sessions and nightly jobs of guests that a real QEMU runs and serves itself.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/QemuGuests.ps1"
    Import-ModuleUnderTest

    # The bytes that a guest's disk has now, as a raw file; QEMU holds the image.
    function Get-RestoredDigest([string] $Repository) {
        Remove-Item ./restored.raw -ErrorAction Ignore
        $null = Restore-FleeceBackup $Repository ./restored.raw -Format Raw
        Get-FileDigest ./restored.raw
    }

    # The error that ends a statement.
    function Get-Failure([scriptblock] $Action) {
        try { $null = & $Action } catch { $_ }
    }

    function Get-PatternDigest([byte[]] $Content) {
        [Convert]::ToHexString([Security.Cryptography.SHA256]::HashData($Content))
    }

    # What the guest's disk holds after its content at the start and some writes.
    function Get-Expected([int] $Seed, [object[]] $Writes) {
        $content = Get-RandomData 4MB $Seed
        foreach ($write in $Writes) { [Array]::Fill($content, [byte] $write.Pattern, $write.Offset, $write.Length) }
        Get-PatternDigest $content
    }
}

Describe 'A guest that QEMU runs' {
    BeforeEach {
        Enter-TestFolder
        $script:guest = $null
        if (Test-HasQemu) {
            $script:guest = Start-TestGuest "$PWD" -Name vm
            $script:graph = Get-GuestGraph "$PWD"
        }
    }
    AfterEach {
        Get-FleeceSession | Stop-FleeceSession
        Stop-TestGuest $guest
        Exit-TestFolder
    }

    It 'is backed up by a session as a mounted disk is, in full and then what changed' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $null = New-Item scratch -ItemType Directory

        $session = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 -NextBitmap daily -TempPath ./scratch
        Write-TestGuest "$PWD" virtio0 1 0 64k
        $session.Disk, $session.QmpSocketPath | Should -Be vm.virtio0, "$PWD/qmp.sock"
        $full = Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./vm/
        Stop-FleeceSession vm.virtio0 -Success
        $full.Point.Kind | Should -Be Full
        Get-RestoredDigest ./vm | Should -Be (Get-Expected 2 @())
        Get-GuestGraph "$PWD" | Should -Be $graph
        Get-ChildItem scratch | Should -BeNullOrEmpty

        $null = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 -Bitmap daily -NextBitmap daily2 -TempPath ./scratch
        Write-TestGuest "$PWD" virtio0 3 1M 64k
        $next = Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./vm/
        Stop-FleeceSession vm.virtio0 -Success
        $next.Point.Kind | Should -Be Incremental
        Get-RestoredDigest ./vm | Should -Be (Get-Expected 2 @(@{ Pattern = 1; Offset = 0; Length = 64KB }))
        (Get-FleeceQemuDisk ./qmp.sock virtio0).Bitmaps.Name | Should -Be daily
        Get-GuestGraph "$PWD" | Should -Be $graph

        # A job goes on with the chain and the bitmap.
        $job = Backup-FleeceDisk -QmpSocketPath ./qmp.sock -Device virtio0 -RepositoryPath ./vm -Bitmap daily
        $job.Point.Kind | Should -Be Incremental
    }

    It 'has one instant for two disks, in one line for the whole night' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }

        $night = @{ QmpSocketPath = './qmp.sock'; Device = 'virtio0', 'virtio1'; RepositoryPath = './vm'; Keep = 14 }
        $first = Backup-FleeceDisk @night
        Write-TestGuest "$PWD" virtio0 1 64k 64k
        Write-TestGuest "$PWD" virtio1 2 128k 64k
        $second = Backup-FleeceDisk @night

        $first.Point.Kind | Should -Be Full, Full
        $second.Point.Kind | Should -Be Incremental, Incremental
        (Get-ChildItem ./vm).Name | Sort-Object | Should -Be virtio0, virtio1
        Get-RestoredDigest ./vm/virtio0 | Should -Be (Get-Expected 2 @(@{ Pattern = 1; Offset = 64KB; Length = 64KB }))
        Get-RestoredDigest ./vm/virtio1 | Should -Be (Get-Expected 1 @(@{ Pattern = 2; Offset = 128KB; Length = 64KB }))
        $second[0].Point.Instant | Should -Be $second[1].Point.Instant
        Get-FleeceSession | Should -BeNullOrEmpty
        Get-GuestGraph "$PWD" | Should -Be $graph
    }

    It 'has one session for each piped disk, all of one instant' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }

        $sessions = Get-FleeceQemuDisk ./qmp.sock | Start-FleeceSession

        $sessions | Should -HaveCount 2
        $sessions[0].StartedAt | Should -Be $sessions[1].StartedAt
        (Get-FleeceSession -Disk vm.virtio1).Disk | Should -Be vm.virtio1
        $sessions | Stop-FleeceSession
        Get-GuestGraph "$PWD" | Should -Be $graph
    }

    It 'loses no backup of one disk to a failure of the other' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $null = New-Item ./vm -ItemType Directory
        Set-Content ./vm/virtio0 'a file where a repository should be'

        $backups = Backup-FleeceDisk -QmpSocketPath ./qmp.sock -Device virtio0, virtio1, virtio7 -RepositoryPath ./vm `
            -ErrorVariable problems -ErrorAction SilentlyContinue

        $backups | Should -HaveCount 1
        Get-RestoredDigest ./vm/virtio1 | Should -Be (Get-Expected 1 @())
        $problems | Should -HaveCount 2
        $problems.FullyQualifiedErrorId | Should -Contain 'QemuDeviceNotFound,Fleece.BackupFleeceDiskCommand'
        Get-GuestGraph "$PWD" | Should -Be $graph
    }

    It 'has a folder for each device, named as QEMU names the device, however it was spelled' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $backend = '/machine/peripheral/virtio1/virtio-backend'

        $null = Backup-FleeceDisk -QmpSocketPath ./qmp.sock -Device system, $backend -RepositoryPath ./vm

        (Get-ChildItem ./vm).Name | Sort-Object | Should -Be virtio0, virtio1
        $twice = @{ QmpSocketPath = './qmp.sock'; RepositoryPath = './vm' }
        foreach ($devices in ('virtio0', 'virtio0'), ('virtio0', 'system')) {
            (Get-OnlyError { Backup-FleeceDisk @twice -Device $devices }).Exception.Message | Should -BeLike "*'virtio0' is named twice*"
            Get-FailureId { Start-FleeceSession -QmpSocketPath ./qmp.sock -Device $devices } | Should -BeLike 'ArgumentInvalid,*'
        }
        Get-FleeceBackup ./vm/virtio0 | Should -HaveCount 1
    }

    It 'begins no chain of one device in the folder around the repositories of several' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $null = Backup-FleeceDisk -QmpSocketPath ./qmp.sock -Device virtio0, virtio1 -RepositoryPath ./vm

        $problem = Get-OnlyError { Backup-FleeceDisk -QmpSocketPath ./qmp.sock -Device data -RepositoryPath ./vm }

        $problem.FullyQualifiedErrorId | Should -BeLike 'ArgumentInvalid,*'
        $problem.Exception.Message | Should -BeLike "*-RepositoryPath '$PWD/vm/virtio1'*"
        (Get-ChildItem ./vm).Name | Sort-Object | Should -Be virtio0, virtio1
        Get-FleeceBackup ./vm 3>&1 | Should -BeLike "*'virtio0', 'virtio1'*"
        (Get-OnlyError { Restore-FleeceBackup ./vm ./restored.raw }).Exception.Message | Should -BeLike "*such as '$PWD/vm/virtio0'*"
        (Backup-FleeceDisk -QmpSocketPath ./qmp.sock -Device data -RepositoryPath ./vm/virtio1).Point.Kind | Should -Be Incremental
    }

    It 'tells which session has pinned a bitmap, and ends the only one without its name' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $null = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 -NextBitmap daily
        Stop-FleeceSession -Success
        $null = Start-FleeceSession nights -QmpSocketPath ./qmp.sock -Device virtio0 -Bitmap daily

        $problem = Get-Failure { Start-FleeceSession other -QmpSocketPath ./qmp.sock -Device virtio0 -Bitmap daily }

        $problem.FullyQualifiedErrorId | Should -BeLike 'BitmapBusy,*'
        $problem.Exception.Message | Should -BeLike '*Stop-FleeceSession vm.virtio0/nights*'
        Stop-FleeceSession
        Get-FleeceSession | Should -BeNullOrEmpty
        (Get-OnlyError { Stop-FleeceSession }).FullyQualifiedErrorId | Should -BeLike 'SessionNotFound,*'
    }

    It 'is told from another guest of the same name in words' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $null = New-Item other -ItemType Directory
        $second = Start-TestGuest "$PWD/other" -Name vm
        try {
            $null = Start-FleeceSession -QmpSocketPath ./other/qmp.sock -Device virtio0

            $problem = Get-Failure { Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 }

            $problem.FullyQualifiedErrorId | Should -BeLike 'SessionNameInUse,*'
            $problem.Exception.Message | Should -BeLike "*Another guest, that of the QMP socket '$PWD/other/qmp.sock'*"
            $problem.Exception.Path | Should -BeNullOrEmpty
            $problem.TargetObject | Should -Be virtio0
        } finally {
            Stop-FleeceSession
            Stop-TestGuest $second
        }
    }

    It 'stays as it is with -WhatIf: <What>' -ForEach @(
        @{ What = 'a session'; Command = { Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 -NextBitmap daily -WhatIf } }
        @{ What = 'a night'; Command = { Backup-FleeceDisk -QmpSocketPath ./qmp.sock -Device virtio0, virtio1 -RepositoryPath ./vm -WhatIf } }
        @{ What = 'a clean-up'; Command = { Stop-FleeceSession -QmpSocketPath ./qmp.sock -Force -WhatIf } }
    ) {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }

        & $Command

        Get-FleeceSession | Should -BeNullOrEmpty
        Test-Path ./vm | Should -BeFalse
        (Get-FleeceQemuDisk ./qmp.sock).Bitmaps | Should -BeNullOrEmpty
        Get-GuestGraph "$PWD" | Should -Be $graph
    }

    It 'is told what it can''t have, and nothing changes: <What>' -ForEach @(
        @{ What = 'no such device'; More = @{ Device = 'virtio7' }; Id = 'QemuDeviceNotFound' }
        @{ What = 'a bitmap that is not there'; More = @{ Device = 'virtio0'; Bitmap = 'nothing' }; Id = 'BitmapNotFound' }
        @{ What = 'ranges'; More = @{ Device = 'virtio0'; Range = @{ OffsetBytes = 0; LengthBytes = 64KB } }; Id = 'ArgumentInvalid' }
        @{ What = 'consumers'; More = @{ Device = 'virtio0'; Consumer = 'a', 'b' }; Id = 'ArgumentInvalid' }
        @{ What = 'a limit for temp'; More = @{ Device = 'virtio0'; TempLimitBytes = 1MB }; Id = 'ArgumentInvalid' }
        @{ What = 'a mark for temp'; More = @{ Device = 'virtio0'; TempWarningPercent = 70 }; Id = 'ArgumentInvalid' }
        @{ What = 'a delay of its writes'; More = @{ Device = 'virtio0'; MaxGuestDelay = 0.02 }; Id = 'ArgumentInvalid' }
        @{ What = 'no agent'; More = @{ Device = 'virtio0'; QuiesceGuest = $true }; Id = 'ArgumentInvalid' }
        @{ What = 'a time without a freeze'; More = @{ Device = 'virtio0'; FreezeTimeout = 3 }; Id = 'ArgumentInvalid' }
        @{ What = 'a server that does not run'; More = @{ Device = 'virtio0'; NbdServerUri = 'nbd+unix:///?socket=nbd.sock' }; Id = 'ArgumentInvalid' }
        @{ What = 'one file for old data'; More = @{ Device = 'virtio0', 'virtio1'; TempPath = './temp' }; Id = 'ArgumentInvalid' }
        @{ What = 'a monitor in place of the agent'; More = @{ Device = 'virtio0'; AgentSocketPath = './qmp2.sock' }; Id = 'GuestAgentFailed' }
        @{ What = 'the same monitor'; More = @{ Device = 'virtio0'; AgentSocketPath = './qmp.sock' }; Id = 'GuestAgentFailed' }
        @{ What = 'no folder for temp'; More = @{ Device = 'virtio0'; TempPath = './nowhere/temp' }; Id = 'ImageNotFound' }
    ) {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }

        $problem = Get-Failure { Start-FleeceSession -QmpSocketPath ./qmp.sock @More }

        $problem.FullyQualifiedErrorId | Should -BeLike "$Id,*"
        $problem.TargetObject | Should -Be $More.Device
        Get-GuestGraph "$PWD" | Should -Be $graph
    }

    It 'says of a session how long it stood still' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }

        $text = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 -Verbose 4>&1 | Out-String

        $text | Should -BeLike '*did not stand still*'
    }

    It 'is cleaned up by hand, also of what a live process has there' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $null = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0

        Stop-FleeceSession -QmpSocketPath ./qmp.sock 3>&1 | Should -BeLike "The session 'vm.virtio0/vm.virtio0' of this process goes on.*"
        (Get-OnlyError { Stop-FleeceSession -QmpSocketPath ./qmp.sock -PassThru }).FullyQualifiedErrorId |
            Should -BeLike 'ArgumentInvalid,*'
        Get-FleeceSession | Should -HaveCount 1
        Stop-FleeceSession -QmpSocketPath ./qmp.sock -Force 3>$null

        Get-FleeceSession | Should -BeNullOrEmpty
        Get-GuestGraph "$PWD" | Should -Be $graph
    }

    It 'is found clean by the next command after the process of a session was killed' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $process = Start-ScriptProcess 'param($Module, $Folder)
            Import-Module $Module
            Set-Location $Folder
            $null = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 -NextBitmap daily
            Set-Content ./ready.new 1; Move-Item ./ready.new ./ready
            Start-Sleep 60' "$PWD"
        Stop-FleeceSession -QmpSocketPath ./qmp.sock 3>&1 | Should -BeLike '*of another process goes on*'
        $process.Kill()
        $process.WaitForExit()
        Get-GuestGraph "$PWD" | Should -Not -Be $graph

        $removed = Stop-FleeceSession -QmpSocketPath ./qmp.sock 3>&1

        $removed | Should -Not -BeNullOrEmpty
        Get-GuestGraph "$PWD" | Should -Be $graph
        (Get-ChildItem -Filter *fleece-qemu*) | Should -BeNullOrEmpty
    }

    It 'keeps nothing of a session when the process ends in an orderly way' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $process = Start-ScriptProcess 'param($Module, $Folder)
            Import-Module $Module
            Set-Location $Folder
            $null = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0 -NextBitmap daily
            Set-Content ./ready.new 1; Move-Item ./ready.new ./ready
            Start-Sleep 60' "$PWD"

        Send-Signal TERM $process
        $process.WaitForExit()

        Get-GuestGraph "$PWD" | Should -Be $graph
        (Get-FleeceQemuDisk ./qmp.sock virtio0).Bitmaps | Should -BeNullOrEmpty
    }

    It 'is no mounted disk' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $disk = Get-FleeceQemuDisk ./qmp.sock virtio0

        { New-FleeceBitmap $disk daily } | Should -Throw '*disk of a guest*'
        foreach ($command in { $disk | Get-FleeceImage }, { $disk | Mount-FleeceDisk }, { Test-FleeceImage $disk }) {
            $command | Should -Throw '*disk of a guest*'
        }
    }
}

Describe 'A host and a guest' {
    BeforeEach {
        Enter-TestFolder
        $script:guest = $script:testHost = $null
        $script:hostBefore = $env:FLEECE_HOST
    }
    AfterEach {
        $env:FLEECE_HOST = $hostBefore
        if ($testHost -and -not $testHost.HasExited) { $testHost.Kill() }
        Stop-TestGuest $guest
        Exit-TestFolder
    }

    It 'come together again after the host was killed: the next host takes out what was left' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $script:guest = Start-TestGuest "$PWD" -Name vm
        $graph = Get-GuestGraph "$PWD"
        $script:testHost = Start-TestHost "$PWD"
        $env:FLEECE_HOST = "$PWD/host.sock"
        $null = Start-FleeceSession -QmpSocketPath ./qmp.sock -Device virtio0
        $testHost.Kill()
        $testHost.WaitForExit()
        Get-GuestGraph "$PWD" | Should -Not -Be $graph

        $script:testHost = Start-TestHost "$PWD"
        while ((Get-Content ./state/state.json -Raw) -match 'qmp\.sock') {
            if ($testHost.WaitForExit(50)) { throw "The host ended: $(Get-Content ./host.err -Raw)" }
        }

        Get-GuestGraph "$PWD" | Should -Be $graph
        Get-Content ./host.err -Raw | Should -BeLike "*guest of $PWD/qmp.sock*"
    }
}
