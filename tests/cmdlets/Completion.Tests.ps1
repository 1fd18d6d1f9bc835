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

    It 'offers the consumers of the session' {
        $null = Start-FleeceSession web -Name two -Consumer local, offsite

        Get-Completion 'Read-FleeceSnapshot -Consumer ' | Should -Be local, offsite
        Get-Completion 'Read-FleeceSnapshot web/two -Consumer ' | Should -Be local, offsite
        Get-Completion 'Read-FleeceSnapshot web/nightly -Consumer ' | Where-Object { $_ -in 'local', 'offsite' } | Should -BeNullOrEmpty
    }

    It 'offers the disks that fit a pattern, and none for half a pattern' {
        Get-Completion 'Get-FleeceDisk *EB' | Should -Be web
        Get-Completion 'Get-FleeceDisk w[' | Where-Object { $_ -eq 'web' } | Should -BeNullOrEmpty
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

    It 'are completed in quotes where their names need them' {
        $null = New-FleeceBitmap vm 'two words'

        $offered = foreach ($line in 'Get-FleeceBitmap vm ', 'Clear-FleeceBitmap vm -Name d', 'Start-FleeceSession vm -Bitmap t') {
            (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText -join '|'
        }

        $offered | Should -Be "daily|'two words'", 'daily', "'two words'"
    }
}
