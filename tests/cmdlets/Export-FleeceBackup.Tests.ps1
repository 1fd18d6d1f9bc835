# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'Export-FleeceBackup' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name a
        New-MountedDisk -Name b
        $null = Start-FleeceSession a, b -Name night
    }
    AfterEach { Exit-TestFolder }

    It 'names the file by a script block, which sees the chunks' {
        $backup = Read-FleeceSnapshot a/night | Export-Backup -DestinationPath { "./$($_.Session -replace '/', '-').qcow2" }

        $backup.Path | Should -Be (Get-Item ./a-night.qcow2).FullName
        (Get-ChildItem *.qcow2).Name | Should -Be 'a-night.qcow2'
    }

    It 'refuses a script block that names several files, and leaves none' {
        { Get-FleeceSession | Read-FleeceSnapshot | Export-Backup -DestinationPath { "./$($_.Session -replace '/', '-').qcow2" } } |
            Should -Throw '*one backup*' -ErrorId 'ArgumentInvalid,*'

        Get-ChildItem *-night* | Should -BeNullOrEmpty
    }

    It 'says that no chunk came, where a script block could name nothing' {
        { Read-FleeceSnapshot a/night -LengthBytes 0 | Export-Backup -DestinationPath { './x.raw' } } |
            Should -Throw -ErrorId 'BackupIncomplete,*'
    }

    It 'makes no file of the text of a script block without input' {
        { Export-Backup -DestinationPath { './x.raw' } -InputObject $null } | Should -Throw

        (Get-ChildItem -File).Name | Should -Not -BeLike '*x.raw*'
    }

    It 'replaces a backup with -Force only when the new one is complete' {
        Write-FleeceDisk b 0 (Get-RandomData 2MB)
        $null = Start-FleeceSession b -Name full
        $null = Read-FleeceSnapshot b/full | Export-Backup ./b.bak
        $before = (Get-FileHash ./b.bak).Hash

        { @(Read-FleeceSnapshot b/full -ChunkSizeBytes 64KB)[0..1] | Export-Backup ./b.bak -Force } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand'
        (Get-FileHash ./b.bak).Hash | Should -Be $before

        $null = Read-FleeceSnapshot b/full | Export-Backup ./b.bak -Force
        './b.bak.partial' | Should -Not -Exist
    }

    It 'takes no file with -Force that was mounted while the backup was made' {
        $null = New-FleeceImage ./c.raw 1MB

        { Read-FleeceSnapshot a/night | & { process { $_ } end { $null = Mount-FleeceDisk ./c.raw } } | Export-Backup ./c.raw -Force } |
            Should -Throw -ErrorId 'ImageInUse,Fleece.ExportFleeceBackupCommand'

        Test-SameData (Read-FleeceDisk c 0 1MB) ([byte[]]::new(1MB)) | Should -BeTrue
        './c.raw.partial' | Should -Not -Exist
    }

    It 'takes no chunks of two consumers into one backup' {
        $null = Start-FleeceSession a -Name two -Consumer local, offsite
        $chunks = @(Read-FleeceSnapshot a/two -Consumer local) + @(Read-FleeceSnapshot a/two -Consumer offsite)

        { $chunks | Export-Backup ./x.raw } | Should -Throw -ErrorId 'ChunkOfAnotherSnapshot,Fleece.ExportFleeceBackupCommand'
    }

    It 'makes no point in a repository of a session that is limited to ranges' {
        $null = Start-FleeceSession a -Name limited -Range @{ OffsetBytes = 0; LengthBytes = 1MB }

        { Read-FleeceSnapshot a/limited | Export-Backup ./backups/ } |
            Should -Throw -ErrorId 'ArgumentInvalid,Fleece.ExportFleeceBackupCommand'
    }
}

