# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Get-FleeceImage' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./a.raw 1MB
    }
    AfterEach { Exit-TestFolder }

    It 'takes <Kind>' -ForEach @(
        @{ Kind = 'an object with a Path'; Given = { [pscustomobject]@{ Path = 'a.raw' } } }
        @{ Kind = 'an object with a FullName'; Given = { [pscustomobject]@{ FullName = "$PWD/a.raw" } } }
        @{ Kind = 'a hashtable turned object with a path and a format'; Given = { [pscustomobject]@{ Path = 'a.raw'; Format = 'Raw' } } }
        @{ Kind = 'a row of CSV'; Given = { 'Path,Format', './a.raw,Raw' | ConvertFrom-Csv } }
        @{ Kind = 'a file'; Given = { Get-Item a.raw } }
        @{ Kind = 'a file with all its properties selected'; Given = { Get-ChildItem a.raw | Select-Object * } }
        @{ Kind = 'a name'; Given = { Get-ChildItem -Name } }
        @{ Kind = 'an image'; Given = { Get-FleeceImage a.raw } }
        @{ Kind = 'an image from JSON'; Given = { Get-FleeceImage a.raw | ConvertTo-Json | ConvertFrom-Json } }
    ) {
        $image = & $Given | Get-FleeceImage -ErrorAction Stop

        $image.Path | Should -Be (Get-Item a.raw).FullName
        $image.SizeBytes | Should -Be 1MB
    }

    It 'takes the name of an existing file as it is, also where a property holds it' {
        $null = New-FleeceImage 'x[1].raw' 2MB
        $null = New-FleeceImage x1.raw 3MB

        ([pscustomobject]@{ Path = 'x[1].raw' } | Get-FleeceImage).SizeBytes | Should -Be 2MB
    }

    It 'takes no other file for <Kind> that is gone, whose name looks like wildcards' -ForEach @(
        @{ Kind = 'an image'; Given = { Get-FleeceImage -LiteralPath 'x[1].raw' } }
        @{ Kind = 'a file'; Given = { Get-Item -LiteralPath 'x[1].raw' } }
        @{ Kind = 'a file with all its properties selected'; Given = { Get-Item -LiteralPath 'x[1].raw' | Select-Object * } }
    ) {
        $null = New-FleeceImage 'x[1].raw' 2MB
        $null = New-FleeceImage x1.raw 3MB
        $gone = & $Given
        Remove-Item -LiteralPath 'x[1].raw'

        { $gone | Get-FleeceImage -ErrorAction Stop } | Should -Throw -ErrorId 'ImageNotFound,*'
        { Get-FleeceImage $gone -ErrorAction Stop } | Should -Throw -ErrorId 'ImageNotFound,*'
        { Get-FleeceImage @($gone) -ErrorAction Stop } | Should -Throw -ErrorId 'ImageNotFound,*'
    }

    It 'refuses $null as a binding error' {
        { Get-FleeceImage $null } | Should -Throw -ErrorId 'ParameterArgumentValidationErrorNullNotAllowed,*'
    }

    It 'tells of an export what its server tells' {
        $null = New-FleeceImage ./vm.qcow2 2MB
        $null = Mount-FleeceDisk ./vm.qcow2 -ListenUri 'nbd+unix:///?socket=./s'
        $null = New-FleeceBitmap vm daily

        $export = Get-FleeceImage 'nbd+unix:///vm?socket=./s'

        $export.Path | Should -Be "nbd+unix:///vm?socket=$PWD/s"
        $export.SizeBytes | Should -Be 2MB
        $export.IsReadOnly | Should -BeFalse
        $export.MinimumBlockSizeBytes | Should -Be 1
        $export.PreferredBlockSizeBytes | Should -BeGreaterOrEqual 512
        $export.MaximumBlockSizeBytes | Should -Be 32MB
        $export.Features | Should -Contain 'WRITE_ZEROES'
        $export.Contexts | Should -Be 'base:allocation', 'qemu:allocation-depth', 'qemu:dirty-bitmap:daily'
        $export.Identity['disk'] | Should -Be 'vm'
        (Get-FleeceExport).GuestCount | Should -Be 0
    }

    It 'says that an export is read-only' {
        $null = Mount-FleeceDisk ./a.raw -ReadOnly -ListenUri 'nbd+unix:///?socket=./s'

        (Get-FleeceImage -LiteralPath 'nbd+unix:///a?socket=./s').IsReadOnly | Should -BeTrue
    }

    It 'hands an export on to cmdlets that read images' {
        $null = Mount-FleeceDisk ./a.raw -ReadOnly -ListenUri 'nbd+unix:///?socket=./s'

        $copy = Get-FleeceImage 'nbd+unix:///a?socket=./s' | Convert-FleeceImage -DestinationPath ./b.qcow2 -WarningAction Ignore

        $copy.SizeBytes | Should -Be 1MB
    }

    It 'tells of a server that announces nothing only what it has' -Skip:(-not (Get-Command nbdkit -ErrorAction Ignore)) {
        $server = Start-NbdkitProcess "$PWD/k" '--no-sr', 'memory', '1001001'
        try {
            $export = Get-FleeceImage "nbd+unix:///?socket=$PWD/k"

            $export.SizeBytes | Should -Be 1001001
            $export.Contexts | Should -BeNullOrEmpty
            $export.Identity.Count | Should -Be 0
        } finally {
            $server.Kill()
        }
    }

    It 'says why there is no export' {
        { Get-FleeceImage "nbd+unix:///x?socket=$PWD/none" -ErrorAction Stop } | Should -Throw -ErrorId 'ServerUnreachable,*'
    }

    It 'takes a file by its full name wherever the location is' {
        $file = Get-Item ./a.raw
        $null = New-Item sub -ItemType Directory
        Push-Location sub
        try { ($file | Get-FleeceImage).Path | Should -Be $file.FullName } finally { Pop-Location }
    }
}

