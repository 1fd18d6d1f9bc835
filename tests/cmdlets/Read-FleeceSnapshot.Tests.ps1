# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Read-FleeceSnapshot' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 1MB -Data $old
    }
    AfterEach { Exit-TestFolder }

    It 'gives chunks that stay valid while later ones are read' {
        $null = Start-FleeceSession vm
        $chunks = @(Read-FleeceSnapshot -ChunkSizeBytes 64KB)
        Write-FleeceDisk vm 0 ([byte[]]::new(1MB))

        $chunks | Should -HaveCount 16
        foreach ($chunk in $chunks) {
            Test-SameData $chunk.Data ([ArraySegment[byte]]::new($old, $chunk.OffsetBytes, $chunk.LengthBytes)) | Should -BeTrue
        }
    }

    It 'gives the ranges that the session has from its bitmap, alone' {
        $null = New-FleeceBitmap vm daily
        Start-FleeceSession vm -Bitmap daily | Stop-FleeceSession -Success
        Write-FleeceDisk vm 64KB 1
        $null = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2

        $chunks = Read-FleeceSnapshot vm

        $chunks[0].OffsetBytes | Should -Be 64KB
        ($chunks.LengthBytes | Measure-Object -Sum).Sum | Should -Be 64KB
    }

    It 'gives the blocks of temp back when it consumes' -Skip:(-not $IsLinux) {
        $session = Start-FleeceSession vm
        Write-FleeceDisk vm 0 (Get-RandomData 1MB -Seed 8)
        $before = [long] (stat -c %b $session.TempPath) * 512

        $null = Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./b.raw

        $before | Should -BeGreaterOrEqual 1MB
        [long] (stat -c %b $session.TempPath) * 512 | Should -BeLessOrEqual 64KB
        (Get-FleeceSnapshotMap vm).State | Should -Be 'Consumed'
    }
}

Describe 'The order of a read' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 2MB
        New-MountedDisk -SizeBytes 2MB -Data $old
        $script:session = Start-FleeceSession vm
        Write-FleeceDisk vm 1MB (Get-RandomData 4KB -Seed 8)
    }
    AfterEach { Exit-TestFolder }

    It 'begins where the guest wrote last, and gives everything once' {
        $chunks = @(Read-FleeceSnapshot -Order AtRiskFirst -ChunkSizeBytes 64KB)

        $chunks[0].OffsetBytes | Should -Be 1MB
        $chunks | Should -HaveCount 32
        $chunks.OffsetBytes | Sort-Object -Unique | Should -HaveCount 32
        foreach ($chunk in $chunks) {
            Test-SameData $chunk.Data ([ArraySegment[byte]]::new($old, $chunk.OffsetBytes, $chunk.LengthBytes)) | Should -BeTrue
        }
    }

    It 'makes no difference for a backup' -ForEach @(@{ Name = 'b.raw' }, @{ Name = 'b.qcow2' }, @{ Name = 'b.vhdx' }) {
        $null = Read-FleeceSnapshot -Order AtRiskFirst -DiscardConsumed -ChunkSizeBytes 64KB | Export-FleeceBackup ./$Name -Verify

        $null = Restore-FleeceBackup ./$Name ./restored.raw
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/restored.raw")) $old | Should -BeTrue
        (Get-FleeceSnapshotMap vm).State | Should -Be Consumed
    }

    It 'is refused by a stream, which takes a disk in order, and nothing is consumed' {
        $stream = [IO.MemoryStream]::new()
        { Read-FleeceSnapshot -Order AtRiskFirst -DiscardConsumed | Export-FleeceBackup -Stream $stream } |
            Should -Throw '*-Order AtRiskFirst*' -ErrorId 'ArgumentInvalid,*'

        $stream.Length, (Get-FleeceSession vm).ConsumedBytes | Should -Be 0, 0
    }

    It 'is refused of an export, whose server does not tell where its guest writes' {
        $null = Publish-FleeceExport vm 'nbd+unix:///?socket=./vm.sock'

        { Read-FleeceSnapshot -Uri 'nbd+unix:///vm/vm?socket=./vm.sock' -Order AtRiskFirst } |
            Should -Throw '*-Order*' -ErrorId 'ArgumentInvalid,*'
        $null = Read-FleeceSnapshot -Uri 'nbd+unix:///vm/vm?socket=./vm.sock' -Order Sequential
    }
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

    # Two cmdlets of the pipeline could say it.
    It 'a pipeline is warned once' {
        $null = Start-FleeceSession vm -TempLimitBytes 100KB
        Write-FleeceDisk vm 0 (Get-RandomData 80KB -Seed 8)

        $first = & { Read-FleeceSnapshot vm | Export-FleeceBackup ./first.raw } 3>&1
        $second = & { Read-FleeceSnapshot vm | Export-FleeceBackup ./second.raw } 3>&1

        @($first | Where-Object { $_ -is [Management.Automation.WarningRecord] }) | Should -HaveCount 1
        @($second | Where-Object { $_ -is [Management.Automation.WarningRecord] }) | Should -HaveCount 0
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

    It 'what both have confirmed gives its temp back' {
        Read-FleeceSnapshot vm -Consumer local -DiscardConsumed | ForEach-Object Dispose
        Read-FleeceSnapshot vm -Consumer offsite -DiscardConsumed -LengthBytes 512KB | ForEach-Object Dispose

        (Get-FleeceSession $session).ConsumedBytes | Should -Be 512KB
        (Get-FleeceSession $session).TempUsedBytes | Should -Be 1536KB
    }

    It 'one that has failed comes again for the rest' {
        $read = { Read-FleeceSnapshot vm -Consumer offsite -DiscardConsumed -ChunkSizeBytes 512KB }
        { & $read | ForEach-Object { if ($_.OffsetBytes -ge 1MB) { throw 'full' }; $_.Dispose() } } | Should -Throw full

        $rest = & $read

        $rest.OffsetBytes | Should -Be 1MB, 1536KB
        Test-SameData $rest[0].Data $instant[1MB..(1536KB - 1)] | Should -BeTrue
        (Get-FleeceSession $session).ConsumedBytes | Should -Be 0
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
