# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'A request to Enable-FleeceBitmap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Enable-FleeceBitmap vm nothing'; Id = 'BitmapNotFound,Fleece.EnableFleeceBitmapCommand' }
        @{ Command = 'Enable-FleeceBitmap nobody daily'; Id = 'DiskNotFound,Fleece.EnableFleeceBitmapCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' {
        Disable-FleeceBitmap vm daily

        Assert-ChangesNothing 'Enable-FleeceBitmap vm daily -WhatIf'
    }
}
