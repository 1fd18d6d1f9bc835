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

Describe 'What differs' {
    BeforeEach {
        Enter-TestFolder
        $script:data = Get-RandomData 3MB
        [IO.File]::WriteAllBytes("$PWD/a.raw", $data)
    }
    AfterEach { Exit-TestFolder }

    It 'is told by its first range, to the end of it' {
        foreach ($offsetBytes in 1000000, 1000600, 2MB) { $data[$offsetBytes] = $data[$offsetBytes] -bxor 255 }
        [IO.File]::WriteAllBytes("$PWD/b.raw", $data)

        $found = Compare-FleeceImage ./a.raw ./b.raw

        $found.AreEqual | Should -BeFalse
        $found.OffsetBytes | Should -Be 1000000
        $found.LengthBytes | Should -Be (1000960 - 1000000)
    }

    It 'is nothing where a longer disk ends in zeros, and is found where it does not: <Last>' -ForEach @(
        @{ Last = 0; AreEqual = $true; OffsetBytes = $null }
        @{ Last = 9; AreEqual = $false; OffsetBytes = 4MB - 1 }
    ) {
        $longer = [byte[]]::new(4MB)
        $data.CopyTo($longer, 0)
        $longer[4MB - 1] = $Last
        [IO.File]::WriteAllBytes("$PWD/b.raw", $longer)

        $found = Compare-FleeceImage ./a.raw ./b.raw

        $found.AreEqual | Should -Be $AreEqual
        $found.OffsetBytes | Should -Be $OffsetBytes
        $found.SizeBytes, $found.DifferenceSizeBytes | Should -Be 3MB, 4MB
    }

    It 'is found in a snapshot of a live disk through its address' {
        $null = Convert-FleeceImage ./a.raw ./b.qcow2
        $null = Mount-FleeceDisk ./a.raw -Name vm -ListenUri "nbd+unix:///?socket=$PWD/vm.sock"
        $null = Start-FleeceSession vm -Name s
        Write-FleeceDisk vm 0 ([byte[]] (1, 2, 3))

        (Compare-FleeceImage "nbd+unix:///vm/s?socket=$PWD/vm.sock" ./b.qcow2).AreEqual | Should -BeTrue
        (Compare-FleeceImage "nbd+unix:///vm?socket=$PWD/vm.sock" ./b.qcow2 -WarningAction Ignore).AreEqual | Should -BeFalse
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
