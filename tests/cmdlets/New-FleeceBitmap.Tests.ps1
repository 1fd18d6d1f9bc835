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

    It 'record what is written and survive the dismount: <_>' -ForEach 'raw', 'qcow2' {
        New-MountedDisk -Name other -Extension $_
        $null = New-FleeceBitmap other daily -GranularityBytes 4KB
        Write-FleeceDisk other 1MB ([byte[]] (1, 2, 3))
        Dismount-FleeceDisk other
        $null = Mount-FleeceDisk "./other.$_" -WarningVariable warned

        $warned | Should -BeNullOrEmpty
        $ranges = @((Get-FleeceBitmap other daily -Ranges).Ranges)
        $ranges.OffsetBytes | Should -Be 1MB
        $ranges.LengthBytes | Should -Be 4KB
    }
}

Describe 'A request to New-FleeceBitmap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'New-FleeceBitmap vm DAILY'; Id = 'BitmapNameInUse,Fleece.NewFleeceBitmapCommand' }
        @{ Command = 'New-FleeceBitmap vm a/b'; Id = 'ArgumentInvalid,Fleece.NewFleeceBitmapCommand' }
        @{ Command = 'New-FleeceBitmap vm x -GranularityBytes 1000'; Id = 'ParameterArgumentValidationError,Fleece.NewFleeceBitmapCommand' }
        @{ Command = 'New-FleeceBitmap nobody x'; Id = 'DiskNotFound,Fleece.NewFleeceBitmapCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'New-FleeceBitmap vm weekly -WhatIf' }
}
