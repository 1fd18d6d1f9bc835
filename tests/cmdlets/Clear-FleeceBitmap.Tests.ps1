# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Dirty bitmaps' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = New-FleeceBitmap vm daily
    }
    AfterEach { Exit-TestFolder }

    It 'that can not be trusted say so, are refused, and are mended by clearing' {
        Dismount-FleeceDisk vm
        (Get-Item ./vm.raw).LastWriteTime = (Get-Date).AddMinutes(1)
        $null = Mount-FleeceDisk ./vm.raw -WarningVariable warned -WarningAction SilentlyContinue

        "$warned" | Should -Match "daily.*can't be trusted"
        (Get-FleeceBitmap vm).State | Should -Be Untrusted
        { Start-FleeceSession vm -Bitmap daily } | Should -Throw -ErrorId 'BitmapUntrusted,Fleece.StartFleeceSessionCommand'
        Clear-FleeceBitmap vm daily
        { Start-FleeceSession vm -Bitmap daily } | Should -Not -Throw
    }
}

Describe 'A request to Clear-FleeceBitmap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Clear-FleeceBitmap nobody daily'; Id = 'DiskNotFound,Fleece.ClearFleeceBitmapCommand' }
        @{ Command = 'Clear-FleeceBitmap vm nothing'; Id = 'BitmapNotFound,Fleece.ClearFleeceBitmapCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Clear-FleeceBitmap vm daily -WhatIf' }
}
