# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'A request to Disable-FleeceBitmap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Disable-FleeceBitmap vm nothing'; Id = 'BitmapNotFound,Fleece.DisableFleeceBitmapCommand' }
        @{ Command = 'Disable-FleeceBitmap nobody daily'; Id = 'DiskNotFound,Fleece.DisableFleeceBitmapCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Disable-FleeceBitmap vm daily -WhatIf' }
}
