# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Compare-FleeceImage' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./a.raw 1MB
        $null = New-FleeceImage ./b.raw 1MB
        $null = New-FleeceImage ./c.qcow2 1MB
    }
    AfterEach { Exit-TestFolder }

    It 'compares each file that fits wildcards' {
        $compared = Compare-FleeceImage *.raw ./c.qcow2

        $compared.Path | Split-Path -Leaf | Should -Be 'a.raw', 'b.raw'
        $compared.AreEqual | Should -Be $true, $true
    }

    It 'takes wildcards that fit one file as the other image' {
        (Compare-FleeceImage a.raw *.qcow2).AreEqual | Should -BeTrue
    }

    It 'refuses wildcards that fit several files as the other image' {
        { Compare-FleeceImage c.qcow2 *.raw -ErrorAction Stop } | Should -Throw '*fits 2 files*' -ErrorId 'ArgumentInvalid,*'
    }

    It 'takes files whose names look like wildcards' {
        $null = New-FleeceImage 'x[1].raw' 1MB

        (Compare-FleeceImage -LiteralPath 'x[1].raw' -DifferencePath 'x[1].raw').AreEqual | Should -BeTrue
        (Get-Item -LiteralPath 'x[1].raw' | Compare-FleeceImage -DifferencePath a.raw).AreEqual | Should -BeTrue
        ('x[1].raw' | Compare-FleeceImage -DifferencePath a.raw).AreEqual | Should -BeTrue
    }

    It 'takes rows with a path and a format' {
        $compared = 'Path,Format', 'a.raw,Raw', 'c.qcow2,Qcow2' | ConvertFrom-Csv | Compare-FleeceImage -DifferencePath b.raw

        $compared.AreEqual | Should -Be $true, $true
    }
}

Describe 'A request to Compare-FleeceImage' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Compare-FleeceImage ./vm.raw ./small.raw'; Id = 'ImageInUse,Fleece.CompareFleeceImageCommand' }
        @{ Command = 'Compare-FleeceImage ./small.raw ./missing.raw'; Id = 'ImageNotFound,Fleece.CompareFleeceImageCommand' }
        @{ Command = 'Compare-FleeceImage ./missing.raw ./small.raw'; Id = 'ImageNotFound,Fleece.CompareFleeceImageCommand' }
    ) { Assert-Refused $Command $Id }
}
