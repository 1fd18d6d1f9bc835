# SPDX-License-Identifier: MIT
# Matter: the views and the types of what cmdlets write.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'The view of' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 4MB -Data (Get-RandomData 64KB)
        $null = Start-FleeceSession vm -Name nightly
    }
    AfterEach { Exit-TestFolder }

    # No number with a fraction is compared: its separator is the user's.
    It '<Name> is a table with its columns' -ForEach @(
        @{ Name = 'an image'; Command = { New-FleeceImage ./new.raw 4MB }; Header = 'Format +Type +Size MiB +On disk MiB +Marks +Parent +Path'; Row = 'Raw +Dynamic .*new\.raw' }
        @{ Name = 'a report'; Command = { $null = New-FleeceImage ./new.raw 4MB; Test-FleeceImage ./new.raw }; Header = 'Format +Clean +Leaks +Corruptions'; Row = 'Raw +True +0 +0.*new\.raw' }
        @{ Name = 'a comparison'; Command = { $null = New-FleeceImage ./new.raw 4MB; Compare-FleeceImage ./new.raw ./new.raw }; Header = 'Equal +Offset +Length +Path +DifferencePath'; Row = 'True .*new\.raw' }
        @{ Name = 'a disk'; Command = { Get-FleeceDisk }; Header = 'Name +Format +Size MiB +ReadOnly +Shared +Status +Sessions +Path'; Row = 'vm +Raw.*False +False +Ok +1 .*vm\.raw' }
        @{ Name = 'a session'; Command = { Get-FleeceSession }; Header = 'Id +State +StartedAt +Copied MiB +Consumed MiB +Remarks'; Row = 'vm/nightly +Active' }
        @{ Name = 'a map'; Command = { Get-FleeceSnapshotMap }; Header = 'OffsetBytes +LengthBytes +State'; Row = ' 0 +4194304 Untouched' }
        @{ Name = 'a chunk'; Command = { Read-FleeceSnapshot }; Header = 'Session +OffsetBytes +LengthBytes +IsZero'; Row = 'vm/nightly +0 +65536 False' }
    ) {
        $text = & $Command | Out-String -Width 400

        $text | Should -Match $Header
        $text | Should -Match $Row
    }

    It '<Name> has room for each of its columns on a terminal of 80 characters' -ForEach @(
        @{ Name = 'an image'; Command = { New-FleeceImage ./new.raw 4MB }; Header = 'Format +Type +Size MiB +On disk MiB +Marks +Parent +Path' }
        @{ Name = 'a comparison'; Command = { $null = New-FleeceImage ./new.raw 4MB; Compare-FleeceImage ./new.raw ./new.raw }; Header = 'Equal +Offset +Length +Path +DifferencePath' }
        @{ Name = 'a session'; Command = { $null = Start-FleeceSession vm -Name two -Consumer local, offsite; Get-FleeceSession }; Header = 'Id +State +StartedAt +Copied MiB +Consumed MiB +Remarks' }
    ) {
        $text = & $Command | Out-String -Width 80

        $text | Should -Match $Header
        ($text -split '\n').ForEach({ $_.TrimEnd().Length }) | Measure-Object -Maximum | ForEach-Object Maximum | Should -BeLessOrEqual 80
    }

    It 'a backup is a list with readable sizes' {
        $text = Read-FleeceSnapshot | Export-Backup ./b.raw | Out-String -Width 400

        $text | Should -Match 'Path +: .*b\.raw'
        $text | Should -Match 'Session +: vm/nightly'
        $text | Should -Match 'Size +: 4.0 MiB'
    }
}

Describe 'The list of a session' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 4MB -Data (Get-RandomData 4MB)
    }
    AfterEach { Exit-TestFolder }

    It 'says how it is, and what it has cost' {
        $null = Start-FleeceSession vm -Name nightly -TempLimitBytes 1MB -Range @{ OffsetBytes = 0; LengthBytes = 2MB }
        Write-FleeceDisk vm 0 (Get-RandomData 512KB -Seed 8)

        $text = Get-FleeceSession | Format-List | Out-String -Width 400

        $text | Should -Match 'State +: Active'
        $text | Should -Match 'BrokenBy +:'
        $text | Should -Match 'Copied +: 0.5 MiB'
        $text | Should -Match 'Avoided +: 0.0 MiB'
        $text | Should -Match 'Denied +: 2.0 MiB'
        $text | Should -Match 'Temp +: 0.5 MiB of 1.0, 50 ?%'
        $text | Should -Match 'TempFullIn +:'
        $text | Should -Match 'GuestDelay +: 00:00:00 in 0 writes'
    }
}

Describe 'The objects' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'hold sizes in bytes, so that scripts can count with them' {
        New-MountedDisk -SizeBytes 4MB

        (Get-FleeceDisk vm).SizeBytes | Should -Be 4MB
        (Get-FleeceDisk vm).SizeBytes | Should -BeOfType [long]
    }

    It 'are told by their declared output types' {
        foreach ($command in Get-Command -Module Fleece -CommandType Cmdlet | Where-Object Verb -In Get, Mount, New, Read, Start, Export, Test, Compare, Convert) {
            $command.OutputType | Should -Not -BeNullOrEmpty -Because $command.Name
        }
    }
}
