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

    It 'are merged, disabled and removed through the pipeline' {
        Write-FleeceDisk vm 0 ([byte[]] 1)
        $null = New-FleeceBitmap vm both -Disabled
        Merge-FleeceBitmap vm both daily
        Get-FleeceBitmap vm daily | Remove-FleeceBitmap

        $left = Get-FleeceBitmap
        $left.Name | Should -Be both
        $left.State | Should -Be Disabled
        $left.DirtyBytes | Should -Be 64KB
    }
}

Describe 'A request to Merge-FleeceBitmap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Merge-FleeceBitmap vm daily nothing'; Id = 'BitmapNotFound,Fleece.MergeFleeceBitmapCommand' }
        @{ Command = 'Merge-FleeceBitmap vm nothing daily'; Id = 'BitmapNotFound,Fleece.MergeFleeceBitmapCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Merge-FleeceBitmap vm daily daily -WhatIf' }
}
