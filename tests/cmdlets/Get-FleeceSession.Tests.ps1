# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'What a session may cost' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
    }

    AfterEach { Exit-TestFolder }

    It 'a warning comes with the session from four fifths of the limit on' {
        $null = Start-FleeceSession vm -TempLimitBytes 100KB
        Write-FleeceDisk vm 0 (Get-RandomData 40KB -Seed 8)
        $null = Get-FleeceSession vm -WarningVariable early -WarningAction SilentlyContinue
        Write-FleeceDisk vm 40KB (Get-RandomData 40KB -Seed 8)

        $session = Get-FleeceSession vm -WarningVariable warnings -WarningAction SilentlyContinue

        $early | Should -BeNullOrEmpty
        $warnings | Should -HaveCount 1
        $warnings[0].Message | Should -BeLike "*'vm/vm'*81920 bytes*102400*"
        $session.TempWarning | Should -Be $warnings[0].Message
    }
}

Describe 'What a session has cost and saved' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
    }

    AfterEach { Exit-TestFolder }

    It 'a warning comes from the mark on that the session was given' {
        $null = Start-FleeceSession vm -TempLimitBytes 100KB -TempWarningPercent 30
        Write-FleeceDisk vm 0 (Get-RandomData 32KB -Seed 8)

        $null = Get-FleeceSession vm -WarningVariable warnings -WarningAction SilentlyContinue

        $warnings | Should -HaveCount 1
    }

    It 'copies that consuming has saved are told apart from those that were made' {
        $null = Start-FleeceSession vm -Range @{ OffsetBytes = 0; LengthBytes = 1MB }
        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 512KB -Force
        Write-FleeceDisk vm 256KB (Get-RandomData 512KB -Seed 8)
        Write-FleeceDisk vm 256KB (Get-RandomData 512KB -Seed 9)

        $session = Get-FleeceSession vm

        $session.AvoidedBytes, $session.CopiedBytes, $session.DeniedBytes | Should -Be 256KB, 256KB, 1MB
    }
}

Describe 'Two consumers of one session' {
    BeforeEach {
        Enter-TestFolder
        $instant = Get-RandomData 2MB
        New-MountedDisk -Data $instant
        $script:session = Start-FleeceSession vm -Consumer local, offsite
        Write-FleeceDisk vm 0 (Get-RandomData 2MB -Seed 8)
    }

    AfterEach { Exit-TestFolder }

    It 'the table shows how far each is' {
        Clear-FleeceSnapshot vm -Consumer local -OffsetBytes 0 -LengthBytes 1MB -Force

        $table = Get-FleeceSession | Format-Table | Out-String -Width 200

        $table | Should -Match 'local 50 ?%, offsite 0 ?%'
    }
}

Describe 'A session of another disk' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name a
        New-MountedDisk -Name b
        $null = Start-FleeceSession b -Name n
    }
    AfterEach { Exit-TestFolder }

    It 'is not found on this one' {
        { Get-FleeceSession n -Disk a -ErrorAction Stop } | Should -Throw -ErrorId 'SessionNotFound,Fleece.GetFleeceSessionCommand'

        (Get-FleeceSession n -Disk b).Id | Should -Be b/n
    }
}

Describe 'A request to Get-FleeceSession' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceSession nobody'; Id = 'SessionNotFound,Fleece.GetFleeceSessionCommand' }
        @{ Command = 'Get-FleeceSession "v["'; Id = 'ArgumentInvalid,Fleece.GetFleeceSessionCommand' }
    ) { Assert-Refused $Command $Id }
}
