# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
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

    It 'read side by side, and what both have confirmed is gone' {
        $module = Get-ModuleUnderTest

        $backups = 'local', 'offsite' | ForEach-Object -Parallel {
            Import-Module $using:module
            Read-FleeceSnapshot vm -Consumer $_ -DiscardConsumed | Export-FleeceBackup "$using:PWD/$_.raw"
        }

        $backups.Session | Should -Be 'vm/vm', 'vm/vm'
        (Get-FleeceSnapshotMap vm).State | Should -Be 'Consumed'
        (Get-FleeceSession $session).TempUsedBytes | Should -Be 0
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/local.raw")) $instant | Should -BeTrue
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/offsite.raw")) $instant | Should -BeTrue
    }

    It 'the session keeps what one of them still needs' {
        Read-FleeceSnapshot vm -Consumer local -DiscardConsumed | ForEach-Object Dispose

        (Get-FleeceSession $session).ConsumedBytes | Should -Be 0
        (Get-FleeceSession $session).TempUsedBytes | Should -Be 2MB
        (Get-FleeceSession $session).Consumers.RemainingBytes | Should -Be 0, 2MB
        Read-FleeceSnapshot vm -Consumer local | Should -BeNullOrEmpty
        (Read-FleeceSnapshot vm -Consumer offsite)[0].Data[0] | Should -Be $instant[0]
        (Get-FleeceSnapshotMap vm -Consumer local).State | Should -Be 'Consumed'
    }

    It 'one that will not come any more is let go' {
        Read-FleeceSnapshot vm -Consumer local -DiscardConsumed | ForEach-Object Dispose

        Clear-FleeceSnapshot vm -Consumer offsite -OffsetBytes 0 -LengthBytes $session.SizeBytes -ErrorAction Stop

        (Get-FleeceSession $session).TempUsedBytes | Should -Be 0
    }

    It 'the table shows how far each is' {
        Clear-FleeceSnapshot vm -Consumer local -OffsetBytes 0 -LengthBytes 1MB -Force

        $table = Get-FleeceSession | Format-Table | Out-String -Width 200

        $table | Should -Match 'local 50 ?%, offsite 0 ?%'
    }

    It 'who is none of them may not discard' {
        { Read-FleeceSnapshot vm -DiscardConsumed } | Should -Throw -ErrorId 'ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand'
        { Read-FleeceSnapshot vm -Consumer other } | Should -Throw -ErrorId 'ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand'
    }

    It 'success before all have confirmed comes with a warning' {
        Stop-FleeceSession vm -Success -WarningVariable warned -WarningAction SilentlyContinue

        $warned | Should -HaveCount 2
        $warned[1] | Should -BeLike "*'offsite' has not confirmed 2097152 bytes*"
    }
}
