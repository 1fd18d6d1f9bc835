# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    Import-ModuleUnderTest
}

Describe 'The files of a repository' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk a -Data (Get-RandomData 1MB)
        1..3 | ForEach-Object {
            Write-FleeceDisk a ($_ * 64KB) ([byte[]] ($_))
            $null = Backup-FleeceDisk a ./rep
        }
    }
    AfterEach {
        try {
            $good = @(Test-FleeceBackup ./rep -Deep -ErrorAction Ignore | Where-Object IsGood)
        } finally {
            Exit-TestFolder
        }
        $good | Should -HaveCount 3
    }

    It 'are not replaced, also with -Force: <Command>' -ForEach @(
        @{ Command = 'Restore-FleeceBackup ./rep ./rep/a-000003.qcow2 -Force' }
        @{ Command = 'Restore-FleeceBackup ./rep ./rep/a-000003.qcow2' }
        @{ Command = 'Restore-FleeceBackup ./rep ./rep/a-000001.qcow2 -Force' }
        @{ Command = 'Restore-FleeceBackup ./rep ./rep/a-000002.json -Format Raw -Force' }
        @{ Command = 'Restore-FleeceBackup ./rep ./rep/repository.lock -Format Raw -Force' }
        @{ Command = 'Restore-FleeceBackup ./rep ./link/a-000003.qcow2 -Force' }
        @{ Command = '$null = Start-FleeceSession a; Read-FleeceSnapshot a | Export-FleeceBackup ./rep/a-000002.qcow2 -Force' }
        @{ Command = '$null = New-FleeceImage ./u.raw 1MB; Convert-FleeceImage ./u.raw ./rep/a-000002.qcow2 -Force' }
    ) {
        $null = New-Item ./link -ItemType SymbolicLink -Target ./rep

        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } |
            Should -Throw '*Choose another file*' -ErrorId 'FileOfBackup,*'
    }

    It 'are not asked about before they are refused' {
        $done = Invoke-Answering 'Yes' 'Restore-FleeceBackup ./rep ./rep/a-000003.qcow2'

        $done.Questions | Should -BeNullOrEmpty
        $done.Errors.FullyQualifiedErrorId | Should -BeLike 'FileOfBackup,*'
    }

    It 'are not mounted writable: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceBackup ./rep | Mount-FleeceDisk' }
        @{ Command = 'Mount-FleeceDisk ./rep/a-000001.qcow2' }
        @{ Command = '$null = New-Item ./l.qcow2 -ItemType SymbolicLink -Target ./rep/a-000001.qcow2; Mount-FleeceDisk ./l.qcow2' }
    ) {
        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } |
            Should -Throw '*-ReadOnly*' -ErrorId 'FileOfBackup,*'
        (Get-FleeceDisk).Name | Should -Be a
    }

    It 'are not the temp of a session' {
        { Start-FleeceSession a -TempPath ./rep/a-000001.qcow2 -ErrorAction Stop } | Should -Throw -ErrorId 'FileOfBackup,*'
    }

    It 'are mounted read-only, all at a time' {
        Get-FleeceBackup ./rep | Mount-FleeceDisk -ReadOnly | ForEach-Object IsReadOnly | Should -Be $true, $true, $true

        Get-FleeceDisk a-* | Dismount-FleeceDisk
    }

    It 'are found by a wildcard, each once, without what is no backup' {
        $found = Get-FleeceBackup ./rep/* -ErrorAction Stop

        $found.Number | Should -Be 1, 2, 3
    }

    It 'that have lost their manifest are still told of by a wildcard' {
        Move-Item ./rep/a-000003.json ./away

        Get-FleeceBackup ./rep/* -ErrorAction SilentlyContinue -ErrorVariable failure -WarningAction Ignore | Out-Null

        $failure.FullyQualifiedErrorId | Should -BeLike 'BackupNotFound,*'
        Move-Item ./away ./rep/a-000003.json
    }
}

Describe 'A backup that is a file of its own' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk a -Data (Get-RandomData 1MB)
        $null = Start-FleeceSession a
        $null = Read-FleeceSnapshot a | Export-FleeceBackup ./b.qcow2
    }
    AfterEach {
        try {
            $isGood = (Test-FleeceBackup ./b.qcow2 -Deep).IsGood
        } finally {
            Exit-TestFolder
        }
        $isGood | Should -BeTrue
    }

    It 'keeps its files: <Command>' -ForEach @(
        @{ Command = 'Restore-FleeceBackup ./b.qcow2 ./b.qcow2 -Force' }
        @{ Command = 'Restore-FleeceBackup ./b.qcow2 ./b.qcow2.json -Format Raw -Force' }
        @{ Command = 'Mount-FleeceDisk ./b.qcow2' }
    ) {
        { & ([scriptblock]::Create("$Command -ErrorAction Stop")) } | Should -Throw -ErrorId 'FileOfBackup,*'
    }

    It 'is not replaced by itself through another path' {
        $null = New-Item ./link -ItemType SymbolicLink -Target .

        { Restore-FleeceBackup ./b.qcow2 ./link/b.qcow2 -Force -ErrorAction Stop } | Should -Throw -ErrorId 'ImageInUse,*'
        Remove-Item ./link/b.qcow2.partial* -ErrorAction Ignore
    }

    It 'is replaced by a newer one with -Force' {
        Read-FleeceSnapshot a | Export-FleeceBackup ./b.qcow2 -Force | Should -Not -BeNullOrEmpty
    }
}

Describe 'Several sources with one destination' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'are refused from the second on: <Command>' -ForEach @(
        @{ Command = 'Get-Item ./u*.raw | Convert-FleeceImage -DestinationPath ./one.qcow2 -Force' }
        @{ Command = 'Get-Item ./b?.qcow2 | Restore-FleeceBackup -DestinationPath ./one.qcow2 -Force' }
    ) {
        1..2 | ForEach-Object {
            $null = New-FleeceImage "./u$_.raw" ($_ * 1MB)
            $null = Mount-FleeceDisk "./u$_.raw"
            $null = Start-FleeceSession "u$_"
            $null = Read-FleeceSnapshot "u$_" | Export-FleeceBackup "./b$_.qcow2"
            Dismount-FleeceDisk "u$_" -Force
        }

        $written = . ([scriptblock]::Create("$Command -ErrorVariable failure -ErrorAction SilentlyContinue"))

        $written | Should -HaveCount 1
        $failure.FullyQualifiedErrorId | Should -BeLike 'ArgumentInvalid,*'
        (Get-FleeceImage ./one.qcow2).SizeBytes | Should -Be 1MB
    }

    It 'are written where each has its own' {
        1..2 | ForEach-Object { $null = New-FleeceImage "./u$_.raw" 1MB }

        Get-Item ./u*.raw | Convert-FleeceImage -DestinationPath { "./$($_.BaseName).qcow2" } | Should -HaveCount 2
    }
}

Describe 'A mounted image' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk a
    }
    AfterEach { Exit-TestFolder }

    It 'is named as the disk that it is: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceImage' }
        @{ Command = 'Test-FleeceImage -Repair All' }
        @{ Command = 'Convert-FleeceImage -DestinationPath ./c.qcow2' }
        @{ Command = 'Compare-FleeceImage -DifferencePath ./other.raw' }
    ) {
        $null = New-FleeceImage ./other.raw 1MB

        { Get-FleeceDisk | & ([scriptblock]::Create("`$input | $Command -ErrorAction Stop")) } |
            Should -Throw "*$((Test-ThroughHost) ? "served by the Fleece host as 'a'" : "the disk 'a'")*Start-FleeceSession*" -ErrorId 'ImageInUse,*'
    }
}

Describe 'Arguments as PowerShell users write them' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk a -Data (Get-RandomData 1MB)
    }
    AfterEach { Exit-TestFolder }

    It 'take <Value> for <Time> of -CopyTimeout' -ForEach @(
        @{ Value = 45; Time = '00:00:45' }
        @{ Value = '45'; Time = '00:00:45' }
        @{ Value = 1.5; Time = '00:00:01.5' }
        @{ Value = '00:01:00'; Time = '00:01:00' }
        @{ Value = [timespan]::FromMinutes(2); Time = '00:02:00' }
    ) {
        (Start-FleeceSession a -CopyTimeout $Value).CopyTimeout | Should -Be ([timespan] $Time)
    }

    It 'refuse seconds that no time has' {
        { Start-FleeceSession a -CopyTimeout 1e30 } | Should -Throw '*seconds*'
    }

    It 'take the sizes of a CSV for a range' {
        $range = "OffsetBytes,LengthBytes`n1MB,64KB" | ConvertFrom-Csv

        $null = Start-FleeceSession a -Range $range

        (Read-FleeceSnapshot a).OffsetBytes | Should -Be 1MB
    }

    It 'warn of a new image whose name says no format' {
        $null = New-FleeceImage ./x.foo 1MB -WarningVariable warning -WarningAction SilentlyContinue

        $warning | Should -BeLike '*-Format Raw*'
    }

    It 'do not warn where the name or the user says it' {
        $null = New-FleeceImage ./x.foo 1MB -Format Raw -WarningVariable +warning
        $null = New-FleeceImage ./x.img 1MB -WarningVariable +warning

        $warning | Should -BeNullOrEmpty
    }
}
