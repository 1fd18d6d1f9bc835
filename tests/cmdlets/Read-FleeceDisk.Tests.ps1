# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'A request to Read-FleeceDisk' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Read-FleeceDisk vm 1MB 1'; Id = 'RangeBeyondEnd,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm -1 1'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm 0 -LengthBytes -1'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm ([long]::MaxValue) 2'; Id = 'RangeInvalid,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk nobody 0 1'; Id = 'DiskNotFound,Fleece.ReadFleeceDiskCommand' }
    ) { Assert-Refused $Command $Id }
}
