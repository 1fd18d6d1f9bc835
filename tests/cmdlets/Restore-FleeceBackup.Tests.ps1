# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    . "$PSScriptRoot/Client.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Restore-FleeceBackup' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data ([byte[]] (1, 2, 3))
        $null = Backup-FleeceDisk vm ./backups
    }
    AfterEach { Exit-TestFolder }

    Context 'over a file' {
        BeforeEach { Set-Content ./old.raw 'old' -NoNewline }

        It 'asks, and replaces the file after Yes' {
            $done = Invoke-Answering 'Yes' 'Restore-FleeceBackup ./backups ./old.raw'

            $done.Questions | Should -BeLike "*$PWD/old.raw*"
            $done.Output.SizeBytes | Should -Be 2MB
        }

        It 'leaves the file alone after No, without an error' {
            $done = Invoke-Answering 'No' 'Restore-FleeceBackup ./backups ./old.raw'

            $done.Output + $done.Errors | Should -BeNullOrEmpty
            Get-Content ./old.raw | Should -Be 'old'
        }

        It 'names -Force where no question can be asked' {
            { Restore-FleeceBackup ./backups ./old.raw -ErrorAction Stop } | Should -Throw '*-Force*' -ErrorId 'ImageAlreadyExists,*'

            Get-Content ./old.raw | Should -Be 'old'
        }
    }

    Context 'onto an export' {
        BeforeEach {
            $script:uri = "nbd+unix:///target?socket=$PWD/s"
            $null = New-FleeceImage ./target.raw 2MB
            $null = Mount-FleeceDisk ./target.raw -ListenUri "nbd+unix:///?socket=$PWD/s"
            Write-FleeceDisk target 0 ([byte[]] (9, 9, 9))
        }

        It 'asks, and overwrites after Yes' {
            $done = Invoke-Answering 'Yes' "Restore-FleeceBackup ./backups -DestinationUri '$uri'"

            $done.Questions | Should -BeLike "*$uri*"
            $done.Output + $done.Errors | Should -BeNullOrEmpty
            (Read-FleeceDisk target 0 3) | Should -Be 1, 2, 3
        }

        It 'leaves the export alone, and asks nothing: <Case>' -ForEach @(
            @{ Case = 'after No'; Answer = 'No'; More = ''; Questions = 1 }
            @{ Case = 'with -WhatIf'; Answer = 'Yes'; More = '-WhatIf'; Questions = 0 }
        ) {
            $done = Invoke-Answering $Answer "Restore-FleeceBackup ./backups -DestinationUri '$uri' $More"

            $done.Questions | Should -HaveCount $Questions
            $done.Errors | Should -BeNullOrEmpty
            (Read-FleeceDisk target 0 3) | Should -Be 9, 9, 9
        }

        It 'names -Force where no question can be asked' {
            { Restore-FleeceBackup ./backups -DestinationUri $uri -ErrorAction Stop } |
                Should -Throw '*-Force*' -ErrorId 'ConfirmationNeeded,*'

            (Read-FleeceDisk target 0 3) | Should -Be 9, 9, 9
        }

        It 'refuses an export that clients use, whatever the answer, and -Force overwrites it' {
            $client = Connect-Client "$PWD/s" target

            $done = Invoke-Answering 'Yes' "Restore-FleeceBackup ./backups -DestinationUri '$uri'"
            $done.Errors.FullyQualifiedErrorId | Should -Be 'ImageInUse,Fleece.RestoreFleeceBackupCommand'
            (Read-FleeceDisk target 0 3) | Should -Be 9, 9, 9

            Restore-FleeceBackup ./backups -DestinationUri $uri -Force -ErrorAction Stop
            (Read-FleeceDisk target 0 3) | Should -Be 1, 2, 3
            $client.Dispose()
        }

        It 'takes the backup from the pipeline: <Kind>' -ForEach @(
            @{ Kind = 'a backup'; Given = { Get-FleeceBackup ./backups } }
            @{ Kind = 'a row'; Given = { [pscustomobject]@{ Path = './backups' } } }
            @{ Kind = 'a folder'; Given = { Get-Item ./backups } }
        ) {
            & $Given | Restore-FleeceBackup -DestinationUri { $uri } -Force -ErrorAction Stop

            (Read-FleeceDisk target 0 3) | Should -Be 1, 2, 3
        }

        It 'overwrites with -Force, and tells of the export with -PassThru' {
            $export = Restore-FleeceBackup ./backups -DestinationUri $uri -Force -PassThru

            $export.SizeBytes | Should -Be 2MB
            $export.Path | Should -Be $uri
            (Read-FleeceDisk target 0 3) | Should -Be 1, 2, 3
        }
    }

    It 'takes <Kind>' -ForEach @(
        @{ Kind = 'a script block for the destination'
            Given = { Get-FleeceBackup ./backups | Restore-FleeceBackup -DestinationPath { "./$($_.Disk)-$($_.Number).raw" } } }
        @{ Kind = 'wildcards that fit one repository'; Given = { Restore-FleeceBackup ./back* ./vm-1.raw } }
        @{ Kind = 'a literal path'; Given = { Restore-FleeceBackup -LiteralPath ./backups -DestinationPath ./vm-1.raw } }
        @{ Kind = 'a folder'; Given = { Get-Item ./backups | Restore-FleeceBackup -DestinationPath ./vm-1.raw } }
        @{ Kind = 'a name'; Given = { './backups' | Restore-FleeceBackup -DestinationPath ./vm-1.raw } }
        @{ Kind = 'a row'; Given = { [pscustomobject]@{ Path = './backups'; DestinationPath = './vm-1.raw' } | Restore-FleeceBackup } }
    ) {
        $image = & $Given

        $image.Path | Should -Be (Get-Item ./vm-1.raw).FullName
        (Get-ChildItem -File).Name | Should -Be 'vm-1.raw', 'vm.raw', 'vm.raw.fleece-bitmaps'
    }

    It 'refuses wildcards that fit several' {
        $null = Backup-FleeceDisk vm ./backups2

        { Restore-FleeceBackup ./back* ./r.raw -ErrorAction Stop } | Should -Throw '*-DestinationPath*' -ErrorId 'ArgumentInvalid,*'
        { Restore-FleeceBackup ./back* -DestinationUri 'nbd://localhost:1' -Force -ErrorAction Stop } |
            Should -Throw '*-DestinationUri*' -ErrorId 'ArgumentInvalid,*'
    }
}

