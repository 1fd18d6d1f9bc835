# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/QemuGuests.ps1"
    Import-ModuleUnderTest
}

Describe 'Get-FleeceQemuDisk' {
    BeforeEach {
        Enter-TestFolder
        $script:guest = $null
    }
    AfterEach {
        Stop-TestGuest $guest
        Exit-TestFolder
    }

    It 'lists devices with what a session needs to know' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $script:guest = Start-TestGuest "$PWD" -Name vm

        $disks = Get-FleeceQemuDisk ./qmp.sock

        $disks.Device | Sort-Object | Should -Be virtio0, virtio1
        $system = $disks | Where-Object Device -EQ virtio0
        $system.Name | Should -Be vm.virtio0
        $system.Guest | Should -Be vm
        $system.NodeName | Should -Be system
        $system.Format | Should -Be qcow2
        $system.SizeBytes | Should -Be 4MB
        $system.Obstacle | Should -BeNullOrEmpty
        $system.IsGuestRunning | Should -BeFalse
        $system.QmpSocketPath | Should -Be "$PWD/qmp.sock"
        $system | Out-String | Should -Match 'Device +Format +Size MiB +Bitmaps +Obstacle'
    }

    It 'tells bitmaps that QEMU has' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $script:guest = Start-TestGuest "$PWD"
        $null = Invoke-Qmp "$PWD" block-dirty-bitmap-add @{ node = 'system'; name = 'daily'; persistent = $true; granularity = 65536 }
        Write-TestGuest "$PWD" virtio0 1 0 64k

        $bitmap = (Get-FleeceQemuDisk ./qmp.sock virtio0).Bitmaps

        $bitmap.Name | Should -Be daily
        $bitmap.DirtyBytes | Should -Be 64KB
        $bitmap.IsRecording, $bitmap.IsPersistent, $bitmap.IsInconsistent | Should -Be $true, $true, $false
    }

    It 'says of a drive without a medium and of a read-only disk why no session can be started' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $null = New-FleeceImage ./fixed.raw -SizeBytes 1MB
        $script:guest = Start-TestGuest "$PWD" -More @(
            '-device', 'ide-cd,id=cd0'
            '-blockdev', "raw,node-name=fixed,read-only=on,file.driver=file,file.filename=$PWD/fixed.raw"
            '-device', 'virtio-blk-pci,drive=fixed,id=virtio2')

        $disks = Get-FleeceQemuDisk ./qmp.sock cd0, virtio2

        $disks | Should -HaveCount 2
        foreach ($disk in $disks) { $disk.Obstacle | Should -Not -BeNullOrEmpty -Because $disk.Device }
        foreach ($device in 'cd0', 'virtio2') {
            Get-FailureId { Start-FleeceSession -QmpSocketPath ./qmp.sock -Device $device } | Should -BeLike 'QemuDeviceUnsuitable,*'
        }
    }

    It 'completes devices by asking QEMU' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $script:guest = Start-TestGuest "$PWD"
        $line = 'Start-FleeceSession -QmpSocketPath ./qmp.sock -Device v'

        (TabExpansion2 $line $line.Length).CompletionMatches.CompletionText | Sort-Object | Should -Be virtio0, virtio1
    }

    It 'reports a device that the guest has not, and goes on with the next' {
        if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
        $script:guest = Start-TestGuest "$PWD"

        $disks = Get-FleeceQemuDisk ./qmp.sock virtio7, virtio1 -ErrorVariable problems -ErrorAction SilentlyContinue

        $disks.Device | Should -Be virtio1
        $problems.FullyQualifiedErrorId | Should -Be 'QemuDeviceNotFound,Fleece.GetFleeceQemuDiskCommand'
        $problems.Exception.Message | Should -BeLike '*virtio0*'
    }

    It 'says that no QEMU is there' {
        (Get-OnlyError { Get-FleeceQemuDisk ./qmp.sock }).FullyQualifiedErrorId | Should -BeLike 'QemuNotRunning,*'
    }

    It 'says that a file is no socket of QEMU' {
        $null = New-Item ./qmp.sock

        (Get-OnlyError { Get-FleeceQemuDisk ./qmp.sock }).FullyQualifiedErrorId | Should -BeLike 'QemuProtocolViolated,*'
    }

    It 'says that a server of another protocol is no QEMU' {
        $null = New-FleeceImage ./vm.raw -SizeBytes 1MB
        $null = Mount-FleeceDisk ./vm.raw -ListenUri 'nbd+unix:///?socket=./qmp.sock'

        (Get-OnlyError { Get-FleeceQemuDisk ./qmp.sock }).FullyQualifiedErrorId | Should -BeLike 'QemuProtocolViolated,*'
    }
}
