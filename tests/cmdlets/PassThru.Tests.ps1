# SPDX-License-Identifier: MIT
# Matter: -PassThru, which all cmdlets that would be silent have.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe '-PassThru' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = New-FleeceBitmap vm daily
        $null = New-FleeceBitmap vm weekly
        $null = Publish-FleeceExport vm "nbd+unix:///?socket=$PWD/s"
        $null = Start-FleeceSession vm -Name night
    }
    AfterEach { Exit-TestFolder }

    It 'passes on what the cmdlet changed, which writes nothing else: <Command>' -ForEach @(
        @{ Command = 'Dismount-FleeceDisk vm -Force'; Like = 'Get-FleeceDisk'; Key = 'Name'; Expected = 'vm' }
        @{ Command = 'Write-FleeceDisk vm 0 ([byte[]] (1, 2))'; Like = 'Get-FleeceDisk'; Key = 'Name'; Expected = 'vm' }
        @{ Command = 'Stop-FleeceSession night'; Like = 'Get-FleeceSession'; Key = 'Id'; Expected = 'vm/night' }
        @{ Command = 'Clear-FleeceSnapshot night -OffsetBytes 0 -LengthBytes 1MB -Force'; Like = 'Get-FleeceSession'; Key = 'Id'
            Expected = 'vm/night' }
        @{ Command = 'Remove-FleeceBitmap vm daily'; Like = 'Get-FleeceBitmap'; Key = 'Name'; Expected = 'daily' }
        @{ Command = 'Clear-FleeceBitmap vm *ly'; Like = 'Get-FleeceBitmap'; Key = 'Name'; Expected = 'daily', 'weekly' }
        @{ Command = 'Disable-FleeceBitmap vm daily'; Like = 'Get-FleeceBitmap'; Key = 'Name'; Expected = 'daily' }
        @{ Command = 'Enable-FleeceBitmap vm daily'; Like = 'Get-FleeceBitmap'; Key = 'Name'; Expected = 'daily' }
        @{ Command = 'Merge-FleeceBitmap vm daily weekly'; Like = 'Get-FleeceBitmap'; Key = 'Name'; Expected = 'daily' }
        @{ Command = 'Unpublish-FleeceExport vm'; Like = 'Get-FleeceExport'; Key = 'IsReadOnly'; Expected = $false }
    ) {
        $type = (& $Like | Select-Object -First 1).GetType()

        $passed = & ([scriptblock]::Create("$Command -PassThru -ErrorAction Stop"))

        $passed.$Key | Should -Be $Expected
        $passed | Should -BeOfType $type
    }

    It 'is not there by default: <Command>' -ForEach @(
        @{ Command = 'Write-FleeceDisk vm 0 ([byte[]] (1, 2))' }
        @{ Command = 'Enable-FleeceBitmap vm daily' }
        @{ Command = 'Merge-FleeceBitmap vm daily weekly' }
        @{ Command = 'Unpublish-FleeceExport vm' }
        @{ Command = 'Stop-FleeceSession night' }
        @{ Command = 'Dismount-FleeceDisk vm -Force' }
    ) {
        & ([scriptblock]::Create($Command)) | Should -BeNullOrEmpty
    }

    It 'passes nothing on that did not happen' {
        Write-FleeceDisk vm 4MB ([byte[]] (1, 2)) -PassThru -ErrorAction Ignore | Should -BeNullOrEmpty
        Dismount-FleeceDisk vm -PassThru -ErrorAction Ignore | Should -BeNullOrEmpty
        Remove-FleeceBitmap vm daily -PassThru -WhatIf | Should -BeNullOrEmpty
    }

    It 'shows the state after the change' {
        (Disable-FleeceBitmap vm daily -PassThru).State | Should -Be 'Disabled'
        (Stop-FleeceSession night -PassThru).State | Should -Be 'Stopped'
    }

    It 'is offered by each cmdlet that would be silent' {
        $silent = Get-Command -Module Fleece -CommandType Cmdlet |
            Where-Object Verb -In Dismount, Write, Stop, Clear, Remove, Enable, Disable, Merge, Unpublish, Uninstall

        $silent | Should -HaveCount 11
        $silent | Where-Object { -not $_.Parameters.ContainsKey('PassThru') } | Should -BeNullOrEmpty
    }
}
