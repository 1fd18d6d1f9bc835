# SPDX-License-Identifier: MIT
# What an object stands for, where a cmdlet takes it from the pipeline or as an argument.
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    function Invoke-Text([string] $Command) { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) }
}

Describe 'A record in the pipeline' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk a
        New-MountedDisk b
        foreach ($name in 'nightly', 'weekly', 'a', 'b') { $null = New-FleeceBitmap a $name }
        $null = New-FleeceBitmap b b
        $null = Start-FleeceSession b -Name a
        $null = Start-FleeceSession b -Name nightly -Consumer local, offsite
        $null = Publish-FleeceExport a 'nbd+unix:///a?socket=./a.sock'
    }
    AfterEach { Exit-TestFolder }

    It 'of a consumer clears for that consumer alone' {
        (Get-FleeceSession nightly).Consumers | Where-Object Name -EQ offsite |
            Clear-FleeceSnapshot -OffsetBytes 0 -LengthBytes 2MB -Force

        (Get-FleeceSession nightly).Consumers.RemainingBytes | Should -Be 2MB, 0
    }

    It 'of a consumer clears for that consumer where only its columns came back: <Columns>' -ForEach @(
        @{ Columns = 'Name', 'Session' }
        @{ Columns = @{ n = 'Consumer'; e = 'Name' }, 'Session' }
    ) {
        (Get-FleeceSession nightly).Consumers[1] | Select-Object $Columns | Clear-FleeceSnapshot -OffsetBytes 0 -LengthBytes 2MB -Force

        (Get-FleeceSession nightly).Consumers.RemainingBytes | Should -Be 2MB, 0
    }

    It 'of a consumer reads and shows what that consumer has not confirmed, piped and as an argument' {
        Clear-FleeceSnapshot nightly -Consumer offsite -OffsetBytes 0 -LengthBytes 1MB -Force
        $local, $offsite = (Get-FleeceSession nightly).Consumers

        ($offsite | Read-FleeceSnapshot).Consumer | Should -Be offsite
        (Read-FleeceSnapshot $offsite).OffsetBytes | Should -Be 1MB
        (Read-FleeceSnapshot $local).OffsetBytes | Should -Be 0
        ($offsite | Get-FleeceSnapshotMap)[0].State | Should -Be Consumed
        ($local | Get-FleeceSnapshotMap).State | Should -Be Untouched
    }

    It 'of a bitmap is asked for again, and is that one' {
        (Get-FleeceBitmap a weekly | Get-FleeceBitmap).Name | Should -Be weekly
        (Get-FleeceBitmap (Get-FleeceBitmap a weekly)).Name | Should -Be weekly
        (Get-FleeceBitmap a weekly | Get-FleeceBitmap -Name night*).Name | Should -Be nightly
        Get-FleeceBitmap a weekly | Get-FleeceBitmap | Remove-FleeceBitmap
        (Get-FleeceBitmap a).Name | Should -Be a, b, nightly
    }

    It 'of another kind is no name: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceBitmap a nightly | Stop-FleeceSession' }
        @{ Command = 'Get-FleeceDisk a | Stop-FleeceSession' }
        @{ Command = 'Stop-FleeceSession (Get-FleeceDisk a)' }
        @{ Command = 'Get-FleeceExport a | Stop-FleeceSession' }
        @{ Command = 'Get-FleeceExport a | ConvertTo-Json | ConvertFrom-Json | Stop-FleeceSession' }
        @{ Command = 'Get-FleeceExport a | Get-FleeceSession' }
        @{ Command = 'Get-FleeceBitmap a nightly | Clear-FleeceSnapshot -OffsetBytes 0 -LengthBytes 1MB -Force' }
        @{ Command = 'Get-FleeceDisk b | Remove-FleeceBitmap -Force' }
        @{ Command = 'Get-FleeceDisk b | Remove-FleeceBitmap a -Force' }
        @{ Command = 'Get-FleeceDisk b | Disable-FleeceBitmap -Force' }
        @{ Command = 'Get-FleeceDisk b | Clear-FleeceBitmap -Force' }
        @{ Command = 'Get-FleeceSession a | Remove-FleeceBitmap -Force' }
        @{ Command = 'Get-FleeceSession a | Remove-FleeceBitmap b -Force' }
        @{ Command = 'Remove-FleeceBitmap a (Get-FleeceSession a) -Force' }
        @{ Command = '(Get-FleeceSession nightly).Consumers | Dismount-FleeceDisk -Force' }
    ) {
        { Invoke-Text $Command } | Should -Throw -ErrorId 'ParameterArgumentTransformationError,*' -ExpectedMessage '*stands for no *'

        (Get-FleeceSession).Id | Should -Be b/a, b/nightly
        (Get-FleeceBitmap).State | Should -Be Recording, Recording, Recording, Recording, Recording
        (Get-FleeceDisk).Name | Should -Be a, b
    }

    It 'of a disk means its sessions where sessions are listed' {
        Get-FleeceDisk a | Get-FleeceSession | Should -BeNullOrEmpty
        (Get-FleeceDisk b | ConvertTo-Csv | ConvertFrom-Csv | Get-FleeceSession).Id | Should -Be b/a, b/nightly
        (Get-FleeceSession (Get-FleeceDisk b)).Id | Should -Be b/a, b/nightly
    }

    It 'of a bitmap of another disk is refused' {
        { Get-FleeceBitmap b b | Remove-FleeceBitmap a -ErrorAction Stop } | Should -Throw -ErrorId 'RecordStale,*'

        (Get-FleeceBitmap * b).Disk | Should -Be a, b
    }

    It 'of a bitmap says what a session is limited to' {
        Stop-FleeceSession b/a, nightly

        (Get-FleeceBitmap a weekly | Start-FleeceSession).Bitmap | Should -Be weekly
        (Get-FleeceBitmap a nightly | Start-FleeceSession -Name other -Bitmap a).Bitmap | Should -Be a
        { Get-FleeceBitmap * b | Get-FleeceBitmap | Start-FleeceSession -Name both -ErrorAction Stop } | Should -Not -Throw
        { Get-FleeceBitmap a nightly | ForEach-Object { $_; Get-FleeceDisk b } | Start-FleeceSession -Name mixed -ErrorAction Stop } |
            Should -Throw -ErrorId 'ArgumentInvalid,*'
    }

    It 'of a bitmap says what a backup counts with' {
        $null = New-Item ./repos -ItemType Directory

        $backup = Get-FleeceBitmap a weekly | Backup-FleeceDisk -RepositoryPath ./repos/r

        $backup.Point.Bitmap | Should -Be weekly
        @(Get-FleeceBitmap a).Count | Should -Be 4
    }

    It 'is told from one of the same name that was made since: <Command>' -ForEach @(
        @{ Command = '$old | Remove-FleeceBitmap -Force' }
        @{ Command = '$old | ConvertTo-Json | ConvertFrom-Json | Remove-FleeceBitmap -Force' }
        @{ Command = 'Clear-FleeceBitmap a $old -Force' }
        @{ Command = '$old | Get-FleeceBitmap' }
        @{ Command = '$old | Start-FleeceSession' }
        @{ Command = 'Merge-FleeceBitmap a b $old' }
        @{ Command = 'Backup-FleeceDisk a ./r -Bitmap $old' }
    ) {
        $old = Get-FleeceBitmap a weekly
        Remove-FleeceBitmap a weekly
        $null = New-FleeceBitmap a weekly

        { Invoke-Text $Command } | Should -Throw -ErrorId 'RecordStale,*' -ExpectedMessage '*newer one*'

        (Get-FleeceBitmap a weekly).State | Should -Be Recording
    }

    It 'of a bitmap is the same one after it was cleared and after a session of it' {
        $bitmap = Get-FleeceBitmap a weekly
        Clear-FleeceBitmap $bitmap $bitmap
        Start-FleeceSession a -Bitmap $bitmap | Stop-FleeceSession -Success

        $bitmap.BitmapId | Should -BeOfType guid
        ($bitmap | Get-FleeceBitmap).BitmapId | Should -Be $bitmap.BitmapId
    }

    It 'equals one that says the same: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceDisk b' }
        @{ Command = 'Get-FleeceSession nightly' }
        @{ Command = 'Get-FleeceExport a' }
        @{ Command = 'Get-FleeceBitmap b -Ranges' }
    ) {
        Write-FleeceDisk b 0 1
        (Invoke-Text $Command) -eq (Invoke-Text $Command) | Should -BeTrue
        (Invoke-Text $Command).GetHashCode() | Should -Be (Invoke-Text $Command).GetHashCode()
    }

    It 'of an earlier mount is called by its kind: <Kind>' -ForEach @(
        @{ Kind = 'Bitmap'; Record = { Get-FleeceBitmap b b } }
        @{ Kind = 'Session'; Record = { Get-FleeceSession nightly } }
        @{ Kind = 'Export'; Record = { Publish-FleeceExport b 'nbd+unix:///b?socket=./b.sock' } }
    ) {
        $record = & $Record
        Dismount-FleeceDisk b -Force
        $null = Mount-FleeceDisk ./b.raw

        { $record | Dismount-FleeceDisk -ErrorAction Stop } |
            Should -Throw -ErrorId 'RecordStale,*' -ExpectedMessage "The record of the $Kind is of an earlier mount of its disk 'b'*Get-Fleece$Kind*"
    }
}

