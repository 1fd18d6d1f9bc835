# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'Objects that stand for files' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'go from New-FleeceImage into Mount-FleeceDisk' {
        (New-FleeceImage 'x[1].raw' -SizeBytes 1MB | Mount-FleeceDisk -Name x).Path | Should -BeLike '*x`[1`].raw'
    }

    It 'go from Export-Backup into <Command>' -ForEach @(
        @{ Command = 'Get-FileHash'; Property = 'Path' }
        @{ Command = 'Get-Item'; Property = 'FullName' }
        @{ Command = 'Get-FleeceImage'; Property = 'Path' }
    ) {
        New-MountedDisk -Data (Get-RandomData 1MB)
        $null = Start-FleeceSession vm

        $result = Read-FleeceSnapshot | Export-Backup ./b.raw | & $Command

        $result.$Property | Should -Be (Get-Item ./b.raw).FullName
    }

    It 'go from Export-Backup into Mount-FleeceDisk, although their names look like wildcards' {
        New-MountedDisk -Data (Get-RandomData 1MB)
        $null = Start-FleeceSession vm

        $disk = Read-FleeceSnapshot | Export-Backup 'b[1].raw' | Mount-FleeceDisk -Name backup -ReadOnly

        $disk.Path | Should -BeLike '*b`[1`].raw'
    }

    It 'are found by a path as completion escapes it' {
        $null = New-FleeceImage 'x[1].raw' -SizeBytes 1MB
        $line = 'Get-FleeceImage ./x'

        $escaped = (TabExpansion2 $line $line.Length).CompletionMatches[0].CompletionText

        (& ([scriptblock]::Create("Get-FleeceImage $escaped"))).Path | Should -Be (Get-Item -LiteralPath 'x[1].raw').FullName
    }

    It 'are not replaced while they are open: Export-Backup -Force over <Kind>' -ForEach @(
        @{ Kind = 'the live disk'; Path = { './vm.raw' } }
        @{ Kind = 'the temp of its session'; Path = { (Get-FleeceSession vm).TempPath } }
    ) {
        New-MountedDisk -Data (Get-RandomData 1MB)
        $null = Start-FleeceSession vm

        { Read-FleeceSnapshot | Export-Backup (& $Path) -Force } |
            Should -Throw -ErrorId 'ImageInUse,Fleece.ExportFleeceBackupCommand'

        Write-FleeceDisk vm 0 ([byte[]] (9))
        Dismount-FleeceDisk vm -Force
        [IO.File]::ReadAllBytes("$PWD/vm.raw")[0] | Should -Be 9
    }
}

Describe 'Chunks' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 1MB -Data $old
        $null = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'are stored in one backup only' {
        $chunks = @(Read-FleeceSnapshot vm)
        $null = $chunks | Export-Backup ./a.raw

        { $chunks | Export-Backup ./b.raw } | Should -Throw -ErrorId 'ChunkAlreadyUsed,Fleece.ExportFleeceBackupCommand'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }

    It 'reach a backup whole although their sender disposes them' {
        $null = Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB |
            ForEach-Object { $_; $_.Dispose() } | Export-Backup ./b.raw

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")) $old | Should -BeTrue
    }
}
