# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Test-FleeceImage -Repair' {
    BeforeEach {
        Enter-TestFolder
        # Cluster 10 is counted in the refcount block, which is cluster 2, and nothing uses it.
        $null = New-FleeceImage ./leaky.qcow2 8MB
        $bytes = [IO.File]::ReadAllBytes("$PWD/leaky.qcow2")
        [Array]::Resize([ref] $bytes, 11 * 64KB)
        $bytes[2 * 64KB + 21] = 1
        [IO.File]::WriteAllBytes("$PWD/leaky.qcow2", $bytes)
    }
    AfterEach { Exit-TestFolder }

    It 'asks, and repairs after <Answer>' -ForEach @{ Answer = 'Yes' }, @{ Answer = 'Yes to All' } {
        $done = Invoke-Answering $Answer 'Test-FleeceImage ./leaky.qcow2 -Repair Leaks'

        $done.Questions | Should -HaveCount 1
        $done.Output.RepairedLeakCount | Should -Be 1
        (Test-FleeceImage ./leaky.qcow2).IsClean | Should -BeTrue
    }

    It 'only tests after No' {
        $done = Invoke-Answering 'No' 'Test-FleeceImage ./leaky.qcow2 -Repair All'

        $done.Output.LeakCount | Should -Be 1
        $done.Output.RepairedLeakCount | Should -Be 0
        (Test-FleeceImage ./leaky.qcow2).LeakCount | Should -Be 1
    }

    It 'asks once of several images after Yes to All' {
        Copy-Item leaky.qcow2 other.qcow2

        $done = Invoke-Answering 'Yes to All' 'Test-FleeceImage ./*.qcow2 -Repair Leaks'

        $done.Questions | Should -HaveCount 1
        $done.Output.RepairedLeakCount | Should -Be 1, 1
    }

    It 'names -Force, and changes nothing, where no question can be asked' {
        { Test-FleeceImage ./leaky.qcow2 -Repair Leaks -ErrorAction Stop } | Should -Throw '*-Force*' -ErrorId 'ConfirmationNeeded,*'

        (Test-FleeceImage ./leaky.qcow2).LeakCount | Should -Be 1
    }

    It 'does not ask with -Force, with -WhatIf, or without a repair: <Command>' -ForEach @(
        @{ Command = 'Test-FleeceImage ./leaky.qcow2 -Repair Leaks -Force'; Repaired = 1 }
        @{ Command = 'Test-FleeceImage ./leaky.qcow2 -Repair Leaks -WhatIf'; Repaired = 0 }
        @{ Command = 'Test-FleeceImage ./leaky.qcow2'; Repaired = 0 }
    ) {
        $done = Invoke-Answering 'No' $Command

        $done.Questions | Should -BeNullOrEmpty
        $done.Output.RepairedLeakCount | Should -Be $Repaired
    }
}

Describe 'Images that nobody has mounted' {
    BeforeEach {
        Enter-TestFolder
        [IO.File]::WriteAllBytes("$PWD/a.raw", (Get-RandomData 3MB))
    }
    AfterEach { Exit-TestFolder }

    It 'are examined many at a time, and one that is no image does not stop the others' {
        $null = New-FleeceImage ./b.qcow2 1MB
        $null = New-FleeceImage ./c.vhdx 4MB
        [IO.File]::WriteAllBytes("$PWD/d.qcow2", [byte[]] (0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3))

        $reports = Test-FleeceImage ./*.* -ErrorVariable failures -ErrorAction SilentlyContinue

        $reports.Path | Split-Path -Leaf | Should -Be @('a.raw', 'b.qcow2', 'c.vhdx')
        $reports.IsClean | Should -Not -Contain $false
        $failures.FullyQualifiedErrorId | Should -Be 'ImageCorrupt,Fleece.TestFleeceImageCommand'
    }
}

Describe 'A request to Test-FleeceImage' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Test-FleeceImage ./missing.raw'; Id = 'ImageNotFound,Fleece.TestFleeceImageCommand' }
        @{ Command = 'Test-FleeceImage ./vm.raw -Repair All -Force'; Id = 'ImageInUse,Fleece.TestFleeceImageCommand' }
    ) { Assert-Refused $Command $Id }
}
