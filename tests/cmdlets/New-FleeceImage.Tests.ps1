# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'New-FleeceImage' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'offers the formats that it can make' {
        $line = 'New-FleeceImage ./x 1MB -Format '

        (TabExpansion2 $line $line.Length).CompletionMatches.CompletionText | Should -Be 'Qcow2', 'Raw', 'Vhd', 'Vhdx'
    }

    It 'refuses <Format> when it is bound' -ForEach @{ Format = 'Vmdk' }, @{ Format = 'Vdi' } {
        { New-FleeceImage ./x 1MB -Format $Format } | Should -Throw -ErrorId 'ParameterArgumentValidationError,*'

        Get-ChildItem | Should -BeNullOrEmpty
    }

    It 'refuses when it is bound: <Command>' -ForEach @(
        @{ Command = { New-FleeceImage ./x.raw 0 } }
        @{ Command = { New-FleeceImage ./x.raw -512 } }
        @{ Command = { New-FleeceImage ./x.raw 1000 } }
        @{ Command = { New-FleeceImage ./x.vhdx 1MB -LogicalSectorSizeBytes 1024 } }
        @{ Command = { New-FleeceImage ./x.qcow2 1MB -BlockSizeBytes 100000 } }
        @{ Command = { New-FleeceImage ./x.qcow2 1MB -RefcountBits 5 } }
        @{ Command = { New-FleeceImage ./x.qcow2 1MB -FormatVersion 1 } }
    ) {
        $Command | Should -Throw -ErrorId 'ParameterArgumentValidationError,*'

        Get-ChildItem | Should -BeNullOrEmpty
    }

    It 'names the file by a script block' {
        $null = New-FleeceImage ./base.qcow2 1MB

        $child = Get-Item base.qcow2 | New-FleeceImage -Path { $_.FullName -replace 'base', 'child' } -ParentPath ./base.qcow2

        $child.ParentPath | Should -Be (Get-Item base.qcow2).FullName
        (Get-ChildItem).Name | Should -Be 'base.qcow2', 'child.qcow2'
    }

    It 'takes no script block for a file that no pipeline names: <Parameter>' -ForEach @(
        @{ Parameter = 'ParentPath' }
        @{ Parameter = 'DataFilePath' }
    ) {
        $given = @{ $Parameter = { 'x.raw' } }

        { New-FleeceImage ./x.qcow2 1MB @given } | Should -Throw '*is a script block*' -ErrorId 'ParameterArgumentTransformationError,*'
        Get-ChildItem | Should -BeNullOrEmpty
    }
}
