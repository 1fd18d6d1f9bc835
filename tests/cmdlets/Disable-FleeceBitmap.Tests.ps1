# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Disable-FleeceBitmap' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = New-FleeceBitmap vm daily
    }
    AfterEach { Exit-TestFolder }

    It 'stops the recording, and keeps what was recorded' {
        Write-FleeceDisk vm 0 1
        Disable-FleeceBitmap vm daily
        Write-FleeceDisk vm 1MB 1

        $bitmap = Get-FleeceBitmap vm daily -Ranges
        $bitmap.State | Should -Be Disabled
        $bitmap.Ranges.OffsetBytes | Should -Be 0
    }

    It 'says that a session records into the bitmap' {
        $null = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2

        { Disable-FleeceBitmap vm daily2 -ErrorAction Stop } | Should -Throw -ErrorId 'BitmapBusy,Fleece.DisableFleeceBitmapCommand'
    }
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
