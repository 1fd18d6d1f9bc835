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

    It 'ends with its disk' {
        $null = Publish-FleeceExport vm (Get-SocketUri)

        Dismount-FleeceDisk vm

        Get-FleeceExport | Should -BeNullOrEmpty
        Test-Path vm.sock | Should -BeFalse
    }
}

Describe 'A request to Dismount-FleeceDisk' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Dismount-FleeceDisk vm'; Id = 'DiskBusy,Fleece.DismountFleeceDiskCommand' }
        @{ Command = 'Dismount-FleeceDisk nobody'; Id = 'DiskNotFound,Fleece.DismountFleeceDiskCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Dismount-FleeceDisk vm -Force -WhatIf' }
}
