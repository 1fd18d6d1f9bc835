# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Get-FleeceSnapshotMap' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
        $null = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'covers the disk in runs that follow each other' {
        Write-FleeceDisk vm 1MB ([byte[]]::new(64KB))

        $runs = Get-FleeceSnapshotMap vm

        $runs.State | Should -Be 'Untouched', 'Copied', 'Untouched'
        $runs.OffsetBytes | Should -Be 0, 1MB, (1MB + 64KB)
        $runs.LengthBytes | Should -Be 1MB, 64KB, (1MB - 64KB)
    }

    It 'shows after a failure what was confirmed, and nothing else' {
        Write-FleeceDisk vm 0 ([byte[]]::new(2MB))
        {
            Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB | ForEach-Object {
                if ($_.OffsetBytes -eq 320KB) { throw 'full' }
                if ($_.OffsetBytes -ne 128KB) { $_.Dispose() }
            }
        } | Should -Throw full

        $runs = Get-FleeceSnapshotMap vm

        $runs.State | Should -Be 'Consumed', 'Copied', 'Consumed', 'Copied'
        $runs.OffsetBytes | Should -Be 0, 128KB, 192KB, 320KB
    }
}

Describe 'A request to Get-FleeceSnapshotMap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceSnapshotMap'; Id = 'SessionAmbiguous,Fleece.GetFleeceSnapshotMapCommand' }
        @{ Command = 'Get-FleeceSnapshotMap nobody'; Id = 'SessionNotFound,Fleece.GetFleeceSnapshotMapCommand' }
    ) { Assert-Refused $Command $Id }
}
