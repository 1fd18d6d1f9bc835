# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Enable-FleeceBitmap' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = New-FleeceBitmap vm daily -Disabled
        $null = New-FleeceBitmap vm weekly -Disabled
    }
    AfterEach { Exit-TestFolder }

    It 'begins the recording' {
        Write-FleeceDisk vm 0 1
        Enable-FleeceBitmap vm daily
        Write-FleeceDisk vm 1MB 1

        $bitmap = Get-FleeceBitmap vm daily -Ranges
        $bitmap.State | Should -Be Recording
        $bitmap.Ranges.OffsetBytes | Should -Be 1MB
    }

    It 'takes bitmaps as they are piped, and all that fit a pattern' {
        Get-FleeceBitmap vm d* | Enable-FleeceBitmap
        (Get-FleeceBitmap vm).State | Should -Be Recording, Disabled

        Enable-FleeceBitmap vm w*
        (Get-FleeceBitmap vm).State | Should -Be Recording, Recording
    }
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
