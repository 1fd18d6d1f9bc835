# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Clear-FleeceSnapshot' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
    }
    AfterEach { Exit-TestFolder }

    It 'asks, and discards after Yes' {
        $null = Start-FleeceSession vm

        $done = Invoke-Answering 'Yes' 'Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB'

        $done.Questions | Should -BeLike '*1048576 bytes at offset 0*'
        (Get-FleeceSession).ConsumedBytes | Should -Be 1MB
    }

    It 'keeps the range after No' {
        $null = Start-FleeceSession vm

        $done = Invoke-Answering 'No' 'Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB'

        $done.Questions | Should -HaveCount 1
        (Get-FleeceSession).ConsumedBytes | Should -Be 0
    }

    It 'names -Force, and keeps the range, where no question can be asked' {
        $null = Start-FleeceSession vm

        { Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop } |
            Should -Throw '*-Force*' -ErrorId 'ConfirmationNeeded,*'

        (Get-FleeceSession).ConsumedBytes | Should -Be 0
    }

    It 'asks nothing of a range that is <Kind>' -ForEach @(
        @{ Kind = 'stored and confirmed'; Before = { $null = Read-FleeceSnapshot vm -DiscardConsumed -LengthBytes 1MB | Export-Backup ./b.raw } }
        @{ Kind = 'discarded before'; Before = { Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -Force } }
    ) {
        $null = Start-FleeceSession vm
        & $Before

        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop
    }

    It 'asks nothing of a range outside the session''s' {
        $null = Start-FleeceSession vm -Range @{ OffsetBytes = 1MB; LengthBytes = 1MB }

        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop

        { Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1028KB -ErrorAction Stop } | Should -Throw -ErrorId 'ConfirmationNeeded,*'
    }

    It 'asks nothing of a range that another consumer has confirmed, and asks for what lies beside it' {
        $null = Start-FleeceSession vm -Consumer local, offsite
        $null = Read-FleeceSnapshot vm -Consumer local -LengthBytes 1MB | Export-Backup ./b.raw
        $null = Read-FleeceSnapshot vm -Consumer local -DiscardConsumed -LengthBytes 1MB | Export-Backup ./c.raw

        Clear-FleeceSnapshot vm -Consumer offsite -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop

        { Clear-FleeceSnapshot vm -Consumer offsite -OffsetBytes 0 -LengthBytes 2MB -ErrorAction Stop } |
            Should -Throw -ErrorId 'ConfirmationNeeded,*'
        { Clear-FleeceSnapshot vm -OffsetBytes 1MB -LengthBytes 4KB -ErrorAction Stop } | Should -Throw -ErrorId 'ConfirmationNeeded,*'
    }

    It 'never asks with -WhatIf' {
        $null = Start-FleeceSession vm

        (Invoke-Answering 'Yes' 'Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -WhatIf').Questions | Should -BeNullOrEmpty
    }
}

Describe 'Objects in the pipeline' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'runs of a map are discarded from the session that is named' {
        New-MountedDisk
        $session = Start-FleeceSession vm
        Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3))

        Get-FleeceSnapshotMap vm | Where-Object State -EQ Copied | Clear-FleeceSnapshot vm -Force

        (Get-FleeceSession $session).ConsumedBytes | Should -Be 4KB
        (Get-FleeceSnapshotMap vm).State | Should -Be 'Untouched', 'Consumed', 'Untouched'
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

    It 'one that will not come any more is let go' {
        Read-FleeceSnapshot vm -Consumer local -DiscardConsumed | ForEach-Object Dispose

        Clear-FleeceSnapshot vm -Consumer offsite -OffsetBytes 0 -LengthBytes $session.SizeBytes -ErrorAction Stop

        (Get-FleeceSession $session).TempUsedBytes | Should -Be 0
    }

    It 'a range is discarded for one of them or for all' {
        Clear-FleeceSnapshot vm -Consumer local -OffsetBytes 0 -LengthBytes 1MB -Force
        Read-FleeceSnapshot vm -Consumer offsite -LengthBytes 512KB | Clear-FleeceSnapshot -Force
        (Get-FleeceSnapshotMap vm -Consumer local).LengthBytes | Should -Be 1MB, 1MB
        (Get-FleeceSnapshotMap vm).State | Should -Be 'Consumed', 'Copied'
        (Get-FleeceSnapshotMap vm).LengthBytes | Should -Be 512KB, 1536KB

        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1536KB -Force

        (Get-FleeceSession $session).Consumers.ConfirmedBytes | Should -Be 1536KB, 1536KB
    }

    # An undefined variable must not mean "for all of them".
    It 'a name that none of them has discards nothing: <_>' -ForEach '$undefined', "''", 'nobody' {
        { & ([scriptblock]::Create("Clear-FleeceSnapshot vm -Consumer $_ -OffsetBytes 0 -LengthBytes 1MB -ErrorAction Stop")) } |
            Should -Throw -ErrorId 'ConsumerNotFound,Fleece.ClearFleeceSnapshotCommand'

        (Get-FleeceSession $session).ConsumedBytes | Should -Be 0
    }
}

Describe 'A range of a snapshot' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
        $null = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'is discarded with its whole granules' {
        Clear-FleeceSnapshot -OffsetBytes 1 -LengthBytes 8191 -Force
        Clear-FleeceSnapshot vm -OffsetBytes (2MB - 5000) -LengthBytes 5000 -Force

        $runs = Get-FleeceSnapshotMap vm
        $runs.State | Should -Be 'Untouched', 'Consumed', 'Untouched', 'Consumed'
        $runs.OffsetBytes | Should -Be 0, 4KB, 8KB, (2MB - 4KB)
    }

    It 'is named by what is piped: <Pipeline>' -ForEach @(
        @{ Pipeline = 'Get-FleeceSnapshotMap vm | Clear-FleeceSnapshot -Session vm -Force' }
        @{ Pipeline = 'Get-FleeceSnapshotMap vm | Clear-FleeceSnapshot -Force' }
        @{ Pipeline = 'Read-FleeceSnapshot vm | Clear-FleeceSnapshot -Force' }
        @{ Pipeline = 'Get-FleeceSession vm | Clear-FleeceSnapshot -OffsetBytes 0 -LengthBytes 2MB -Force' }
        @{ Pipeline = '[pscustomobject]@{ Session = "vm"; OffsetBytes = 0; LengthBytes = 2MB } | Clear-FleeceSnapshot -Force' }
    ) {
        & ([scriptblock]::Create($Pipeline))

        (Get-FleeceSnapshotMap vm).State | Should -Be 'Consumed'
    }
}

Describe 'A request to Clear-FleeceSnapshot' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Clear-FleeceSnapshot a -OffsetBytes 0 -LengthBytes 2MB'; Id = 'RangeBeyondEnd,Fleece.ClearFleeceSnapshotCommand' }
        @{ Command = 'Clear-FleeceSnapshot nobody -OffsetBytes 0 -LengthBytes 1'; Id = 'SessionNotFound,Fleece.ClearFleeceSnapshotCommand' }
        @{ Command = 'Clear-FleeceSnapshot a -OffsetBytes -1 -LengthBytes 1'
            Id = 'ParameterArgumentValidationError,Fleece.ClearFleeceSnapshotCommand' }
        @{ Command = 'Get-FleeceSnapshotMap a | Clear-FleeceSnapshot'
            Id = 'SessionAmbiguous,Fleece.ClearFleeceSnapshotCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Clear-FleeceSnapshot a -OffsetBytes 0 -LengthBytes 1MB -WhatIf' }
}
