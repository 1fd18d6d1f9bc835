# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'A session that is measured' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 4MB -Data (Get-RandomData 1MB)
    }
    AfterEach { Exit-TestFolder }

    It 'copies nothing and leaves nothing behind' {
        $before = (Get-ChildItem).Name

        $measured = Measure-FleeceSession vm -Duration 0.2 -TempLimitBytes 1MB

        $measured.Disk | Should -Be vm
        $measured.CopiedBytes | Should -Be 0
        $measured.TempFullIn | Should -BeNullOrEmpty
        $measured.Duration | Should -BeGreaterOrEqual ([TimeSpan]::FromSeconds(0.2))
        Get-FleeceSession | Should -BeNullOrEmpty
        (Get-ChildItem).Name | Should -Be $before
    }

    It 'takes the disk from the pipeline' {
        (Get-FleeceDisk vm | Measure-FleeceSession -Duration 0.1).SizeBytes | Should -Be 4MB
    }
}

Describe 'A request to Measure-FleeceSession' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 4MB
    }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Request>' -ForEach @(
        @{ Request = 'Measure-FleeceSession vm -Duration 0'; Id = 'ArgumentInvalid,*' }
        @{ Request = 'Measure-FleeceSession other -Duration 1'; Id = 'DiskNotFound,*' }
        @{ Request = 'Measure-FleeceSession vm -Duration 1 -Bitmap none'; Id = 'BitmapNotFound,*' }
    ) {
        { & ([scriptblock]::Create("$Request -ErrorAction Stop")) } | Should -Throw -ErrorId $Id
    }
}
