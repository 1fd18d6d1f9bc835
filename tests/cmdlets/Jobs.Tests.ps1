# SPDX-License-Identifier: MIT
# Matter: the exit codes of scripts and of the nightly job.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
    $script:job = (Resolve-Path "$PSScriptRoot/../../docs/examples/nightly-backup.ps1").Path
    $script:module = Get-ModuleUnderTest

    # The exit code of a real PowerShell, and what it wrote to standard error.
    function Get-ExitCode([string[]] $Arguments) {
        $program, $first = @(Get-PowerShellCommand)
        $all = @(@($first) + '-NoProfile', '-NonInteractive' + $Arguments | Where-Object { $_ })
        $script:said = & $program @all 2>&1
        $LASTEXITCODE
    }
}

Describe 'The exit code of nightly-backup.ps1 under <How>' -ForEach @(
    @{ How = '-File' }
    @{ How = '-Command' }
) {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./a.raw -SizeBytes 1MB
        $null = New-FleeceImage ./b.raw -SizeBytes 1MB
        $null = New-Item ./repo -ItemType Directory

        function Get-JobExitCode([string] $Repository, [string[]] $Images, [int] $Keep = 14) {
            if ($How -eq '-File') {
                Get-ExitCode (@('-File', $job, '-RepositoryPath', $Repository, '-Keep', $Keep, '-ModulePath', $module) + $Images)
            } else {
                $command = "& '$job' -RepositoryPath $Repository -Keep $Keep -ModulePath '$module' -Path $($Images -join ', ')"
                Get-ExitCode '-Command', $command
            }
        }
    }
    AfterEach { Exit-TestFolder }

    It 'is 0 when every disk was backed up' {
        Get-JobExitCode ./repo ./a.raw, ./b.raw | Should -Be 0
        (Get-ChildItem ./repo -Directory).Name | Should -Be a, b
    }

    It 'is 1 when one was not, and the others are backed up all the same' {
        Get-JobExitCode ./repo ./missing.raw, ./b.raw | Should -Be 1
        (Get-ChildItem ./repo -Directory).Name | Should -Be b
        "$said" | Should -BeLike '*missing.raw*ImageNotFound*'
    }

    It 'is 1 for an error that Backup-FleeceDisk only reports' {
        Get-JobExitCode ./no-such-volume ./a.raw | Should -Be 1
    }

    It 'is 1 when an old backup can not be taken out' {
        Get-JobExitCode ./repo ./a.raw | Should -Be 0
        Get-JobExitCode ./repo ./a.raw | Should -Be 0
        $oldest = (Get-ChildItem ./repo/a/*.qcow2)[0]
        [IO.File]::WriteAllBytes($oldest, [byte[]]::new(512))

        Get-JobExitCode ./repo ./a.raw -Keep 1 | Should -Be 1
    }

    # Beside a raw image lies the sidecar of its bitmap from the first night on.
    It 'is 0 when every image that a wildcard matches was backed up, night after night' {
        Get-JobExitCode ./repo ($How -eq '-File' ? './*.raw*' : "'./*.raw*'") | Should -Be 0
        Get-JobExitCode ./repo ($How -eq '-File' ? './*.raw*' : "'./*.raw*'") | Should -Be 0
        (Get-ChildItem ./repo -Directory).Name | Should -Be a, b
        $points = Get-ChildItem ./repo -Directory | ForEach-Object { Get-FleeceBackup $_ }
        $points | Should -HaveCount 4
    }

    It 'is 1 when one of those was not, and the others are backed up all the same' {
        Set-Content ./aa.qcow2 'no image'
        $null = New-FleeceImage ./c.qcow2 -SizeBytes 1MB
        Get-JobExitCode ./repo ($How -eq '-File' ? './*.qcow2' : "'./*.qcow2'") | Should -Be 1
        (Get-ChildItem ./repo -Directory).Name | Should -Be c
        "$said" | Should -BeLike '*aa.qcow2*'
    }

    It 'is 1 when a wildcard matches nothing' {
        Get-JobExitCode ./repo ($How -eq '-File' ? './*.vhdx' : "'./*.vhdx'"), ./b.raw | Should -Be 1
        (Get-ChildItem ./repo -Directory).Name | Should -Be b
        "$said" | Should -BeLike '*.vhdx*NoImageMatches*'
    }

    It 'is 1 for an NBD URI, and says which process backs such a disk up' {
        $null = Mount-FleeceDisk ./a.raw -ListenUri "nbd+unix:///?socket=$PWD/a.sock"
        Get-JobExitCode ./repo ($How -eq '-File' ? "nbd+unix:///a?socket=$PWD/a.sock" : "'nbd+unix:///a?socket=$PWD/a.sock'"), ./b.raw |
            Should -Be 1
        (Get-ChildItem ./repo -Directory).Name | Should -Be b
        "$said" | Should -BeLike '*no point in time*Backup-FleeceDisk in the process that serves the disk*Read-FleeceSnapshot -Uri*'
    }

    It 'is 1 when the module is not there' {
        $arguments = $How -eq '-File' ? @('-File', $job, '-RepositoryPath', './repo', '-ModulePath', './none.psd1', './a.raw') :
            @('-Command', "& '$job' -RepositoryPath ./repo -ModulePath ./none.psd1 -Path ./a.raw")
        Get-ExitCode $arguments | Should -Be 1
    }
}

# As PowerShell is, and as the help of Backup-FleeceDisk says.
Describe 'A script whose last line is a failing Backup-FleeceDisk' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./a.raw -SizeBytes 1MB
        $script:lines = "Import-Module '$module'", '$null = Mount-FleeceDisk ./a.raw', 'Backup-FleeceDisk a ./no/where'
    }
    AfterEach { Exit-TestFolder }

    It 'ends with 0 under <_>' -ForEach '-File', '-Command' {
        Set-Content ./job.ps1 $lines
        Get-ExitCode $_, './job.ps1' | Should -Be 0
    }

    It 'ends with 1 under <_> when it makes errors terminating' -ForEach '-File', '-Command' {
        Set-Content ./job.ps1 (@('$ErrorActionPreference = ''Stop''') + $lines)
        Get-ExitCode $_, './job.ps1' | Should -Be 1
    }

    It 'ends with 1 when its text is what -Command is given' {
        Get-ExitCode '-Command', ($lines -join '; ') | Should -Be 1
    }
}
