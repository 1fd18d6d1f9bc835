# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Start-FleeceSession' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'gives each session of a disk its own instant, until they stop in the order <Order>' -ForEach @(
        @{ Order = 1, 2, 3 }
        @{ Order = 1, 3, 2 }
        @{ Order = 2, 1, 3 }
        @{ Order = 2, 3, 1 }
        @{ Order = 3, 1, 2 }
        @{ Order = 3, 2, 1 }
    ) {
        New-MountedDisk -SizeBytes 1MB
        foreach ($number in 1, 2, 3) {
            Write-FleeceDisk vm 0 ([byte[]] (, $number * 1MB))
            $null = Start-FleeceSession vm -Name "s$number"
        }
        Write-FleeceDisk vm 0 ([byte[]] (, 4 * 1MB))

        foreach ($stopped in $Order) {
            foreach ($session in Get-FleeceSession) {
                $expected = [byte[]] (, [byte] "$($session.Name)".Substring(1) * 1MB)
                Test-SameData (Read-FleeceSnapshot $session).Data $expected | Should -BeTrue
            }
            Stop-FleeceSession "s$stopped"
            Write-FleeceDisk vm 0 ([byte[]] (, 5 * 1MB))
        }
        Get-FleeceSession | Should -BeNullOrEmpty
        (Get-ChildItem).Name | Should -Be vm.raw
    }

    It 'copies nothing that was consumed before the guest wrote' {
        New-MountedDisk -SizeBytes 1MB -Data (Get-RandomData 1MB)
        $session = Start-FleeceSession vm
        $null = Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./b.raw

        Write-FleeceDisk vm 0 ([byte[]]::new(1MB))

        (Get-FleeceSession $session).CopiedBytes | Should -Be 0
    }

    It 'starts on no disk when one of two refuses: temp at <_>' -ForEach './missing.raw', './temp.raw' {
        New-MountedDisk -Name a -SizeBytes 1MB
        New-MountedDisk -Name b
        $null = New-FleeceImage ./temp.raw 1MB
        $before = (Get-ChildItem).Name

        { Start-FleeceSession a, b -TempPath $_ } | Should -Throw "*can't go to one place*folder*"

        Get-FleeceSession | Should -BeNullOrEmpty
        (Get-ChildItem).Name | Should -Be $before
    }

    It 'takes no link to the disk as temp' -Skip:$IsWindows {
        New-MountedDisk
        $null = New-Item ./link.raw -ItemType SymbolicLink -Target "$PWD/vm.raw"

        { Start-FleeceSession vm -TempPath ./link.raw } | Should -Throw -ErrorId 'TempIsDisk,Fleece.StartFleeceSessionCommand'

        Get-FleeceSession | Should -BeNullOrEmpty
    }

    It 'leaves no file on a file system that is too full for temp' -Skip:(-not $IsLinux) {
        New-MountedDisk -SizeBytes 1MB -Data (Get-RandomData 1MB)
        $full = (New-Item full -ItemType Directory).FullName
        mount -t tmpfs -o size=256k none $full 2>$null
        if ($LASTEXITCODE) { Set-ItResult -Skipped -Because 'mounting a small tmpfs is not permitted here' }
        try {
            { Start-FleeceSession vm -TempPath ./full } | Should -Throw -ErrorId 'StorageFull,Fleece.StartFleeceSessionCommand'

            Get-ChildItem $full | Should -BeNullOrEmpty
        } finally {
            umount $full
        }
    }
}

