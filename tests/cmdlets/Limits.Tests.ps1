# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'What a session may cost' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
    }

    AfterEach { Exit-TestFolder }

    It 'limits are properties of the session' {
        $session = Start-FleeceSession vm -CopyTimeout 00:00:45 -TempLimitBytes 1MB
        Write-FleeceDisk vm 0 (Get-RandomData 4KB -Seed 8)

        $session.CopyTimeout | Should -Be ([timespan] '00:00:45')
        $session.TempLimitBytes | Should -Be 1MB
        $session.TempUsedBytes | Should -Be 0 -Because 'a record is of its moment'
        (Get-FleeceSession $session).TempUsedBytes | Should -Be 4KB
    }

    It 'a session without limits has none' {
        $session = Start-FleeceSession vm

        $session.CopyTimeout | Should -BeNullOrEmpty
        $session.TempLimitBytes | Should -BeNullOrEmpty
        $session.TempWarning | Should -BeNullOrEmpty
    }

    It 'the snapshot is lost when temp would hold more than it may' {
        $session = Start-FleeceSession vm -TempLimitBytes 64KB
        Write-FleeceDisk vm 0 (Get-RandomData 128KB -Seed 8)

        (Get-FleeceSession $session).State | Should -Be Broken
        (Get-FleeceSession $session).BrokenBy | Should -BeLike '*-TempLimitBytes*'
        { Read-FleeceSnapshot vm } | Should -Throw -ErrorId 'SessionBroken,*'
    }

    It 'the guest is refused when temp would hold more than it may, and consuming makes room' {
        $session = Start-FleeceSession vm -TempLimitBytes 64KB -OnCopyError BreakGuestWrite
        Write-FleeceDisk vm 0 (Get-RandomData 64KB -Seed 8)
        { Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3)) -ErrorAction Stop } | Should -Throw -ErrorId 'TempLimitReached,*'

        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 64KB -Force
        Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3)) -ErrorAction Stop

        (Get-FleeceSession $session).State | Should -Be Active
        (Get-FleeceSession $session).TempUsedBytes | Should -Be 4KB
    }

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

    It 'whoever reads is warned once' {
        $null = Start-FleeceSession vm -TempLimitBytes 100KB
        Write-FleeceDisk vm 0 (Get-RandomData 80KB -Seed 8)

        $null = Read-FleeceSnapshot vm -WarningVariable first -WarningAction SilentlyContinue
        $null = Read-FleeceSnapshot vm -WarningVariable second -WarningAction SilentlyContinue

        $first | Should -HaveCount 1
        $second | Should -BeNullOrEmpty
    }

    It 'a limit that cannot be is refused and starts nothing' -ForEach @(
        @{ Limits = @{ CopyTimeout = [timespan]::Zero }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ CopyTimeout = [timespan]::FromSeconds(-1) }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ TempLimitBytes = 4095 }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ TempLimitBytes = -1 }; Id = 'ParameterArgumentValidationError' }
    ) {
        { Start-FleeceSession vm @Limits } | Should -Throw -ErrorId "$Id,*"

        Get-FleeceSession | Should -BeNullOrEmpty
        Get-ChildItem ./*.fleece-temp | Should -BeNullOrEmpty
    }
}
