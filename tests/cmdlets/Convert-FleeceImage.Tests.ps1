# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Convert-FleeceImage' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./a.raw 1MB
    }
    AfterEach { Exit-TestFolder }

    It 'names the destination by a script block: <Case>' -ForEach @(
        @{ Case = 'of a file'; Given = { Get-Item a.raw }; Block = { $_.FullName -replace 'raw$', 'vhdx' } }
        @{ Case = 'of a name'; Given = { 'a.raw' }; Block = { $_ -replace 'raw$', 'vhdx' } }
        @{ Case = 'of an image'; Given = { Get-FleeceImage *.raw }; Block = { $_.Path -replace 'raw$', 'vhdx' } }
        @{ Case = 'of a row'; Given = { [pscustomobject]@{ Path = 'a.raw'; To = 'a.vhdx' } }; Block = { $_.To } }
    ) {
        $image = & $Given | Convert-FleeceImage -DestinationPath $Block

        $image.Format | Should -Be 'Vhdx'
        (Get-ChildItem).Name | Should -Be 'a.raw', 'a.vhdx'
    }

    It 'takes rows with both paths' {
        $images = 'Path,DestinationPath', 'a.raw,b.qcow2', 'a.raw,c.vhd' | ConvertFrom-Csv | Convert-FleeceImage

        $images.Format | Should -Be 'Qcow2', 'Vhd'
    }

    It 'makes no file of the text of a script block without input' {
        { Convert-FleeceImage a.raw -DestinationPath { 'b.raw' } } | Should -Throw -ErrorId 'ScriptBlockArgumentNoInput,*'

        (Get-ChildItem).Name | Should -Be 'a.raw'
    }

    It 'takes wildcards that fit one file, and refuses those that fit several' {
        (Convert-FleeceImage *.raw ./b.qcow2).Format | Should -Be 'Qcow2'
        $null = New-FleeceImage ./c.raw 1MB

        { Convert-FleeceImage *.raw ./d.qcow2 -ErrorAction Stop } | Should -Throw '*-DestinationPath*' -ErrorId 'ArgumentInvalid,*'
        'd.qcow2' | Should -Not -Exist
    }

    It 'takes a file whose name looks like wildcards' {
        $null = New-FleeceImage 'x[1].raw' 2MB

        (Convert-FleeceImage -LiteralPath 'x[1].raw' -DestinationPath ./b.qcow2).SizeBytes | Should -Be 2MB
    }
}

Describe 'Images that nobody has mounted' {
    BeforeEach {
        Enter-TestFolder
        [IO.File]::WriteAllBytes("$PWD/a.raw", (Get-RandomData 3MB))
    }
    AfterEach { Exit-TestFolder }

    It 'are converted to <Extension> and compared with what they were' -ForEach @(
        @{ Extension = 'qcow2' }
        @{ Extension = 'vhd' }
        @{ Extension = 'vhdx' }
        @{ Extension = 'raw' }
    ) {
        Get-Item ./a.raw | Convert-FleeceImage -DestinationPath "./b.$Extension" | Compare-FleeceImage -DifferencePath ./a.raw |
            Select-Object -ExpandProperty AreEqual | Should -BeTrue
    }

    It 'are taken by names that look like wildcards' {
        [IO.File]::Copy("$PWD/a.raw", "$PWD/x[1].raw")

        (Get-Item -LiteralPath 'x[1].raw' | Convert-FleeceImage -DestinationPath 'y[1].qcow2').Path | Should -BeLike '*y`[1`].qcow2'
        (Compare-FleeceImage 'x[1].raw' 'y[1].qcow2').AreEqual | Should -BeTrue
    }

    It 'are replaced only with -Force' {
        $null = New-FleeceImage ./b.qcow2 1MB

        { Convert-FleeceImage ./a.raw ./b.qcow2 -ErrorAction Stop } |
            Should -Throw -ErrorId 'ImageAlreadyExists,Fleece.ConvertFleeceImageCommand'
        (Convert-FleeceImage ./a.raw ./b.qcow2 -Force).SizeBytes | Should -Be 3MB
    }

    It 'are converted from <Extension> to raw without losing a byte' -ForEach @(
        @{ Extension = 'qcow2' }
        @{ Extension = 'vhd' }
        @{ Extension = 'vhdx' }
    ) {
        $null = Convert-FleeceImage ./a.raw "./b.$Extension" | Convert-FleeceImage -DestinationPath ./c.raw

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/c.raw")[0..(3MB - 1)]) ([IO.File]::ReadAllBytes("$PWD/a.raw")) | Should -BeTrue
    }

    It 'are stored without their zeros, also those that the source stores' {
        [IO.File]::WriteAllBytes("$PWD/a.raw", (Get-RandomData 2MB) + [byte[]]::new(1MB))

        $image = Convert-FleeceImage ./a.raw ./b.qcow2

        $image.FileSizeBytes | Should -BeGreaterOrEqual 2MB
        $image.FileSizeBytes | Should -BeLessOrEqual 2560KB
    }

    It 'are compressed with <_>, and hold the same' -ForEach 'Zlib', 'Zstd' {
        $data = [byte[]]::new(4MB)
        for ($i = 0; $i -lt 4MB; $i += 512) { $data[$i] = 1 + ($i / 512) % 250 }
        [IO.File]::WriteAllBytes("$PWD/a.raw", $data)

        $image = Convert-FleeceImage ./a.raw ./b.qcow2 -Compression $_

        $image.FileSizeBytes | Should -BeLessThan 1MB
        (Compare-FleeceImage ./a.raw ./b.qcow2).AreEqual | Should -BeTrue
        $report = Test-FleeceImage ./b.qcow2
        $report.IsClean | Should -BeTrue
        $report.CompressedBlockCount | Should -Be 64
    }
}

Describe 'A request to Convert-FleeceImage' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Convert-FleeceImage ./missing.raw ./b.qcow2'; Id = 'ImageNotFound,Fleece.ConvertFleeceImageCommand' }
        @{ Command = 'Convert-FleeceImage ./small.raw ./no/folder/b.qcow2'; Id = 'ImageNotFound,Fleece.ConvertFleeceImageCommand' }
        @{ Command = 'Convert-FleeceImage ./small.raw ./small.raw -Force'; Id = 'ImageInUse,Fleece.ConvertFleeceImageCommand' }
        @{ Command = 'Convert-FleeceImage ./small.raw ./b.qcow2 -SourceFormat Qcow2'; Id = 'ImageWrongFormat,Fleece.ConvertFleeceImageCommand' }
        @{ Command = 'Convert-FleeceImage ./small.raw ./b.vmdk'; Id = 'ImageUnsupported,Fleece.ConvertFleeceImageCommand' }
        @{ Command = 'Convert-FleeceImage ./small.raw ./b.raw -BlockSizeBytes 4096'; Id = 'ArgumentInvalid,Fleece.ConvertFleeceImageCommand' }
        @{ Command = 'Convert-FleeceImage ./vm.raw ./b.qcow2'; Id = 'ImageInUse,Fleece.ConvertFleeceImageCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Convert-FleeceImage ./small.raw ./new.qcow2 -WhatIf' }
}