Describe 'What a session may cost' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
    }

    AfterEach { Exit-TestFolder }

    It 'limits are properties of the session' {
        $session = Start-FleeceSession vm -CopyTimeout 00:00:45 -TempLimitBytes 1MB
        Write-FleeceDisk vm 0 (Get-RandomData 4KB -Seed 8)

        $session.CopyTimeout | Should -Be ([timespan] '00:00:45')
        $session.TempLimitBytes | Should -Be 1MB
        $session.TempUsedBytes | Should -Be 0 -Because 'a record is of its moment'
        (Get-FleeceSession $session).TempUsedBytes | Should -Be 4KB
    }

    It 'the ladder of temp is told by the session' {
        $session = Start-FleeceSession vm -TempLimitBytes 1MB -TempWarningPercent 70 -MaxGuestDelay 0:0:0.02

        $session.TempWarningPercent, $session.MaxGuestDelay.TotalMilliseconds | Should -Be 70, 20
        $session.GuestDelay, $session.GuestDelayCount, $session.TempFullIn | Should -Be ([timespan]::Zero), 0, $null
        (Start-FleeceSession vm -Name other -TempLimitBytes 1MB).TempWarningPercent | Should -Be 80
    }

    It 'writes that copy are held back behind the mark, and others are not' {
        $session = Start-FleeceSession vm -TempLimitBytes 1MB -TempWarningPercent 10 -MaxGuestDelay 0:0:0.05
        Write-FleeceDisk vm 0 (Get-RandomData 512KB -Seed 8)
        Write-FleeceDisk vm 0 (Get-RandomData 512KB -Seed 9)
        (Get-FleeceSession $session -WarningAction SilentlyContinue).GuestDelayCount | Should -Be 0

        Write-FleeceDisk vm 1MB (Get-RandomData 4KB -Seed 8)

        $held = Get-FleeceSession $session -WarningAction SilentlyContinue
        $held.GuestDelayCount | Should -Be 1
        $held.GuestDelay | Should -BeGreaterThan ([timespan]::Zero)
    }

    It 'a session without limits has none' {
        $session = Start-FleeceSession vm

        $session.CopyTimeout | Should -BeNullOrEmpty
        $session.TempLimitBytes | Should -BeNullOrEmpty
        $session.TempWarning | Should -BeNullOrEmpty
        $session.TempWarningPercent | Should -BeNullOrEmpty
        $session.MaxGuestDelay | Should -BeNullOrEmpty
    }

    It 'the snapshot is lost when temp would hold more than it may' {
        $session = Start-FleeceSession vm -TempLimitBytes 64KB
        Write-FleeceDisk vm 0 (Get-RandomData 128KB -Seed 8)

        (Get-FleeceSession $session).State | Should -Be Broken
        (Get-FleeceSession $session).BrokenBy | Should -BeLike '*-TempLimitBytes*'
        { Read-FleeceSnapshot vm } | Should -Throw -ErrorId 'SessionBroken,*'
    }

    It 'the guest is refused when temp would hold more than it may, and consuming makes room' {
        $session = Start-FleeceSession vm -TempLimitBytes 64KB -OnCopyError BreakGuestWrite
        Write-FleeceDisk vm 0 (Get-RandomData 64KB -Seed 8)
        { Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3)) -ErrorAction Stop } | Should -Throw -ErrorId 'TempLimitReached,*'

        Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 64KB -Force
        Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3)) -ErrorAction Stop

        (Get-FleeceSession $session).State | Should -Be Active
        (Get-FleeceSession $session).TempUsedBytes | Should -Be 4KB
    }

    It 'a limit that cannot be is refused and starts nothing' -ForEach @(
        @{ Limits = @{ CopyTimeout = [timespan]::Zero }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ CopyTimeout = [timespan]::FromSeconds(-1) }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ TempLimitBytes = 4095 }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ TempLimitBytes = -1 }; Id = 'ParameterArgumentValidationError' }
        @{ Limits = @{ TempLimitBytes = 1MB; TempWarningPercent = 100 }; Id = 'ParameterArgumentValidationError' }
        @{ Limits = @{ TempWarningPercent = 70 }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ MaxGuestDelay = 0.02 }; Id = 'ArgumentInvalid' }
        @{ Limits = @{ TempLimitBytes = 1MB; MaxGuestDelay = 60 }; Id = 'ArgumentInvalid' }
    ) {
        { Start-FleeceSession vm @Limits } | Should -Throw -ErrorId "$Id,*"

        Get-FleeceSession | Should -BeNullOrEmpty
        Get-ChildItem ./*.fleece-temp | Should -BeNullOrEmpty
    }
}

Describe 'A session limited to ranges' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 2MB)
    }
    AfterEach { Exit-TestFolder }

    It 'reads the range that <Kind> names' -ForEach @(
        @{ Kind = 'a hashtable'; Range = @{ OffsetBytes = 64KB; LengthBytes = 8KB } }
        @{ Kind = 'an ordered hashtable'; Range = [ordered]@{ OffsetBytes = 64KB; LengthBytes = 8KB } }
        @{ Kind = 'a custom object'; Range = [pscustomobject]@{ OffsetBytes = 64KB; LengthBytes = 8KB } }
        @{ Kind = 'an object from JSON'; Range = '{ "OffsetBytes": 65536, "LengthBytes": 8192 }' | ConvertFrom-Json }
        @{ Kind = 'a row of CSV'; Range = 'OffsetBytes,LengthBytes', '65536,8192' | ConvertFrom-Csv }
        @{ Kind = 'an object with selected properties'
            Range = [pscustomobject]@{ OffsetBytes = 64KB; LengthBytes = 8KB; State = 'x' } | Select-Object OffsetBytes, LengthBytes }
    ) {
        $session = Start-FleeceSession vm -Range $Range

        $chunk = Read-FleeceSnapshot $session
        $chunk.OffsetBytes | Should -Be 64KB
        $chunk.LengthBytes | Should -Be 8KB
    }

    It 'takes the runs of a map' {
        $first = Start-FleeceSession vm -Name first
        Write-FleeceDisk vm 256KB (Get-RandomData 64KB -Seed 9)
        Write-FleeceDisk vm 1MB (Get-RandomData 4KB -Seed 9)

        $second = Start-FleeceSession vm -Name second -Range @(Get-FleeceSnapshotMap $first | Where-Object State -EQ Copied)

        $chunks = Read-FleeceSnapshot $second
        $chunks.OffsetBytes | Should -Be 256KB, 1MB
        $chunks.LengthBytes | Should -Be 64KB, 4KB
    }

    It 'is widened to whole granules' {
        $session = Start-FleeceSession vm -Range @{ OffsetBytes = 5000; LengthBytes = 1 }

        (Read-FleeceSnapshot $session).OffsetBytes | Should -Be 4096
        (Get-FleeceSnapshotMap $session).State | Should -Be 'Denied', 'Untouched', 'Denied'
    }

    It 'reads nothing when the list of ranges is empty' {
        $session = Start-FleeceSession vm -Range @()

        Read-FleeceSnapshot $session | Should -BeNullOrEmpty
        (Get-FleeceSnapshotMap $session).State | Should -Be 'Denied'
    }

    It 'copies nothing outside its ranges' {
        $session = Start-FleeceSession vm -Range @{ OffsetBytes = 1MB; LengthBytes = 4KB }

        Write-FleeceDisk vm 0 ([byte[]]::new(2MB))

        (Get-FleeceSession $session).CopiedBytes | Should -Be 4KB
    }

    It 'is refused when a range is <Kind>' -ForEach @(
        @{ Kind = 'incomplete'; Range = @{ OffsetBytes = 1 }; Id = 'ParameterArgumentTransformationError' }
        @{ Kind = 'no number'; Range = @{ OffsetBytes = 'x'; LengthBytes = 1 }; Id = 'ParameterArgumentTransformationError' }
        @{ Kind = 'negative'; Range = @{ OffsetBytes = -1; LengthBytes = 1 }; Id = 'ParameterArgumentTransformationError' }
        @{ Kind = 'too long'; Range = @{ OffsetBytes = 1MB; LengthBytes = 2MB }; Id = 'RangeBeyondEnd' }
        @{ Kind = 'of another type'; Range = 'everything'; Id = 'ParameterArgumentTransformationError' }
    ) {
        { Start-FleeceSession vm -Range $Range } | Should -Throw -ErrorId "$Id,Fleece.StartFleeceSessionCommand"

        Get-FleeceSession | Should -BeNullOrEmpty
    }
}

Describe 'The advice about a file whose format is in doubt' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./x.bin 1MB -Format Raw
        $null = New-FleeceImage ./good.raw 1MB
        $null = Mount-FleeceDisk ./good.raw
    }
    AfterEach { Exit-TestFolder }

    It 'is to rename a file for temp, for whose format there is no parameter' {
        $failure = Get-OnlyError { try { Start-FleeceSession good -TempPath ./x.bin } catch { Write-Error $_ } }

        $failure.Exception.Message | Should -Not -Match '-Format'
        $failure.Exception.Message | Should -BeLike '*Give the file the extension .raw*'
        Rename-Item ./x.bin x.raw
        (Start-FleeceSession good -TempPath ./x.raw).State | Should -Be Active
    }

    It 'is to rename a qcow2 for temp that is named like a raw disk' {
        $null = New-FleeceImage ./x.img 1MB -Format Qcow2

        $failure = Get-OnlyError { try { Start-FleeceSession good -TempPath ./x.img } catch { Write-Error $_ } }

        $failure.Exception.Message | Should -Not -Match '-Format'
        $failure.Exception.Message | Should -BeLike '*give it the extension .qcow2*'
        Rename-Item ./x.img x.qcow2
        (Start-FleeceSession good -TempPath ./x.qcow2).State | Should -Be Active
    }
}

Describe 'The advice about a data file in another folder' {
    BeforeEach {
        Enter-TestFolder
        $null = New-Item ./other, ./sub -ItemType Directory
        $null = New-FleeceImage ./good.raw 1MB
        $null = Mount-FleeceDisk ./good.raw
    }
    AfterEach { Exit-TestFolder }

    It 'is another image for temp' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./other/a.raw -WarningAction SilentlyContinue

        $message = (Get-OnlyError { try { Start-FleeceSession good -TempPath ./sub/a.qcow2 } catch { Write-Error $_ } }).Exception.Message

        $message | Should -Not -Match 'AllowOutsideDataFile'
        $message | Should -BeLike '*Name another image.*'
    }
}

Describe 'One instant over two disks' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'gives sessions that started at the same time, and a backup of each' {
        New-MountedDisk -Name a -Data (Get-RandomData 1MB -Seed 1)
        New-MountedDisk -Name b -Data (Get-RandomData 1MB -Seed 2)

        $sessions = Get-FleeceDisk a, b | Start-FleeceSession -Name nightly
        Write-FleeceDisk a 0 ([byte[]]::new(1MB))
        Write-FleeceDisk b 0 ([byte[]]::new(1MB))
        $backups = $sessions | ForEach-Object { $_ | Read-FleeceSnapshot | Export-Backup "./$($_.Disk).bak.raw" }

        $sessions.Id | Should -Be 'a/nightly', 'b/nightly'
        $backups[0].Instant | Should -Be $backups[1].Instant
        $null = Mount-FleeceDisk ./*.bak.raw -ReadOnly
        Test-SameData (Read-FleeceDisk a.bak 0 1MB) (Get-RandomData 1MB -Seed 1) | Should -BeTrue
        Test-SameData (Read-FleeceDisk b.bak 0 1MB) (Get-RandomData 1MB -Seed 2) | Should -BeTrue
    }
}

Describe 'Temp on the disk itself' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused by <Command>' -ForEach @{ Command = 'Start-FleeceSession' }, @{ Command = 'Backup-FleeceDisk' } {
        $null = New-FleeceImage ./vm.raw -SizeBytes 1MB | Mount-FleeceDisk -ListenUri 'nbd+unix:///?socket=vm.sock'
        $parameters = @{ Disk = 'vm'; TempPath = 'nbd+unix:///vm?socket=vm.sock'; ErrorAction = 'Stop' }
        if ($Command -eq 'Backup-FleeceDisk') { $parameters.RepositoryPath = './backups' }

        Get-FailureId { & $Command @parameters } | Should -BeLike 'TempIsDisk,*'
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

    It 'is a disk with sessions of its own, with a temp that is named' {
        $null = Mount-FleeceDisk (Get-SocketUri vm) -Name remote -Shared
        Get-FailureId { Start-FleeceSession remote } | Should -Be 'ArgumentInvalid,Fleece.StartFleeceSessionCommand'

        $null = Start-FleeceSession remote -TempPath ./temp.raw
        Write-FleeceDisk remote 0 ([byte[]]::new(1MB))
        $null = Read-FleeceSnapshot remote | Export-Backup ./b.raw

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")[0..(1MB - 1)]) $old | Should -BeTrue
    }

    It 'is temp' {
        New-MountedDisk -Name live -SizeBytes 2MB -Data $old
        $session = Start-FleeceSession live -TempPath (Get-SocketUri vm)
        Write-FleeceDisk live 0 ([byte[]]::new(1MB))

        $null = Read-FleeceSnapshot live | Export-Backup ./b.raw

        (Get-FleeceSession $session).CopiedBytes | Should -Be 1MB
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")[0..(1MB - 1)]) $old | Should -BeTrue
    }
}

Describe 'A request to Start-FleeceSession' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Start-FleeceSession nobody'; Id = 'DiskNotFound,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Name A'; Id = 'SessionNameInUse,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath ./small.raw'; Id = 'TempTooSmall,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath ./vm.raw'; Id = 'TempIsDisk,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -GranuleSizeBytes 1000'; Id = 'ParameterArgumentValidationError,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath nbd+unix:///vm?socket=vm.sock'; Id = 'TempIsDisk,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath nbd+unix:///?socket=vm.sock'; Id = 'TempIsDisk,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath nbd+unix:///x?socket=no.sock'
            Id = 'ServerUnreachable,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Name ""'; Id = 'ArgumentInvalid,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -GranuleSizeBytes 256'; Id = 'ParameterArgumentValidationError,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath ./no/folder/temp.raw'; Id = 'ImageNotFound,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath ./empty.raw'; Id = 'ImageEmpty,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath nodrive:/temp.raw'; Id = 'ImageNotFound,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath ""'; Id = 'ParameterArgumentValidationError,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Range @{ OffsetBytes = [long]::MaxValue; LengthBytes = 2 }'
            Id = 'ParameterArgumentTransformationError,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Range @{ OffsetBytes = 1e30; LengthBytes = 2 }'
            Id = 'ParameterArgumentTransformationError,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Range @($null)'; Id = 'ParameterArgumentTransformationError,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Bitmap nothing'; Id = 'BitmapNotFound,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Bitmap daily -NextBitmap daily'; Id = 'BitmapNameInUse,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Bitmap daily -Range @{ OffsetBytes = 0; LengthBytes = 1 }'
            Id = 'ArgumentInvalid,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -NextBitmap a*'; Id = 'ArgumentInvalid,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -Consumer a, A'; Id = 'ArgumentInvalid,Fleece.StartFleeceSessionCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Start-FleeceSession vm -Name other -WhatIf' }
}
