# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
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
