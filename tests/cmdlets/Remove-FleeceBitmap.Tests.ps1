# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe '<Command>, of a bitmap that a backup counts from' -ForEach @(
    @{ Command = 'Remove-FleeceBitmap' }
    @{ Command = 'Clear-FleeceBitmap' }
    @{ Command = 'Disable-FleeceBitmap' }
) {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = Backup-FleeceDisk vm ./backups -Bitmap daily
    }
    AfterEach { Exit-TestFolder }

    It 'asks, and does it after Yes' {
        $done = Invoke-Answering 'Yes' "$Command vm daily"

        $done.Questions | Should -BeLike "*'daily'*full backup*"
        Get-FleeceBitmap vm | Where-Object BaselineId | Should -BeNullOrEmpty
        $null = Backup-FleeceDisk vm ./backups -Bitmap daily -WarningAction Ignore
        (Get-FleeceBackup ./backups)[-1].Kind | Should -Be 'Full'
    }

    It 'leaves the bitmap alone after No' {
        $done = Invoke-Answering 'No' "$Command vm daily"

        $done.Errors | Should -BeNullOrEmpty
        $null = Backup-FleeceDisk vm ./backups -Bitmap daily
        (Get-FleeceBackup ./backups)[-1].Kind | Should -Be 'Incremental'
    }

    It 'names -Force, and leaves the bitmap alone, where no question can be asked' {
        { & $Command vm daily -ErrorAction Stop } | Should -Throw '*-Force*' -ErrorId 'ConfirmationNeeded,*'

        $null = Backup-FleeceDisk vm ./backups -Bitmap daily
        (Get-FleeceBackup ./backups)[-1].Kind | Should -Be 'Incremental'
    }

    It 'does not ask with -Force or -WhatIf, and not of a bitmap that no backup counts from' {
        $null = New-FleeceBitmap vm weekly

        & $Command vm daily -WhatIf
        & $Command vm weekly -ErrorAction Stop
        & $Command vm daily -Force -ErrorAction Stop

        Get-FleeceBitmap vm | Where-Object BaselineId | Should -BeNullOrEmpty
    }

    It 'says that a session uses the bitmap, and asks nothing' {
        $null = Start-FleeceSession vm -Bitmap daily

        { & $Command vm daily -ErrorAction Stop } | Should -Throw -ErrorId 'BitmapBusy,*'
    }
}

Describe 'A request to Remove-FleeceBitmap' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Remove-FleeceBitmap vm nothing'; Id = 'BitmapNotFound,Fleece.RemoveFleeceBitmapCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Remove-FleeceBitmap vm daily -WhatIf' }
}