Describe 'A row without an identity' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk a
        New-MountedDisk b
        $null = New-FleeceBitmap a daily
        $null = New-FleeceBitmap b daily
        $null = Start-FleeceSession a -Name s
    }
    AfterEach { Exit-TestFolder }

    It 'is taken by its columns, from the pipeline and by position: <Command>' -ForEach @(
        @{ Command = "[pscustomobject]@{ Name = 'a' } | Get-FleeceDisk"; Name = 'a' }
        @{ Command = "Get-FleeceDisk ([pscustomobject]@{ Name = 'a' })"; Name = 'a' }
        @{ Command = "'Name', 'a' | ConvertFrom-Csv | Dismount-FleeceDisk -Force -PassThru"; Name = 'a' }
        @{ Command = "Dismount-FleeceDisk ([pscustomobject]@{ Disk = 'b' }) -PassThru"; Name = 'b' }
        @{ Command = "[pscustomobject]@{ Name = 's' } | Stop-FleeceSession -PassThru"; Name = 's' }
        @{ Command = "[pscustomobject]@{ Session = 'a/s' } | Stop-FleeceSession -PassThru"; Name = 's' }
        @{ Command = "Stop-FleeceSession ([pscustomobject]@{ Id = 'a/s' }) -PassThru"; Name = 's' }
        @{ Command = "[pscustomobject]@{ Disk = 'a'; Name = 'daily' } | Remove-FleeceBitmap -PassThru"; Name = 'daily' }
        @{ Command = "[pscustomobject]@{ Name = 'daily' } | Remove-FleeceBitmap a -PassThru"; Name = 'daily' }
        @{ Command = "'daily' | Remove-FleeceBitmap a -PassThru"; Name = 'daily' }
    ) {
        (Invoke-Text $Command).Name | Should -Be $Name
    }

    It 'does not name a disk and its bitmap at once: <Command>' -ForEach @(
        @{ Command = "'a' | Remove-FleeceBitmap" }
        @{ Command = "[pscustomobject]@{ Name = 'a' } | Remove-FleeceBitmap" }
    ) {
        $null = New-FleeceBitmap a a

        { Invoke-Text $Command } | Should -Throw -ErrorId 'ArgumentInvalid,*' -ExpectedMessage '*-Name*'

        (Get-FleeceBitmap a).Name | Should -Be a, daily
    }

    It 'or a text that is empty is refused as that: <Command>' -ForEach @(
        @{ Command = "Get-FleeceDisk ''" }
        @{ Command = "'' | Get-FleeceDisk" }
        @{ Command = "Stop-FleeceSession ''" }
        @{ Command = "Get-FleeceBitmap a ''" }
        @{ Command = "Unpublish-FleeceExport ''" }
        @{ Command = "[pscustomobject]@{ Name = '' } | Dismount-FleeceDisk" }
        @{ Command = "[pscustomobject]@{ Session = ''; OffsetBytes = 0; LengthBytes = 1MB } | Clear-FleeceSnapshot -Force" }
    ) {
        { Invoke-Text $Command } | Should -Throw -ExpectedMessage '*empty*'

        (Get-FleeceSession).ConsumedBytes | Should -Be 0
    }
}

Describe 'Wildcards' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk a
        New-MountedDisk b
        $null = New-FleeceBitmap a daily
        $null = Publish-FleeceExport b 'nbd+unix:///b?socket=./b.sock'
        $null = Start-FleeceSession a
    }
    AfterEach { Exit-TestFolder }

    It 'list: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceExport *'; Name = 'b' }
        @{ Command = 'Get-FleeceExport a*'; Name = $null }
        @{ Command = 'Get-FleeceBitmap a*'; Name = 'daily' }
        @{ Command = 'Get-FleeceSession -Disk a*'; Name = 'a' }
    ) {
        (Invoke-Text $Command).Name | Should -Be $Name
    }

    It 'are sent to the cmdlet that lists where one name is needed: <Command>' -ForEach @(
        @{ Command = 'Stop-FleeceSession *'; Getter = 'Get-FleeceSession' }
        @{ Command = 'Dismount-FleeceDisk * -Force'; Getter = 'Get-FleeceDisk' }
    ) {
        { Invoke-Text $Command } | Should -Throw -ExpectedMessage "*'*'*wildcards*$Getter*pipe*"

        @(Get-FleeceDisk).Count | Should -Be 2
        @(Get-FleeceSession).Count | Should -Be 1
    }
}
