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

    It 'is measured with others at the same time, <Way>' -ForEach @(
        @{ Way = 'listed'; Measure = { Measure-FleeceSession vm, other -Duration 0.5 } }
        @{ Way = 'piped'; Measure = { Get-FleeceDisk vm, other | Measure-FleeceSession -Duration 0.5 } }
    ) {
        New-MountedDisk -Name other -SizeBytes 2MB

        $measured = & $Measure | Sort-Object Disk

        $measured.Disk | Should -Be other, vm
        $measured[0].StartedAt | Should -BeLessThan ($measured[1].StartedAt + $measured[1].Duration)
        $measured[1].StartedAt | Should -BeLessThan ($measured[0].StartedAt + $measured[0].Duration)
    }

    It 'is an error of one of several that is not there, and the others are measured' {
        $measured = Measure-FleeceSession none, vm -Duration 0.1 -ErrorAction SilentlyContinue -ErrorVariable failed

        $measured.Disk | Should -Be vm
        $failed.FullyQualifiedErrorId | Should -BeLike 'DiskNotFound,*'
    }

    It 'is limited to the bitmap that is piped' {
        $null = New-FleeceBitmap vm daily

        (Get-FleeceBitmap vm daily | Measure-FleeceSession -Duration 0.1).Bitmap | Should -Be daily
    }

    It 'may be larger than a stored bitmap can be' {
        New-MountedDisk -Name large -SizeBytes 4TB

        (Measure-FleeceSession large -Duration 0.1 -GranuleSizeBytes 512).SizeBytes | Should -Be 4TB
    }

    It 'is a row that fits a terminal of 80 characters' {
        $text = Measure-FleeceSession vm -Duration 0.1 -TempLimitBytes 1MB | Out-String -Width 80

        $text | Should -Match 'Disk +Duration +Copied MiB +Peak MiB/s +TempFullIn'
        $text | Should -Match '(?m)^vm +0:00:00.\d '
        ($text -split '\n').ForEach({ $_.TrimEnd().Length }) | Measure-Object -Maximum | ForEach-Object Maximum | Should -BeLessOrEqual 80
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
        @{ Request = 'Measure-FleeceSession vm -Duration 1 -TempLimitBytes 4095'; Id = 'ArgumentInvalid,*' }
        @{ Request = 'Start-FleeceSession vm -TempLimitBytes 4095'; Id = 'ArgumentInvalid,*' }
        @{ Request = 'Measure-FleeceSession vm -Duration 1 -TempLimitBytes 100'; Id = 'ParameterArgumentValidationError,*' }
        @{ Request = 'Start-FleeceSession vm -TempLimitBytes 100'; Id = 'ParameterArgumentValidationError,*' }
    ) {
        { & ([scriptblock]::Create("$Request -ErrorAction Stop")) } | Should -Throw -ErrorId $Id
    }
}
