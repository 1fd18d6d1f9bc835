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

    It 'whoever reads is warned once' {
        $null = Start-FleeceSession vm -TempLimitBytes 100KB
        Write-FleeceDisk vm 0 (Get-RandomData 80KB -Seed 8)

        $null = Read-FleeceSnapshot vm -WarningVariable first -WarningAction SilentlyContinue
        $null = Read-FleeceSnapshot vm -WarningVariable second -WarningAction SilentlyContinue

        $first | Should -HaveCount 1
        $second | Should -BeNullOrEmpty
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

    It 'who is none of them may not discard' {
        { Read-FleeceSnapshot vm -DiscardConsumed } | Should -Throw -ErrorId 'ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand'
        { Read-FleeceSnapshot vm -Consumer other } | Should -Throw -ErrorId 'ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand'
    }
}

Describe 'A URI' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 4MB -Data $old
        $null = Publish-FleeceExport vm (Get-SocketUri)
    }
    AfterEach {
        # Clients before their servers: closing flushes, and that waits for a server that is gone.
        Get-FleeceDisk | Where-Object Path -Like 'nbd*' | Dismount-FleeceDisk -Force
        Exit-TestFolder
    }

    It 'of a live disk is read and never discarded' {
        Get-FailureId { Read-FleeceSnapshot -Uri (Get-SocketUri vm) -DiscardConsumed } |
            Should -Be 'ArgumentInvalid,Fleece.ReadFleeceSnapshotCommand'

        @(Read-FleeceSnapshot -Uri (Get-SocketUri vm)).Count | Should -BeGreaterThan 0
        Test-SameData (Read-FleeceDisk vm 0 1MB) $old | Should -BeTrue
    }

    It 'is a snapshot, which is consumed' {
        $session = Start-FleeceSession vm -Name nightly
        Write-FleeceDisk vm 0 ([byte[]]::new(1MB))

        $backup = Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly) -DiscardConsumed | Export-Backup ./b.raw

        $backup.Session | Should -BeLike 'nbd+unix:///vm/nightly?socket=*vm.sock'
        $backup.Instant | Should -Be $session.StartedAt
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")[0..(1MB - 1)]) $old | Should -BeTrue
        (Get-FleeceSession $session).ConsumedBytes | Should -Be 4MB
        Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly) | Should -BeNullOrEmpty
    }

    It 'is a snapshot of which only what the session allows is read' {
        $null = Start-FleeceSession vm -Name boot -Range @{ OffsetBytes = 64KB; LengthBytes = 128KB }

        $chunks = @(Read-FleeceSnapshot -Uri (Get-SocketUri vm/boot) -ChunkSizeBytes 64KB)

        $chunks.OffsetBytes | Should -Be 64KB, 128KB
        Test-SameData $chunks[1].Data $old[128KB..(192KB - 1)] | Should -BeTrue
    }
}

Describe 'A request to Read-FleeceSnapshot' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Read-FleeceSnapshot'; Id = 'SessionAmbiguous,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a -ChunkSizeBytes 1000'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot -Uri nbd+unix:///vm/no?socket=vm.sock'; Id = 'ExportNotFound,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot -Uri ./vm.sock'; Id = 'UriInvalid,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot nobody'; Id = 'SessionNotFound,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a -OffsetBytes 2MB'; Id = 'RangeBeyondEnd,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a -OffsetBytes 1 -LengthBytes 1MB'; Id = 'RangeBeyondEnd,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a -OffsetBytes -1'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a -ChunkSizeBytes 32KB'; Id = 'ParameterArgumentValidationError,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot a -Consumer local'; Id = 'ConsumerNotFound,Fleece.ReadFleeceSnapshotCommand' }
    ) { Assert-Refused $Command $Id }
}