Describe 'An object that knows its format' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'does not decide for the file that is piped behind it' {
        $raw = New-FleeceImage ./a.bin 1MB -Format Raw
        $null = New-FleeceImage ./b.qcow2 1MB

        ($raw, (Get-Item ./b.qcow2), (Get-FleeceImage ./b.qcow2) | Get-FleeceImage).Format | Should -Be Raw, Qcow2, Qcow2
    }

    It 'is opened as the user says' {
        $image = New-FleeceImage ./x.qcow2 1MB

        ($image | Get-FleeceImage -Format Raw).Format | Should -Be Raw
    }
}

Describe 'Images that nobody has mounted' {
    BeforeEach {
        Enter-TestFolder
        [IO.File]::WriteAllBytes("$PWD/a.raw", (Get-RandomData 3MB))
    }
    AfterEach { Exit-TestFolder }

    It 'show their chain' {
        $null = New-FleeceImage ./base.vhdx 4MB
        $null = New-FleeceImage ./child.vhdx -ParentPath ./base.vhdx

        $image = Get-FleeceImage ./child.vhdx

        $image.Type | Should -Be 'Differencing'
        $image.ParentPath | Should -Be (Get-Item ./base.vhdx).FullName
        $image | Out-String -Width 300 | Should -Match 'Vhdx +Differencing .*base\.vhdx'
    }
}

Describe 'A raw disk by its name alone' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.img -SizeBytes 1MB -Format Raw
    }
    AfterEach { Exit-TestFolder }

    It 'is marked in what Get-FleeceImage and Test-FleeceImage answer' {
        (Get-FleeceImage ./vm.img).IsRawByName, (Get-FleeceImage ./vm.img -Format Raw).IsRawByName | Should -Be $true, $false
        (Test-FleeceImage ./vm.img).IsRawByName, (Test-FleeceImage ./vm.img -Format Raw).IsRawByName | Should -Be $true, $false
    }
}

Describe 'A request to Get-FleeceImage' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceImage ./nothing.raw'; Id = 'ImageNotFound,Fleece.GetFleeceImageCommand' }
        @{ Command = 'Get-FleeceImage ./nothing*.raw'; Id = 'ImageNotFound,Fleece.GetFleeceImageCommand' }
        @{ Command = 'Get-FleeceImage .'; Id = 'ImageNotAFile,Fleece.GetFleeceImageCommand' }
        @{ Command = 'Get-FleeceImage Env:/PATH'; Id = 'ImageNotAFile,Fleece.GetFleeceImageCommand' }
    ) { Assert-Refused $Command $Id }
}
