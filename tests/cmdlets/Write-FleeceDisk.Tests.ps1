# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Write-FleeceDisk' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data ([byte[]] (7, 7))
    }
    AfterEach { Exit-TestFolder }

    It 'writes nothing with -WhatIf' {
        Write-FleeceDisk vm 0 ([byte[]] (1, 2)) -WhatIf

        (Read-FleeceDisk vm 0 2) | Should -Be 7, 7
    }

    It 'does not ask by itself, as writes of guests do not' {
        & { $ConfirmPreference = 'Medium'; Write-FleeceDisk vm 0 ([byte[]] (1, 2)) -ErrorAction Stop }

        (Read-FleeceDisk vm 0 2) | Should -Be 1, 2
    }
}

Describe 'A disk that is mounted read-only' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.raw 1MB | Mount-FleeceDisk -ReadOnly
    }
    AfterEach { Exit-TestFolder }

    It 'takes no writes' {
        { Write-FleeceDisk vm 0 1 -ErrorAction Stop } | Should -Throw -ErrorId 'DiskReadOnly,Fleece.WriteFleeceDiskCommand'

        Read-FleeceDisk vm 0 1 | Should -Be 0
    }
}

Describe 'A request to Write-FleeceDisk' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Write-FleeceDisk vm (1MB - 1) (1, 2)'; Id = 'RangeBeyondEnd,Fleece.WriteFleeceDiskCommand' }
        @{ Command = 'Write-FleeceDisk vm -OffsetBytes -1 -Data (1, 2)'; Id = 'ParameterArgumentValidationError,Fleece.WriteFleeceDiskCommand' }
        @{ Command = 'Write-FleeceDisk vm ([long]::MaxValue) (1, 2)'; Id = 'RangeInvalid,Fleece.WriteFleeceDiskCommand' }
        @{ Command = 'Write-FleeceDisk nobody 0 1'; Id = 'DiskNotFound,Fleece.WriteFleeceDiskCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Write-FleeceDisk vm 0 (1, 2) -WhatIf' }
}