Describe 'A backup of a <Disk> disk into a <Backup> file' -ForEach @(
    @{ Disk = 'raw'; Backup = 'raw' }
    @{ Disk = 'raw'; Backup = 'qcow2' }
    @{ Disk = 'qcow2'; Backup = 'raw' }
    @{ Disk = 'qcow2'; Backup = 'qcow2' }
) {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 2MB
        New-MountedDisk -Extension $Disk -SizeBytes 4MB -Data $old
        $null = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'is the disk as it was at the instant, although guests write while it is made' {
        $new = Get-RandomData 64KB -Seed 8

        # The guest writes from the end while the backup reads from the start: before, at and behind the place being read.
        $result = Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB | ForEach-Object {
            if (-not $_.IsZero) { Write-FleeceDisk vm (2MB - 64KB - $_.OffsetBytes) $new }
            $_
        } | Export-Backup -DestinationPath "./b.$Backup"

        $null = Mount-FleeceDisk "./b.$Backup" -ReadOnly
        Test-SameData (Read-FleeceDisk b 0 2MB) $old | Should -BeTrue
        Test-SameData (Read-FleeceDisk b 2MB 2MB) ([byte[]]::new(2MB)) | Should -BeTrue
        Test-SameData (Read-FleeceDisk vm 0 64KB) $new | Should -BeTrue
        "$($result.Format)" | Should -Be $Backup
        $result.SizeBytes | Should -Be 4MB
        $result.DataBytes + $result.ZeroBytes | Should -Be 4MB
    }

    It 'leaves nothing to read and no file but the two images, the manifest and the journal of the mounted image' {
        $null = Read-FleeceSnapshot -DiscardConsumed | Export-Backup "./b.$Backup"

        (Get-FleeceSession vm).ConsumedBytes | Should -Be 4MB
        Get-FleeceSnapshotMap vm | Select-Object -ExpandProperty State | Should -Be 'Consumed'
        Stop-FleeceSession vm
        (Get-ChildItem -Exclude '*.fleece-journal').Name | Sort-Object | Should -Be "b.$Backup", "b.$Backup.json", "vm.$Disk"
    }

    It 'can be made twice when nothing is consumed' {
        Write-FleeceDisk vm 0 ([byte[]]::new(1MB))

        $null = Read-FleeceSnapshot vm | Export-Backup "./b1.$Backup"
        $null = Read-FleeceSnapshot vm | Export-Backup "./b2.$Backup"

        $null = Mount-FleeceDisk "./b1.$Backup", "./b2.$Backup" -ReadOnly
        Test-SameData (Read-FleeceDisk b1 0 2MB) $old | Should -BeTrue
        Test-SameData (Read-FleeceDisk b2 0 2MB) $old | Should -BeTrue
    }
}

Describe 'Objects that stand for files' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

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

    It 'that -WhatIf kept from a backup can still go into one' {
        $chunks = @(Read-FleeceSnapshot vm)
        $chunks | Export-Backup ./b.raw -WhatIf

        $null = $chunks | Export-Backup ./b.raw

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")) $old | Should -BeTrue
    }

    It 'go to a stream in the order of the disk' {
        $stream = [IO.File]::Create("$PWD/copy.raw")
        $null = Read-FleeceSnapshot vm -ChunkSizeBytes 64KB | Export-Backup -Stream $stream
        $stream.Close()

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/copy.raw")) $old | Should -BeTrue
    }

    It 'that overlap make a backup without a manifest, with a warning' {
        $backup = @(Read-FleeceSnapshot vm) + @(Read-FleeceSnapshot vm -OffsetBytes 512KB) |
            Export-Backup ./b.raw -WarningVariable warned -WarningAction SilentlyContinue

        $backup.Point | Should -BeNullOrEmpty
        $warned.Message | Should -BeLike '*has no manifest*'
        './b.raw.json' | Should -Not -Exist
    }
}

