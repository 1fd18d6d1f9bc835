# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Read-FleeceDisk' {
    BeforeEach {
        Enter-TestFolder
        $script:data = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 1MB -Data $data
    }
    AfterEach { Exit-TestFolder }

    It 'gives the bytes of the range as one array' {
        $read = Read-FleeceDisk vm 1000 5000

        , $read | Should -BeOfType byte[]
        Test-SameData $read $data[1000..5999] | Should -BeTrue
    }

    It 'gives an empty array for an empty range' {
        , (Read-FleeceDisk vm 1000 0) | Should -BeOfType byte[]
        (Read-FleeceDisk vm 1000 0).Count | Should -Be 0
    }

    It 'says why the server of a snapshot refuses a range' {
        $null = Publish-FleeceExport vm "nbd+unix:///?socket=$PWD/s"
        $null = Start-FleeceSession vm
        $null = Mount-FleeceDisk "nbd+unix:///vm/vm?socket=$PWD/s" -Name snapshot -ReadOnly
        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 64KB -Force

        { Read-FleeceDisk snapshot 0 4KB -ErrorAction Stop } |
            Should -Throw '*was consumed*' -ErrorId 'SnapshotRangeDenied,Fleece.ReadFleeceDiskCommand'
        Dismount-FleeceDisk snapshot
    }
}

Describe 'A request to Read-FleeceDisk' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Read-FleeceDisk vm 1MB 1'; Id = 'RangeBeyondEnd,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm -1 1'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm 0 -LengthBytes -1'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk vm ([long]::MaxValue) 2'; Id = 'RangeInvalid,Fleece.ReadFleeceDiskCommand' }
        @{ Command = 'Read-FleeceDisk nobody 0 1'; Id = 'DiskNotFound,Fleece.ReadFleeceDiskCommand' }
    ) { Assert-Refused $Command $Id }
}
