# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Stop-FleeceSession' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name a
        New-MountedDisk -Name b
        $null = Start-FleeceSession a, b -Name n
    }
    AfterEach { Exit-TestFolder }

    It 'wants the disk of a name that two disks use' {
        { Stop-FleeceSession n -ErrorAction Stop } | Should -Throw '*a/n*' -ErrorId 'SessionAmbiguous,Fleece.StopFleeceSessionCommand'

        Stop-FleeceSession a/n
        (Get-FleeceSession).Id | Should -Be b/n
    }

    It 'makes no error of chunks that are disposed behind it' {
        $chunks = @(Read-FleeceSnapshot a/n -DiscardConsumed)
        Stop-FleeceSession a/n

        { $chunks | ForEach-Object Dispose } | Should -Not -Throw
        (Get-FleeceSession).Id | Should -Be b/n
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

    It 'success before all have confirmed comes with a warning' {
        Stop-FleeceSession vm -Success -WarningVariable warned -WarningAction SilentlyContinue

        $warned | Should -HaveCount 2
        $warned[1] | Should -BeLike "*'offsite' has not confirmed 2097152 bytes*"
    }
}

Describe 'Dirty bitmaps' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = New-FleeceBitmap vm daily
    }
    AfterEach { Exit-TestFolder }

    It 'take turns every night' {
        foreach ($night in 1..3) {
            $session = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2
            (Get-FleeceBitmap vm daily).State | Should -Be Frozen
            Write-FleeceDisk vm ($night * 64KB) ([byte[]] 1)
            Stop-FleeceSession $session -Success

            (Get-FleeceBitmap vm).Name | Should -Be daily
            (Get-FleeceBitmap vm daily -Ranges).Ranges.OffsetBytes | Should -Be ($night * 64KB)
        }
    }

    It 'keep everything when a session is not a success' {
        Write-FleeceDisk vm 0 ([byte[]] 1)
        $session = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2
        Write-FleeceDisk vm 1MB ([byte[]] 1)
        Stop-FleeceSession $session

        (Get-FleeceBitmap vm -Ranges).Ranges.OffsetBytes | Should -Be 0, 1MB
    }
}

Describe 'A request to Stop-FleeceSession' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Stop-FleeceSession nobody'; Id = 'SessionNotFound,Fleece.StopFleeceSessionCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Stop-FleeceSession a -Success -WhatIf' }
}