# A job of cron has no terminal, and PowerShell's console takes an empty line for a yes.
Describe 'A PowerShell whose input is <Kind>' -ForEach @(
    @{ Kind = 'empty'; Given = '' }
    @{ Kind = 'an empty line'; Given = "`n" }
    @{ Kind = 'a yes'; Given = "y`n" }
) {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'overwrites nothing that it can''t ask about' {
        New-MountedDisk
        $null = Backup-FleeceDisk vm ./backups
        Set-Content ./old.raw 'old' -NoNewline
        Set-Content ./script.ps1 'param($Module) Import-Module $Module; Restore-FleeceBackup ./backups ./old.raw'
        [IO.File]::WriteAllText("$PWD/input", $Given)
        $program, $first = @(Get-PowerShellCommand)

        $arguments = @($first) + '-NoProfile', '-File', './script.ps1', (Get-ModuleUnderTest) | Where-Object { $_ }
        $process = Start-Process $program $arguments -PassThru -Wait -RedirectStandardInput ./input -RedirectStandardError ./errors `
            -RedirectStandardOutput ./output

        $process.ExitCode | Should -Not -Be $null
        Get-Content ./errors -Raw | Should -BeLike '*-Force*'
        Get-Content ./old.raw | Should -Be 'old'
    }
}

Describe 'Backup repositories' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        Write-FleeceDisk vm 1MB ([byte[]] (1..255))
    }
    AfterEach { Exit-TestFolder }

    It 'begin a restore anew whose note is damaged, and say so' {
        $null = Backup-FleeceDisk vm ./backups
        [IO.File]::WriteAllText("$PWD/r.raw.partial", 'half')
        [IO.File]::WriteAllText("$PWD/r.raw.partial.progress", 'damaged')

        $null = Restore-FleeceBackup ./backups ./r.raw -WarningVariable restored -WarningAction Ignore

        "$restored" | Should -BeLike '*begins anew*'
        './r.raw.partial*' | Should -Not -Exist
    }
}

Describe 'A backup by itself' {
    BeforeEach {
        Enter-TestFolder
        $instant = Get-RandomData 2MB
        New-MountedDisk -Data $instant
        $null = Start-FleeceSession vm
    }

    AfterEach { Exit-TestFolder }

    It 'without it says what is missing' {
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.raw -NoManifest

        './b.raw.json' | Should -Not -Exist
        { Restore-FleeceBackup ./b.raw ./r.raw -ErrorAction Stop } |
            Should -Throw "*'b.raw.json' is not beside it*Convert-FleeceImage*" -ErrorId 'BackupNotFound,Fleece.RestoreFleeceBackupCommand'
    }

    It 'is restored to an export, whatever that held' {
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.qcow2
        New-MountedDisk -Name target -Data (Get-RandomData 2MB -Seed 9)
        $null = Publish-FleeceExport target "nbd+unix:///?socket=$PWD/s"

        Restore-FleeceBackup ./b.qcow2 -DestinationUri "nbd+unix:///target?socket=$PWD/s" -Force | Should -BeNullOrEmpty

        Test-SameData (Read-FleeceDisk target 0 2MB) $instant | Should -BeTrue
    }
}

Describe 'A part of a disk' {
    BeforeEach {
        Enter-TestFolder
        $script:data = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 4MB
        $null = New-FleeceBitmap vm daily
        Start-FleeceSession vm -Bitmap daily | Stop-FleeceSession -Success
        Write-FleeceDisk vm 1MB $data
    }
    AfterEach { Exit-TestFolder }

    It 'is restored from a backup of all of it: <_>' -ForEach 'raw', 'qcow2' {
        $null = Backup-FleeceDisk vm ./backups

        $piece = Restore-FleeceBackup ./backups "./piece.$_" -OffsetBytes 1MB -LengthBytes 64KB

        $piece.SizeBytes | Should -Be 64KB
        [IO.File]::WriteAllBytes("$PWD/expected.raw", $data[0..65535])
        (Compare-FleeceImage $piece ./expected.raw).AreEqual | Should -BeTrue
    }

    It 'is all that a backup of kind <Kind> restores, which says so' -ForEach @(
        @{ Kind = 'Partial'; Limit = @{ Range = @{ OffsetBytes = 1MB; LengthBytes = 1MB } } }
        @{ Kind = 'Incremental'; Limit = @{ Bitmap = 'daily' } }
    ) {
        $null = Start-FleeceSession vm @Limit
        $null = Read-FleeceSnapshot | Export-Backup ./b.qcow2

        (Get-FleeceBackup ./b.qcow2).Kind | Should -Be $Kind
        (Test-FleeceBackup ./b.qcow2 -Deep).IsGood | Should -BeTrue
        { Restore-FleeceBackup ./b.qcow2 ./r.raw -ErrorAction Stop } |
            Should -Throw -ErrorId 'BackupParentMissing,Fleece.RestoreFleeceBackupCommand'
        $null = Restore-FleeceBackup ./b.qcow2 ./part.raw -OffsetBytes 1MB -LengthBytes 1MB
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/part.raw")) $data | Should -BeTrue
    }
}

Describe 'An export that a backup is restored to' {
    BeforeEach {
        Enter-TestFolder
        $script:data = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 4MB
        Write-FleeceDisk vm 1MB $data
        $null = Start-FleeceSession vm
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.qcow2
        $null = Read-FleeceSnapshot vm | Export-Backup ./c.raw
        $null = Backup-FleeceDisk vm ./backups
        $script:held = Get-RandomData 6MB -Seed 9
        New-MountedDisk target qcow2 6MB $held
        $null = Publish-FleeceExport target (Get-SocketUri)
    }
    AfterEach { Exit-TestFolder }

    It 'becomes the disk, and keeps what lies behind: <_>' -ForEach './b.qcow2', './backups' {
        Restore-FleeceBackup $_ -DestinationUri (Get-SocketUri target) -Force

        Test-SameData (Read-FleeceDisk target 0 4MB) (Read-FleeceDisk vm 0 4MB) | Should -BeTrue
        Test-SameData (Read-FleeceDisk target 4MB 2MB) $held[4MB..(6MB - 1)] | Should -BeTrue
    }

    It 'gets a range at its beginning' {
        Get-FleeceBackup ./b.qcow2 |
            Restore-FleeceBackup -DestinationUri (Get-SocketUri target) -Force -OffsetBytes 1536KB -LengthBytes 1MB

        Test-SameData (Read-FleeceDisk target 0 512KB) $data[512KB..(1MB - 1)] | Should -BeTrue
        Test-SameData (Read-FleeceDisk target 512KB 512KB) ([byte[]]::new(512KB)) | Should -BeTrue
        Test-SameData (Read-FleeceDisk target 1MB 1MB) $held[1MB..(2MB - 1)] | Should -BeTrue
    }

    It 'is left alone when it is read-only' {
        $null = Publish-FleeceExport vm (Get-SocketUri) -ExportName locked -ReadOnly

        { Restore-FleeceBackup ./b.qcow2 -DestinationUri (Get-SocketUri locked) -Force -ErrorAction Stop } |
            Should -Throw -ErrorId 'DiskReadOnly,Fleece.RestoreFleeceBackupCommand'
    }

    It 'is to be restored once more when damage is found half-way' {
        $file = [IO.File]::OpenWrite("$PWD/c.raw")
        $file.Position = 3MB
        $file.WriteByte(1)
        $file.Dispose()

        { Restore-FleeceBackup ./c.raw -DestinationUri (Get-SocketUri target) -Force -ErrorAction Stop } |
            Should -Throw '*restore to it once more, from the beginning*' -ErrorId 'BackupDigestMismatch,Fleece.RestoreFleeceBackupCommand'
    }
}

Describe 'A request to Restore-FleeceBackup' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Restore-FleeceBackup ./repo ./small.raw'; Id = 'ImageAlreadyExists,Fleece.RestoreFleeceBackupCommand' }
        @{ Command = 'Restore-FleeceBackup ./repo ./r.raw -LengthBytes 1000'
            Id = 'ParameterArgumentValidationError,Fleece.RestoreFleeceBackupCommand' }
        @{ Command = 'Restore-FleeceBackup ./repo ./r.raw -OffsetBytes 9MB'; Id = 'RangeBeyondEnd,Fleece.RestoreFleeceBackupCommand' }
        @{ Command = 'Restore-FleeceBackup ./repo -DestinationUri nbd+unix:///nobody?socket=./vm.sock -Force'
            Id = 'ExportNotFound,Fleece.RestoreFleeceBackupCommand' }
        @{ Command = 'Restore-FleeceBackup ./repo -DestinationUri ./target.raw'; Id = 'UriInvalid,Fleece.RestoreFleeceBackupCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf: <Command>' -ForEach @(
        @{ Command = 'Restore-FleeceBackup ./repo ./new.raw -WhatIf' }
        @{ Command = 'Restore-FleeceBackup ./repo ./small.raw -WhatIf' }
        @{ Command = 'Restore-FleeceBackup ./repo -DestinationUri nbd+unix:///vm?socket=vm.sock -WhatIf' }
    ) { Assert-ChangesNothing $Command }
}
