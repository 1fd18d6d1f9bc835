# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Objects in the pipeline' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'names with wildcards find disks and sessions, and finding none is no error' {
        New-MountedDisk -Name web1
        New-MountedDisk -Name web2
        $null = Start-FleeceSession web1, web2 -Name nightly

        (Get-FleeceDisk WEB*).Name | Should -Be 'web1', 'web2'
        (Get-FleeceSession web1/*).Id | Should -Be 'web1/nightly'
        (Get-FleeceSession -Disk web2).Id | Should -Be 'web2/nightly'
        Get-FleeceDisk x* -ErrorAction Stop | Should -BeNullOrEmpty
        Get-FleeceSession x* -ErrorAction Stop | Should -BeNullOrEmpty
    }
}

Describe 'A request to Get-FleeceDisk' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceDisk nobody'; Id = 'DiskNotFound,Fleece.GetFleeceDiskCommand' }
        @{ Command = 'Get-FleeceDisk "v["'; Id = 'ArgumentInvalid,Fleece.GetFleeceDiskCommand' }
    ) { Assert-Refused $Command $Id }
}