Describe 'Repositories of one disk' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.raw -SizeBytes 2MB
        $null = Mount-FleeceDisk ./vm.raw

        function Backup-Night([string] $Repository, [byte] $Value, [switch] $Full) {
            Write-FleeceDisk vm ($Value * 64KB) ([byte[]] $Value)
            (Backup-FleeceDisk vm $Repository -Full:$Full -WarningVariable script:said -WarningAction Ignore -ErrorAction Stop).Point.Kind
        }
    }
    AfterEach { Exit-TestFolder }

    It 'are free again after an export that its own warning has ended' {
        Backup-Night ./vms 1 | Should -Be Full
        $null = New-Item ./other -ItemType Directory
        Dismount-FleeceDisk vm
        $null = New-FleeceImage ./other/vm.raw -SizeBytes 2MB
        $null = Mount-FleeceDisk ./other/vm.raw
        $null = Start-FleeceSession vm
        { Read-FleeceSnapshot | Export-FleeceBackup ./vms -WarningAction Stop } | Should -Throw '*If these are two disks*'
        Stop-FleeceSession vm
        Get-ChildItem ./vms -Filter *.partial | Should -BeNullOrEmpty
        Backup-Night ./vms 2 | Should -Be Full
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

    It 'is the target of a backup, zeros included' {
        New-MountedDisk -Name live -SizeBytes 2MB
        Write-FleeceDisk live 1MB ([byte[]] (1, 2, 3))
        $null = Start-FleeceSession live

        $backup = Read-FleeceSnapshot live | Export-Backup -DestinationUri (Get-SocketUri vm)

        $backup.Path | Should -BeLike 'nbd+unix:///vm?socket=*vm.sock'
        $backup.Format | Should -BeNullOrEmpty
        Test-SameData (Read-FleeceDisk vm 0 2MB) (Read-FleeceDisk live 0 2MB) | Should -BeTrue
    }

    It 'is refused as the target of a backup that is <Case>' -ForEach @(
        @{ Case = 'larger than it'; Name = 'small'; Size = 512KB; Extra = @{}; Id = 'ArgumentInvalid' }
        @{ Case = 'not to be written there'; Name = 'locked'; Size = 4MB; Extra = @{ ReadOnly = $true }; Id = 'DiskReadOnly' }
    ) {
        $null = New-FleeceImage "./$Name.raw" -SizeBytes $Size
        $null = Mount-FleeceDisk "./$Name.raw" -ListenUri (Get-SocketUri '' target.sock) @Extra
        $session = Start-FleeceSession vm

        { Read-FleeceSnapshot vm -DiscardConsumed | Export-Backup -DestinationUri (Get-SocketUri $Name target.sock) } |
            Should -Throw -ErrorId "$Id,Fleece.ExportFleeceBackupCommand"

        (Get-FleeceSession $session).ConsumedBytes | Should -Be 0
    }
}

Describe 'A bad request' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 1MB
        $null = Start-FleeceSession vm -Name a
        $null = Start-FleeceSession vm -Name b
        $null = New-FleeceImage ./small.raw -SizeBytes 512KB
        $null = New-Item ./empty.raw
    }
    AfterEach { Exit-TestFolder }

    It 'is refused by parameter binding when it has no chunks: Export-Backup of <Type>' -ForEach @(
        @{ Type = 'a string'; Value = 'text' }
        @{ Type = 'a number'; Value = 1 }
    ) {
        { $Value | Export-Backup ./b.raw -ErrorAction Stop } | Should -Throw -ErrorId 'InputObjectNotBound,*'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }

    It 'for a backup of a snapshot that was consumed gives no chunk and no file' {
        $null = Mount-FleeceDisk ./small.raw
        $session = Start-FleeceSession small
        Clear-FleeceSnapshot $session -OffsetBytes 0 -LengthBytes 512KB -Force

        Read-FleeceSnapshot $session | Should -BeNullOrEmpty
        { Read-FleeceSnapshot $session | Export-Backup ./b.raw } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand'
        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }
}

Describe 'A repository that gets its backups through the pipeline' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 4MB
        Write-FleeceDisk vm 1MB (Get-RandomData 1MB)
        $null = New-FleeceBitmap vm daily
    }
    AfterEach { Exit-TestFolder }

    It 'has a full backup first, and then the changes' {
        $backups = foreach ($night in 1..3) {
            $null = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2
            Write-FleeceDisk vm (64KB * $night) ([byte[]] $night)
            Read-FleeceSnapshot -DiscardConsumed | Export-Backup -DestinationPath ./backups/ -Verify
            Stop-FleeceSession vm -Success
        }

        $backups.Point.Kind | Should -Be Full, Incremental, Incremental
        $backups.IsVerified | Should -Be $true, $true, $true
        $backups[0].DataBytes | Should -Be 1MB
        $backups[1, 2] | ForEach-Object { $_.DataBytes + $_.ZeroBytes } | Should -Be 64KB, 64KB
        (Test-FleeceBackup ./backups -Deep).IsGood | Should -Be $true, $true, $true
    }

    It 'has an empty backup of a night on which nothing changed' {
        $backups = foreach ($night in 1, 2) {
            $null = Start-FleeceSession vm -Bitmap daily
            Read-FleeceSnapshot | Export-Backup ./backups/
            Stop-FleeceSession vm -Success
        }

        $backups[1].Point.Number | Should -Be 2
        $backups[1].DataBytes, $backups[1].ZeroBytes | Should -Be 0, 0
    }
}

