# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'Objects in the pipeline' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'files are mounted, although their names look like wildcards' {
        $null = New-FleeceImage 'x[1].raw' -SizeBytes 1MB

        (Get-ChildItem -LiteralPath 'x[1].raw' | Mount-FleeceDisk -Name x).Path | Should -BeLike '*x`[1`].raw'
    }

    It 'paths are relative to the location, which may be a drive of the user' {
        $null = New-PSDrive Images FileSystem $PWD
        try {
            (New-FleeceImage Images:/vm.raw -SizeBytes 1MB).Path | Should -Be (Get-Item ./vm.raw).FullName
            (Get-FleeceImage Images:/*.raw).Path | Should -Be (Get-Item ./vm.raw).FullName
        } finally {
            Remove-PSDrive Images
        }
    }

    It 'rows with a path and a size become images' {
        $images = 'Path,SizeBytes', './a.raw,1048576', './b.qcow2,2097152' | ConvertFrom-Csv | New-FleeceImage

        $images.SizeBytes | Should -Be 1MB, 2MB
        $images.Format | Should -Be 'Raw', 'Qcow2'
    }

    It 'disks and sessions stand where their names are wanted' {
        New-MountedDisk -Name a
        New-MountedDisk -Name b

        $sessions = Get-FleeceDisk | Start-FleeceSession -Name nightly
        $read = $sessions | Read-FleeceSnapshot

        $sessions.Id | Should -Be 'a/nightly', 'b/nightly'
        $read.Session | Should -Be 'a/nightly', 'b/nightly'
        $sessions | Stop-FleeceSession
        Get-FleeceDisk | Dismount-FleeceDisk
        Get-FleeceDisk | Should -BeNullOrEmpty
    }

    It 'runs of a map are discarded from the session that is named' {
        New-MountedDisk
        $session = Start-FleeceSession vm
        Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3))

        Get-FleeceSnapshotMap vm | Where-Object State -EQ Copied | Clear-FleeceSnapshot vm -Force

        (Get-FleeceSession $session).ConsumedBytes | Should -Be 4KB
        (Get-FleeceSnapshotMap vm).State | Should -Be 'Untouched', 'Consumed', 'Untouched'
    }

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
