# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
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

Describe 'The advice about a data file in another folder' {
    BeforeEach {
        Enter-TestFolder
        $null = New-Item ./other, ./sub -ItemType Directory
        $null = New-FleeceImage ./good.raw 1MB
        $null = Mount-FleeceDisk ./good.raw
    }
    AfterEach { Exit-TestFolder }

    It 'comes when the image is made, and not with the switch' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./other/a.raw -WarningVariable warned -WarningAction SilentlyContinue
        $null = New-FleeceImage ./sub/b.qcow2 1MB -DataFilePath ./other/b.raw -AllowOutsideDataFile -WarningVariable silent
        $null = New-FleeceImage ./c.qcow2 1MB -DataFilePath ./other/c.raw -WarningVariable +silent

        $warned.Message | Should -BeLike "*'$PWD/other/a.raw'*needs -AllowOutsideDataFile*"
        $silent | Should -BeNullOrEmpty
    }
}

Describe 'Objects in the pipeline' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'rows with a path and a size become images' {
        $images = 'Path,SizeBytes', './a.raw,1048576', './b.qcow2,2097152' | ConvertFrom-Csv | New-FleeceImage

        $images.SizeBytes | Should -Be 1MB, 2MB
        $images.Format | Should -Be 'Raw', 'Qcow2'
    }
}

Describe 'A child' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'reads as its parent until it is written: <_>' -ForEach 'vhd', 'vhdx', 'qcow2' {
        $expected = Get-RandomData 3MB
        [IO.File]::WriteAllBytes("$PWD/a.raw", $expected)
        $null = Convert-FleeceImage ./a.raw "./base.$_"

        $child = New-FleeceImage "./child.$_" -ParentPath "./base.$_"

        $child.ParentPath | Should -Be "$PWD/base.$_"
        (Compare-FleeceImage $child ./a.raw).AreEqual | Should -BeTrue
        $null = Mount-FleeceDisk "./child.$_"
        Write-FleeceDisk child 1000 ([byte[]] (1, 2, 3))
        Dismount-FleeceDisk child
        (Compare-FleeceImage "./base.$_" ./a.raw).AreEqual | Should -BeTrue
        (Test-FleeceImage "./child.$_").IsClean | Should -BeTrue
        $null = Convert-FleeceImage "./child.$_" ./whole.raw
        ([byte[]] (1, 2, 3)).CopyTo($expected, 1000)
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/whole.raw")[0..(3MB - 1)]) $expected | Should -BeTrue
    }

    It 'and any new image is clean: <_>' -ForEach 'raw', 'qcow2', 'vhd', 'vhdx' {
        $report = New-FleeceImage "./a.$_" 8MB | Test-FleeceImage

        $report.IsClean | Should -BeTrue
        $report.Findings | Should -BeNullOrEmpty
    }
}

Describe 'A request to New-FleeceImage' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'New-FleeceImage ./vm.raw 1MB'; Id = 'ImageAlreadyExists,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./new.raw 1000'; Id = 'ParameterArgumentValidationError,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./new.vmdk 1MB'; Id = 'ImageUnsupported,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./new.raw 0'; Id = 'ParameterArgumentValidationError,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./new.raw -SizeBytes -512'; Id = 'ParameterArgumentValidationError,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./new.qcow2 1MB -BlockSizeBytes 1000'; Id = 'ParameterArgumentValidationError,Fleece.NewFleeceImageCommand' }
        @{ Command = 'New-FleeceImage ./no/folder/new.raw 1MB'; Id = 'ImageNotFound,Fleece.NewFleeceImageCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'New-FleeceImage ./new.raw 1MB -WhatIf' }
}