Describe 'A request to Export-FleeceBackup' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Read-FleeceSnapshot a | Export-Backup ./small.raw'; Id = 'ImageAlreadyExists,Fleece.ExportFleeceBackupCommand' }
        @{ Command = '@() | Export-Backup ./b.raw'; Id = 'BackupIncomplete,Fleece.ExportFleeceBackupCommand' }
        @{ Command = 'Read-FleeceSnapshot a | Export-Backup ./no/folder/b.raw'; Id = 'ImageNotFound,Fleece.ExportFleeceBackupCommand' }
        @{ Command = 'Read-FleeceSnapshot a | Export-Backup nodrive:/b.raw'; Id = 'ImageNotFound,Fleece.ExportFleeceBackupCommand' }
        @{ Command = 'Read-FleeceSnapshot a | ForEach-Object { $_; $_ } | Export-Backup ./b.raw'
            Id = 'ChunkAlreadyUsed,Fleece.ExportFleeceBackupCommand' }
        @{ Command = 'Read-FleeceSnapshot a | ForEach-Object { $_.Dispose(); $_ } | Export-Backup ./b.raw'
            Id = 'ChunkAlreadyUsed,Fleece.ExportFleeceBackupCommand' }
        @{ Command = '& { Read-FleeceSnapshot a; Read-FleeceSnapshot b } | Export-Backup ./b.raw'
            Id = 'ChunkOfAnotherSnapshot,Fleece.ExportFleeceBackupCommand' }
        @{ Command = 'Read-FleeceSnapshot a -LengthBytes 64KB | Export-Backup ./new/'; Id = 'BackupIncomplete,Fleece.ExportFleeceBackupCommand' }
        @{ Command = '& { Read-FleeceSnapshot a; Read-FleeceSnapshot a } | Export-Backup ./new/'
            Id = 'BackupIncomplete,Fleece.ExportFleeceBackupCommand' }
        @{ Command = 'Read-FleeceSnapshot a | Export-Backup -Stream ([IO.MemoryStream]::new()) -Verify'
            Id = 'ArgumentInvalid,Fleece.ExportFleeceBackupCommand' }
        @{ Command = 'Read-FleeceSnapshot a | Export-Backup ./new/ -NoManifest'; Id = 'ArgumentInvalid,Fleece.ExportFleeceBackupCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf: <Command>' -ForEach @(
        @{ Command = 'Read-FleeceSnapshot a -DiscardConsumed | Export-Backup ./b.raw -WhatIf' }
        @{ Command = 'Read-FleeceSnapshot a -DiscardConsumed | Export-Backup -DestinationUri "nbd://localhost:1/b" -WhatIf' }
    ) { Assert-ChangesNothing $Command }
}

