# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
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

    It 'are examined many at a time, and one that is no image does not stop the others' {
        $null = New-FleeceImage ./b.qcow2 1MB
        $null = New-FleeceImage ./c.vhdx 4MB
        [IO.File]::WriteAllBytes("$PWD/d.qcow2", [byte[]] (0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3))

        $reports = Test-FleeceImage ./*.* -ErrorVariable failures -ErrorAction SilentlyContinue

        $reports.Path | Split-Path -Leaf | Should -Be @('a.raw', 'b.qcow2', 'c.vhdx')
        $reports.IsClean | Should -Not -Contain $false
        $failures.FullyQualifiedErrorId | Should -Be 'ImageCorrupt,Fleece.TestFleeceImageCommand'
    }

    It 'show their chain' {
        $null = New-FleeceImage ./base.vhdx 4MB
        $null = New-FleeceImage ./child.vhdx -ParentPath ./base.vhdx

        $image = Get-FleeceImage ./child.vhdx

        $image.Type | Should -Be 'Differencing'
        $image.ParentPath | Should -Be (Get-Item ./base.vhdx).FullName
        $image | Out-String -Width 300 | Should -Match 'Vhdx +Differencing .*base\.vhdx'
    }
}
