# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    Import-ModuleUnderTest
}

Describe 'Clear-FleeceSnapshot' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
    }
    AfterEach { Exit-TestFolder }

    It 'asks, and discards after Yes' {
        $null = Start-FleeceSession vm

        $done = Invoke-Answering 'Yes' 'Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB'

        $done.Questions | Should -BeLike '*1048576 bytes at offset 0*'
        (Get-FleeceSession).ConsumedBytes | Should -Be 1MB
    }

    It 'keeps the range after No' {
        $null = Start-FleeceSession vm

        $done = Invoke-Answering 'No' 'Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB'

        $done.Questions | Should -HaveCount 1
        (Get-FleeceSession).ConsumedBytes | Should -Be 0
    }

    It 'names -Force, and keeps the range, where no question can be asked' {
        $null = Start-FleeceSession vm

        { Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop } |
            Should -Throw '*-Force*' -ErrorId 'ConfirmationNeeded,*'

        (Get-FleeceSession).ConsumedBytes | Should -Be 0
    }

    It 'asks nothing of a range that is <Kind>' -ForEach @(
        @{ Kind = 'stored and confirmed'; Before = { $null = Read-FleeceSnapshot vm -DiscardConsumed -LengthBytes 1MB | Export-Backup ./b.raw } }
        @{ Kind = 'discarded before'; Before = { Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -Force } }
    ) {
        $null = Start-FleeceSession vm
        & $Before

        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop
    }

    It 'asks nothing of a range outside the session''s' {
        $null = Start-FleeceSession vm -Range @{ OffsetBytes = 1MB; LengthBytes = 1MB }

        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop

        { Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1028KB -ErrorAction Stop } | Should -Throw -ErrorId 'ConfirmationNeeded,*'
    }

    It 'asks nothing of a range that another consumer has confirmed, and asks for what lies beside it' {
        $null = Start-FleeceSession vm -Consumer local, offsite
        $null = Read-FleeceSnapshot vm -Consumer local -LengthBytes 1MB | Export-Backup ./b.raw
        $null = Read-FleeceSnapshot vm -Consumer local -DiscardConsumed -LengthBytes 1MB | Export-Backup ./c.raw

        Clear-FleeceSnapshot vm -Consumer offsite -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop

        { Clear-FleeceSnapshot vm -Consumer offsite -OffsetBytes 0 -LengthBytes 2MB -ErrorAction Stop } |
            Should -Throw -ErrorId 'ConfirmationNeeded,*'
        { Clear-FleeceSnapshot vm -OffsetBytes 1MB -LengthBytes 4KB -ErrorAction Stop } | Should -Throw -ErrorId 'ConfirmationNeeded,*'
    }

    It 'never asks with -WhatIf' {
        $null = Start-FleeceSession vm

        (Invoke-Answering 'Yes' 'Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -WhatIf').Questions | Should -BeNullOrEmpty
    }
}
