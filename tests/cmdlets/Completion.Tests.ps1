# SPDX-License-Identifier: MIT
# Matter: tab completion of names, in every cmdlet that takes them.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'Tab completion' {
    BeforeAll {
        function Get-Completion([string] $Line) {
            (TabExpansion2 -inputScript $Line -cursorColumn $Line.Length).CompletionMatches.CompletionText
        }
    }
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name web
        New-MountedDisk -Name 'data one'
        $null = Start-FleeceSession web, 'data one' -Name nightly
    }
    AfterEach { Exit-TestFolder }

    It 'offers the disks: <Line>' -ForEach @(
        @{ Line = 'Dismount-FleeceDisk ' }
        @{ Line = 'Get-FleeceDisk -Name ' }
        @{ Line = 'Start-FleeceSession ' }
        @{ Line = 'Read-FleeceDisk ' }
        @{ Line = 'Write-FleeceDisk -Disk ' }
        @{ Line = 'Get-FleeceSession -Disk ' }
    ) {
        Get-Completion $Line | Should -Be "'data one'", 'web'
    }

    It 'offers the sessions: <Line>' -ForEach @(
        @{ Line = 'Stop-FleeceSession ' }
        @{ Line = 'Get-FleeceSession ' }
        @{ Line = 'Read-FleeceSnapshot -Session ' }
        @{ Line = 'Get-FleeceSnapshotMap ' }
        @{ Line = 'Clear-FleeceSnapshot ' }
    ) {
        Get-Completion $Line | Should -Be "'data one/nightly'", 'web/nightly'
    }

    It 'offers only what fits what was typed: <Line>' -ForEach @(
        @{ Line = 'Dismount-FleeceDisk WE'; Offered = 'web' }
        @{ Line = "Dismount-FleeceDisk 'da"; Offered = "'data one'" }
        @{ Line = 'Stop-FleeceSession web/'; Offered = 'web/nightly' }
    ) {
        Get-Completion $Line | Should -Be $Offered
    }

    It 'offers the formats that can be read, and the policies' {
        Get-Completion 'Get-FleeceImage ./x -Format ' | Should -Be 'Qcow2', 'Raw', 'Vdi', 'Vhd', 'Vhdx', 'Vmdk'
        Get-Completion 'Start-FleeceSession web -OnCopyError ' | Should -Be 'BreakGuestWrite', 'BreakSnapshot'
    }
}

Describe 'Dirty bitmaps' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = New-FleeceBitmap vm daily
    }
    AfterEach { Exit-TestFolder }

    It 'are completed by name' {
        $line = 'Clear-FleeceBitmap vm '
        (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText | Should -Be daily
    }
}
