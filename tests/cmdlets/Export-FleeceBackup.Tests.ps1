# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'Export-FleeceBackup' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name a
        New-MountedDisk -Name b
        $null = Start-FleeceSession a, b -Name night
    }
    AfterEach { Exit-TestFolder }

    It 'names the file by a script block, which sees the chunks' {
        $backup = Read-FleeceSnapshot a/night | Export-Backup -DestinationPath { "./$($_.Session -replace '/', '-').qcow2" }

        $backup.Path | Should -Be (Get-Item ./a-night.qcow2).FullName
        (Get-ChildItem *.qcow2).Name | Should -Be 'a-night.qcow2'
    }

    It 'refuses a script block that names several files, and leaves none' {
        { Get-FleeceSession | Read-FleeceSnapshot | Export-Backup -DestinationPath { "./$($_.Session -replace '/', '-').qcow2" } } |
            Should -Throw '*one backup*' -ErrorId 'ArgumentInvalid,*'

        Get-ChildItem *-night* | Should -BeNullOrEmpty
    }

    It 'says that no chunk came, where a script block could name nothing' {
        { Read-FleeceSnapshot a/night -LengthBytes 0 | Export-Backup -DestinationPath { './x.raw' } } |
            Should -Throw -ErrorId 'BackupIncomplete,*'
    }

    It 'makes no file of the text of a script block without input' {
        { Export-Backup -DestinationPath { './x.raw' } -InputObject $null } | Should -Throw

        (Get-ChildItem -File).Name | Should -Not -BeLike '*x.raw*'
    }
}

Describe 'Backup-FleeceDisk' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name a
        New-MountedDisk -Name b
    }
    AfterEach { Exit-TestFolder }

    It 'names the repository of each disk by a script block' {
        $backups = Get-FleeceDisk | Backup-FleeceDisk -RepositoryPath { "./of-$($_.Name)" }

        $backups.Path | Split-Path | Split-Path -Leaf | Should -Be 'of-a', 'of-b'
    }

    It 'makes no folder of the text of a script block without input' {
        { Backup-FleeceDisk a -RepositoryPath { './x' } } | Should -Throw -ErrorId 'ScriptBlockArgumentNoInput,*'

        Get-ChildItem -Directory | Should -BeNullOrEmpty
    }
}
