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

    It 'of a parent are shown, merged, and neither changed nor pinned' {
        $null = New-FleeceImage ./base.qcow2 2MB
        $null = Mount-FleeceDisk ./base.qcow2
        $null = New-FleeceBitmap base daily
        Write-FleeceDisk base 1MB ([byte[]] 1)
        Dismount-FleeceDisk base
        $null = New-FleeceImage ./top.qcow2 -ParentPath ./base.qcow2
        $null = Mount-FleeceDisk ./top.qcow2 -WarningVariable warned

        $warned | Should -BeNullOrEmpty
        $bitmap = Get-FleeceBitmap top
        $bitmap.State | Should -Be OfParent
        $bitmap.ImagePath | Should -Be "$PWD/base.qcow2"
        $bitmap | Out-String -Width 400 | Should -Match 'daily +OfParent .*base\.qcow2'
        foreach ($command in 'Clear', 'Remove', 'Enable', 'Disable') {
            { & "$command-FleeceBitmap" top daily -ErrorAction Stop } |
                Should -Throw -ErrorId "BitmapOfParent,Fleece.${command}FleeceBitmapCommand"
            { & "$command-FleeceBitmap" top * -ErrorAction Stop } | Should -Not -Throw
        }
        { Start-FleeceSession top -Bitmap daily } | Should -Throw -ErrorId 'BitmapOfParent,Fleece.StartFleeceSessionCommand'

        $null = New-FleeceBitmap top all -Disabled
        Merge-FleeceBitmap top all daily
        (Get-FleeceBitmap top all -Ranges).Ranges.OffsetBytes | Should -Be 1MB
        (Start-FleeceSession top -Bitmap all).State | Should -Be Active
    }

    It 'are shown as a table' {
        $text = Get-FleeceBitmap | Out-String -Width 400

        $text | Should -Match 'Disk +Name +State +Granularity KiB +Dirty MiB +Image +Reason'
        $text | Should -Match 'vm +daily +Recording'
    }
}

Describe 'A request to Get-FleeceBitmap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceBitmap vm nothing'; Id = 'BitmapNotFound,Fleece.GetFleeceBitmapCommand' }
        @{ Command = 'Get-FleeceBitmap nobody'; Id = 'DiskNotFound,Fleece.GetFleeceBitmapCommand' }
    ) { Assert-Refused $Command $Id }
}
