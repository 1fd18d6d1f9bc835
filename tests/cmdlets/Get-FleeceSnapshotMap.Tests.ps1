# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'A request to Get-FleeceSnapshotMap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceSnapshotMap'; Id = 'SessionAmbiguous,Fleece.GetFleeceSnapshotMapCommand' }
        @{ Command = 'Get-FleeceSnapshotMap nobody'; Id = 'SessionNotFound,Fleece.GetFleeceSnapshotMapCommand' }
    ) { Assert-Refused $Command $Id }
}
