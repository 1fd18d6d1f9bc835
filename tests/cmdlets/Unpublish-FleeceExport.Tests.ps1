# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'An export' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 4MB -Data $old
    }
    AfterEach { Exit-TestFolder }

    It 'ends by <Case>, and the disk stays' -ForEach @(
        @{ Case = 'the name of its disk'; Action = { Unpublish-FleeceExport vm } }
        @{ Case = 'its disk'; Action = { Get-FleeceDisk vm | Unpublish-FleeceExport } }
        @{ Case = 'itself'; Action = { Get-FleeceExport | Unpublish-FleeceExport } }
    ) {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Publish-FleeceExport vm nbd://localhost:0

        & $Action

        Get-FleeceExport | Should -BeNullOrEmpty
        (Get-FleeceDisk).Name | Should -Be 'vm'
    }

    It 'is kept while guests use it: <Case>' -ForEach @(
        @{ Case = 'unpublishing'; Command = 'Unpublish-FleeceExport vm'; Id = 'DiskBusy,Fleece.UnpublishFleeceExportCommand' }
        @{ Case = 'dismounting'; Command = 'Dismount-FleeceDisk vm'; Id = 'DiskBusy,Fleece.DismountFleeceDiskCommand' }
    ) {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Mount-FleeceDisk (Get-SocketUri vm) -Name guest

        { & ([scriptblock]::Create("$Command -ErrorAction Stop")) } | Should -Throw -ErrorId $Id

        (Get-FleeceExport vm).GuestCount | Should -Be 1
        (Read-FleeceDisk guest 0 1) | Should -Be $old[0]
        Dismount-FleeceDisk guest
        & ([scriptblock]::Create("$Command -ErrorAction Stop"))
        Get-FleeceExport | Should -BeNullOrEmpty
    }

    It 'is taken from guests by -Force' {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Mount-FleeceDisk (Get-SocketUri vm) -Name guest -ReadOnly

        Unpublish-FleeceExport vm -Force

        Get-FleeceExport | Should -BeNullOrEmpty
        Dismount-FleeceDisk guest
    }

    It 'does not wait for readers of snapshots' {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Start-FleeceSession vm -Name nightly
        $null = Mount-FleeceDisk (Get-SocketUri vm/nightly) -Name reader -ReadOnly
        $export = Get-FleeceExport vm
        $export.ConnectionCount | Should -Be 1
        $export.GuestCount | Should -Be 0

        Unpublish-FleeceExport vm

        Get-FleeceExport | Should -BeNullOrEmpty
        (Get-FleeceSession).Id | Should -Be 'vm/nightly'
    }

    It 'leaves an address to the others that share it' {
        New-MountedDisk -Name db
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Publish-FleeceExport db (Get-SocketUri) -SnapshotOnly -ReadOnly
        $null = Start-FleeceSession db
        (Get-FleeceExport).Uris.ExportName | Sort-Object | Should -Be db/db, vm

        Unpublish-FleeceExport vm

        (Get-FleeceExport).Uris.ExportName | Should -Be db/db
        Test-Path vm.sock | Should -BeTrue
    }
}

Describe 'A request to Unpublish-FleeceExport' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Unpublish-FleeceExport nobody'; Id = 'DiskNotFound,Fleece.UnpublishFleeceExportCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf: <Command>' -ForEach @(
        @{ Command = 'Unpublish-FleeceExport vm -WhatIf' }
        @{ Command = 'Get-FleeceExport | Unpublish-FleeceExport -WhatIf' }
    ) { Assert-ChangesNothing $Command }
}