Describe 'An export to a <_> file that is killed while it consumes' -Skip:($IsWindows) -ForEach 'Qcow2', 'Vhd', 'Vhdx' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 8MB
        New-MountedDisk -SizeBytes 8MB -Data $old
        $null = Publish-FleeceExport vm -ListenUri (Get-SocketUri '')
        $null = Start-FleeceSession vm -Name night
    }
    AfterEach { Exit-TestFolder }

    It 'leaves what it consumed in the partial file, and the rest of the snapshot completes it' {
        $process = Start-ScriptProcess @'
param($Module, $Uri, $Format)
Import-Module $Module
Read-FleeceSnapshot -Uri $Uri -DiscardConsumed -ChunkSizeBytes 64KB | ForEach-Object {
    if ($_.OffsetBytes -eq 6MB) { $null = New-Item ready; Start-Sleep 3600 }
    $_
} | Export-FleeceBackup ./b.img -Format $Format -NoManifest
'@ ((Get-SocketUri vm/night "$PWD/vm.sock"), $_)
        while ((Get-FleeceSession night).ConsumedBytes -lt 4MB) { Start-Sleep -Milliseconds 20 }
        $process.Kill()
        $process.WaitForExit()
        Write-FleeceDisk vm 0 ([byte[]]::new(8MB))
        (Get-FleeceSession night).ConsumedBytes | Should -BeGreaterOrEqual 4MB
        './b.img.partial.fleece-journal' | Should -Exist
        { Read-FleeceSnapshot vm/night | Export-FleeceBackup ./b.img -Format Raw } |
            Should -Throw '*Test-FleeceImage*' -ErrorId 'ImageAlreadyExists,*'

        (Test-FleeceImage ./b.img.partial -Format $_).CorruptionCount | Should -Be 0
        $null = Mount-FleeceDisk ./b.img.partial -Name half -Format $_ -ListenUri (Get-SocketUri '' half.sock)
        $null = Read-FleeceSnapshot vm/night -DiscardConsumed | Export-FleeceBackup -DestinationUri (Get-SocketUri half half.sock)
        Dismount-FleeceDisk half
        Rename-Item ./b.img.partial b.img

        './b.img.partial*' | Should -Not -Exist
        $null = Convert-FleeceImage ./b.img -SourceFormat $_ -DestinationPath ./b.raw
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")) $old | Should -BeTrue
    }
}

Describe 'An export that was killed before it consumed anything' -Skip:($IsWindows) {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 4MB
        New-MountedDisk -SizeBytes 4MB -Data $old
        $null = Publish-FleeceExport vm -ListenUri (Get-SocketUri '')
        $null = Start-FleeceSession vm -Name night
        $script:process = Start-ScriptProcess @'
param($Module, $Uri)
Import-Module $Module
Read-FleeceSnapshot -Uri $Uri -ChunkSizeBytes 64KB | ForEach-Object {
    if ($_.OffsetBytes -eq 2MB) { $null = New-Item ready; Start-Sleep 3600 }
    $_
} | Export-FleeceBackup ./b.raw
'@ (Get-SocketUri vm/night "$PWD/vm.sock")
    }
    AfterEach {
        if (-not $process.HasExited) { $process.Kill(); $process.WaitForExit() }
        Exit-TestFolder
    }

    It 'is begun anew by the same command and by another job, with a warning, and not while it runs' {
        { Read-FleeceSnapshot vm/night | Export-FleeceBackup ./b.raw } | Should -Throw -ErrorId 'ImageInUse,*'
        $process.Kill()
        $process.WaitForExit()
        $null = New-Item ./copy -ItemType Directory
        Copy-Item ./b.raw.* ./copy

        $null = Read-FleeceSnapshot vm/night | Export-FleeceBackup ./b.raw -WarningVariable told -WarningAction SilentlyContinue
        $null = Convert-FleeceImage ./b.raw ./copy/b.raw -WarningVariable toldAgain -WarningAction SilentlyContinue

        "$told" | Should -BeLike "*b.raw.partial' was left by a job that was killed*"
        "$toldAgain" | Should -BeLike "*b.raw.partial' was left by a job that was killed*"
        (Get-ChildItem b.raw*).Name | Should -Be 'b.raw', 'b.raw.json'
        (Get-ChildItem copy).Name | Should -Be 'b.raw'
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/copy/b.raw")) $old | Should -BeTrue
    }

    It 'stays where its partial file was mounted meanwhile, which may hold all that is consumed since' {
        $process.Kill()
        $process.WaitForExit()
        $null = Mount-FleeceDisk ./b.raw.partial -Name half -Format Raw -ListenUri (Get-SocketUri '' half.sock)
        $null = Read-FleeceSnapshot vm/night -DiscardConsumed | Export-FleeceBackup -DestinationUri (Get-SocketUri half half.sock)
        Dismount-FleeceDisk half
        $null = Start-FleeceSession vm -Name later

        { Read-FleeceSnapshot vm/later | Export-FleeceBackup ./b.raw } |
            Should -Throw '*about_Fleece*' -ErrorId 'ImageAlreadyExists,*'

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw.partial")) $old | Should -BeTrue
    }
}
