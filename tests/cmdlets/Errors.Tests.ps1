# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'A bad request' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 1MB
        $null = Start-FleeceSession vm -Name a
        $null = Start-FleeceSession vm -Name b
        $null = New-FleeceImage ./small.raw -SizeBytes 512KB
        $null = New-Item ./empty.raw
    }
    AfterEach { Exit-TestFolder }

    It 'has an error id of its own: <Command>' -ForEach @(
        @{ Command = 'New-FleeceImage ./vm.raw 1MB'; Id = 'ImageAlreadyExists,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./new.raw 1000'; Id = 'ParameterArgumentValidationError,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./new.vmdk 1MB'; Id = 'ImageUnsupported,Fleece.NewFleeceImageCommand' }
        @{ Command = 'Get-FleeceImage ./nothing.raw'; Id = 'ImageNotFound,Fleece.GetFleeceImageCommand' }
        @{ Command = 'Get-FleeceImage ./nothing*.raw'; Id = 'ImageNotFound,Fleece.GetFleeceImageCommand' }
        @{ Command = 'Get-FleeceImage .'; Id = 'ImageNotAFile,Fleece.GetFleeceImageCommand' }
        @{ Command = 'Get-FleeceImage Env:/PATH'; Id = 'ImageNotAFile,Fleece.GetFleeceImageCommand' }
        @{ Command = 'Mount-FleeceDisk ./nothing.raw'; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./empty.raw'; Id = 'ImageEmpty,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./vm.raw'; Id = 'DiskNameInUse,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./vm.raw -Name again'; Id = 'ImageInUse,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./*.raw -Name one'; Id = 'ArgumentInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./small.raw -Name a/b'; Id = 'ArgumentInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./small.raw -Format Qcow2'; Id = 'ImageWrongFormat,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Get-FleeceDisk nobody'; Id = 'DiskNotFound,Fleece.GetFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm 1MB 1'; Id = 'RangeBeyondEnd,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm -1 1'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Write-FleeceDisk vm (1MB - 1) (1, 2)'; Id = 'RangeBeyondEnd,Fleece.WriteFleeceDiskCommand' }
        @{ Command = 'Dismount-FleeceDisk vm'; Id = 'DiskBusy,Fleece.DismountFleeceDiskCommand' }
        @{ Command = 'Start-FleeceSession nobody'; Id = 'DiskNotFound,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Name A'; Id = 'SessionNameInUse,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath ./small.raw'; Id = 'TempTooSmall,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath ./vm.raw'; Id = 'TempIsDisk,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -GranuleSizeBytes 1000'; Id = 'ParameterArgumentValidationError,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Get-FleeceSession nobody'; Id = 'SessionNotFound,Fleece.GetFleeceSessionCommand' }
        @{ Command = 'Stop-FleeceSession nobody'; Id = 'SessionNotFound,Fleece.StopFleeceSessionCommand' }
        @{ Command = 'Get-FleeceSnapshotMap'; Id = 'SessionAmbiguous,Fleece.GetFleeceSnapshotMapCommand' }
        @{ Command = 'Clear-FleeceSnapshot a -OffsetBytes 0 -LengthBytes 2MB'; Id = 'RangeBeyondEnd,Fleece.ClearFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot'; Id = 'SessionAmbiguous,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a -ChunkSizeBytes 1000'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a | Export-Backup ./small.raw'; Id = 'ImageAlreadyExists,Fleece.ExportFleeceBackupCommand' }
        @{ Command = '@() | Export-Backup ./b.raw'; Id = 'BackupIncomplete,Fleece.ExportFleeceBackupCommand' }
    ) {
        $before = (Get-ChildItem).Name

        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -ErrorId $Id

        (Get-ChildItem).Name | Should -Be $before
        (Get-FleeceDisk).Name | Should -Be 'vm'
        (Get-FleeceSession).Id | Should -Be 'vm/a', 'vm/b'
    }

    It 'of a list fails alone: the other inputs are served' {
        $disks = Mount-FleeceDisk ./nothing.raw, ./small.raw -ErrorAction SilentlyContinue -ErrorVariable failures

        $disks.Name | Should -Be 'small'
        $failures.FullyQualifiedErrorId | Should -Be 'ImageNotFound,Fleece.MountFleeceDiskCommand'
    }

    It 'is refused by parameter binding when it has no chunks: Export-Backup of <Type>' -ForEach @(
        @{ Type = 'a string'; Value = 'text' }
        @{ Type = 'a number'; Value = 1 }
    ) {
        { $Value | Export-Backup ./b.raw -ErrorAction Stop } | Should -Throw -ErrorId 'InputObjectNotBound,*'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }

    It 'for a backup of a snapshot that was consumed gives no chunk and no file' {
        $null = Mount-FleeceDisk ./small.raw
        $session = Start-FleeceSession small
        Clear-FleeceSnapshot $session -OffsetBytes 0 -LengthBytes 512KB -Force

        Read-FleeceSnapshot $session | Should -BeNullOrEmpty
        { Read-FleeceSnapshot $session | Export-Backup ./b.raw } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand'
        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }
}
