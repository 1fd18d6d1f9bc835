# SPDX-License-Identifier: MIT
# Matter: disks whose length is no multiple of a sector, and exports with large blocks.

BeforeDiscovery {
    foreach ($tool in 'nbdkit', 'nbdcopy', 'qemu-img') {
        $found = [bool] (Get-Command $tool -CommandType Application -ErrorAction Ignore)
        Set-Variable "has$($tool -replace '\W')" $found -Scope Script
        if (-not $found) { Write-Warning "$tool is not installed: what needs it is skipped." }
    }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # The length of a file or an export, and that of the disk in it.
    $script:oddBytes = 1001001
    $script:wholeBytes = 1001472
    $script:lastSector = $wholeBytes - 512

    # The disk's content, as a file of whole sectors for programs to compare with.
    function New-OddFile([string] $Name = 'odd.raw') {
        $script:content = (Get-RandomData $oddBytes) + [byte[]]::new($wholeBytes - $oddBytes)
        [IO.File]::WriteAllBytes("$PWD/$Name", $content[0..($oddBytes - 1)])
        [IO.File]::WriteAllBytes("$PWD/whole.raw", $content)
    }

    # An export of nbdkit; Stop-Servers ends all of them.
    function Start-Server([string[]] $Arguments) {
        $socket = "$PWD/server$($script:servers.Count).sock"
        $script:servers += Start-NbdkitProcess $socket $Arguments
        "nbd+unix:///?socket=$socket"
    }

    function Stop-Servers {
        $script:servers | Where-Object { -not $_.HasExited } | Stop-Process
        $script:servers = @()
    }

    function Start-OddServer {
        $uri = Start-Server 'memory', "$oddBytes"
        $null = Mount-FleeceDisk $uri -Name fill -WarningAction SilentlyContinue
        Write-FleeceDisk fill 0 $content
        Dismount-FleeceDisk fill
        $uri
    }

    function Start-BlockServer([string] $Size = '8M') {
        Start-Server '--filter=blocksize-policy', 'memory', $Size, 'blocksize-minimum=64K', 'blocksize-preferred=64K'
    }

    function Get-FailureId([scriptblock] $Action) {
        try { $null = & $Action } catch { return $_.FullyQualifiedErrorId -replace ',.*' }
    }

    function Read-Everything([string] $Path) { , [IO.File]::ReadAllBytes((Convert-Path $Path)) }
}

Describe 'A raw file whose length is no multiple of 512' {
    BeforeEach {
        Enter-TestFolder
        New-OddFile
    }
    AfterEach { Exit-TestFolder }

    It 'is a disk of whole sectors, and its mount says so' {
        $disk = Mount-FleeceDisk ./odd.raw -WarningVariable warnings -WarningAction SilentlyContinue

        $disk.SizeBytes | Should -Be $wholeBytes
        $warnings | Should -HaveCount 1
        "$warnings" | Should -BeLike "*has $oddBytes bytes*the disk has $wholeBytes*the file grows*"
        Test-SameData (Read-FleeceDisk odd 0 $wholeBytes) $content | Should -BeTrue
        Dismount-FleeceDisk odd
        (Get-FleeceImage ./odd.raw).SizeBytes, (Get-Item ./odd.raw).Length | Should -Be $wholeBytes, $oddBytes
        (Test-FleeceImage ./odd.raw).IsClean | Should -BeTrue
    }

    It 'keeps what a guest writes to the end of its last sector, and a session what was there' {
        $null = Mount-FleeceDisk ./odd.raw -WarningAction SilentlyContinue
        $null = Start-FleeceSession odd
        Write-FleeceDisk odd $lastSector ([byte[]] (, 9 * 512))

        $backup = Read-FleeceSnapshot odd | Export-FleeceBackup ./old.raw
        Dismount-FleeceDisk odd -Force

        $backup.SizeBytes | Should -Be $wholeBytes
        Test-SameData (Read-Everything ./old.raw) $content | Should -BeTrue
        $new = Read-Everything ./odd.raw
        $new.Length | Should -Be $wholeBytes
        Test-SameData $new[$lastSector..($wholeBytes - 1)] ([byte[]] (, 9 * 512)) | Should -BeTrue
    }

    It 'becomes <_> with all of its sectors' -ForEach 'raw', 'qcow2', 'vhd', 'vhdx' {
        $image = Convert-FleeceImage ./odd.raw "./copy.$_"

        $image.SizeBytes | Should -Be $wholeBytes
        (Compare-FleeceImage ./odd.raw "./copy.$_").AreEqual | Should -BeTrue
        (Compare-FleeceImage "./copy.$_" ./whole.raw).AreEqual | Should -BeTrue
    }

    It 'becomes what qemu-img makes of it' -Skip:(-not $hasqemuimg) {
        $null = Convert-FleeceImage ./odd.raw ./copy.qcow2

        qemu-img convert -f raw -O raw odd.raw theirs.raw
        qemu-img compare -f raw -F qcow2 theirs.raw copy.qcow2 | Should -Be 'Images are identical.'
    }

    It 'is backed up, changed, backed up and restored, also after a new mount' {
        $null = Mount-FleeceDisk ./odd.raw -WarningAction SilentlyContinue
        $null = Backup-FleeceDisk odd ./backups -Verify
        Write-FleeceDisk odd ($wholeBytes - 1) ([byte[]] (, 7))
        Dismount-FleeceDisk odd
        $null = Mount-FleeceDisk ./odd.raw

        $backup = Backup-FleeceDisk odd ./backups -Verify
        Dismount-FleeceDisk odd

        $backup.Point.Kind | Should -Be Incremental
        $backup.DataBytes | Should -BeLessThan 64KB
        (Test-FleeceBackup ./backups -Deep).IsGood | Should -Be $true, $true
        $null = Restore-FleeceBackup ./backups ./restored.raw
        (Compare-FleeceImage ./restored.raw ./odd.raw).AreEqual | Should -BeTrue
    }

    It 'is served with whole sectors' -Skip:(-not ($hasqemuimg -and $hasnbdcopy)) {
        $null = Mount-FleeceDisk ./odd.raw -ListenUri 'nbd+unix:///?socket=odd.sock' -WarningAction SilentlyContinue
        $uri = "nbd+unix:///odd?socket=$PWD/odd.sock"

        nbdcopy $uri copied.raw
        qemu-img convert -f raw -O raw $uri converted.raw

        Test-SameData (Read-Everything ./copied.raw) $content | Should -BeTrue
        Test-SameData (Read-Everything ./converted.raw) $content | Should -BeTrue
    }

    It 'may be a temp image' {
        New-MountedDisk -SizeBytes $wholeBytes -Data (Get-RandomData $wholeBytes 8)
        $null = Start-FleeceSession vm -TempPath ./odd.raw
        Write-FleeceDisk vm 0 ([byte[]]::new($wholeBytes))

        $null = Read-FleeceSnapshot vm | Export-FleeceBackup ./old.raw

        Test-SameData (Read-Everything ./old.raw) (Get-RandomData $wholeBytes 8) | Should -BeTrue
    }

    It 'may have one byte, and not none' {
        [IO.File]::WriteAllBytes("$PWD/one.raw", [byte[]] (, 5))
        [IO.File]::WriteAllBytes("$PWD/none.raw", [byte[]]::new(0))
        $null = Mount-FleeceDisk ./one.raw -WarningAction SilentlyContinue

        (Get-FleeceDisk one).SizeBytes | Should -Be 512
        (Read-FleeceDisk one 0 3) | Should -Be 5, 0, 0
        Get-FailureId { Mount-FleeceDisk ./none.raw -ErrorAction Stop } | Should -Be ImageEmpty
    }
}

Describe 'An export whose length is no multiple of 512' -Skip:(-not $hasnbdkit) {
    BeforeEach {
        Enter-TestFolder
        New-OddFile
        $script:servers = @()
        $script:uri = Start-OddServer
        $null = Mount-FleeceDisk $uri -Name vm -WarningVariable script:warnings -WarningAction SilentlyContinue
    }
    AfterEach {
        Exit-TestFolder
        Stop-Servers
    }

    It 'is a disk of whole sectors, and its mount says so' {
        (Get-FleeceDisk vm).SizeBytes | Should -Be $wholeBytes
        "$warnings" | Should -BeLike "*has $oddBytes bytes*the disk has $wholeBytes*Only zeros can be written there*"
        Test-SameData (Read-FleeceDisk vm 0 $wholeBytes) $content | Should -BeTrue
    }

    It 'takes zeros for what it has no room for, and refuses anything else' {
        $sector = [byte[]]::new(512)
        Write-FleeceDisk vm $lastSector $sector
        $sector[511] = 1

        Get-FailureId { Write-FleeceDisk vm $lastSector $sector -ErrorAction Stop } | Should -Be StorageFull

        Test-SameData (Read-FleeceDisk vm $lastSector 512) ([byte[]]::new(512)) | Should -BeTrue
    }

    It 'has sessions with old data in <Case>' -ForEach @(
        @{ Case = 'a folder'; Temp = { (New-Item temp -ItemType Directory).FullName } }
        @{ Case = 'a new file'; Temp = { './temp.raw' } }
        @{ Case = 'a raw image'; Temp = { (New-FleeceImage ./temp.raw -SizeBytes 2MB).Path } }
        @{ Case = 'a qcow2 image'; Temp = { (New-FleeceImage ./temp.qcow2 -SizeBytes 2MB).Path } }
        @{ Case = 'a raw file as long as the export'; Temp = { './odd.raw' } }
        @{ Case = 'another export of the same length'; Temp = { Start-Server 'memory', "$oddBytes" } }
        @{ Case = 'an export with larger blocks'; Temp = { Start-BlockServer } }
    ) {
        $null = Start-FleeceSession vm -TempPath (& $Temp)
        Write-FleeceDisk vm 0 ([byte[]]::new($wholeBytes))

        $null = Read-FleeceSnapshot vm | Export-FleeceBackup ./old.raw

        Test-SameData (Read-Everything ./old.raw) $content | Should -BeTrue
    }

    It 'names temp files in a folder after the disk' {
        $null = Start-FleeceSession vm -Name nightly -TempPath (New-Item temp -ItemType Directory).FullName

        (Get-ChildItem temp).Name | Should -BeLike 'vm.nightly.*.fleece-temp'
    }

    It 'is no temp image for a disk that has data behind its end' {
        Convert-FleeceImage ./whole.raw ./full.raw | Mount-FleeceDisk
        $short = Start-Server 'memory', "$oddBytes"

        Get-FailureId { Start-FleeceSession full -TempPath $short } | Should -Be TempTooSmall
    }

    It 'is backed up, incremented, and restored to an export as short' {
        $null = New-Item temp -ItemType Directory
        $null = Backup-FleeceDisk vm ./backups -TempPath ./temp -Verify
        Write-FleeceDisk vm 0 ([byte[]] (1, 2, 3))
        $null = Backup-FleeceDisk vm ./backups -TempPath ./temp -Verify
        $short = Start-Server 'memory', "$oddBytes"

        $null = Restore-FleeceBackup ./backups -DestinationUri $short -Force

        (Get-FleeceBackup ./backups).Kind | Should -Be Full, Incremental
        (Compare-FleeceImage $short $uri).AreEqual | Should -BeTrue
    }

    It 'is exported to <_>' -ForEach 'raw', 'qcow2', 'vhd', 'vhdx' {
        $backup = Read-FleeceSnapshot -Uri $uri | Export-FleeceBackup "./copy.$_"

        $backup.SizeBytes | Should -Be $wholeBytes
        (Compare-FleeceImage "./copy.$_" ./whole.raw).AreEqual | Should -BeTrue
    }

    It 'is exported to a stream' {
        $stream = [IO.File]::Create("$PWD/copy.raw")
        $null = Read-FleeceSnapshot -Uri $uri | Export-FleeceBackup -Stream $stream
        $stream.Dispose()

        Test-SameData (Read-Everything ./copy.raw) $content | Should -BeTrue
    }

    It 'is exported to another export of its length' {
        $other = Start-Server 'memory', "$oddBytes"

        $null = Read-FleeceSnapshot -Uri $uri | Export-FleeceBackup -DestinationUri $other -Verify

        (Compare-FleeceImage $other ./whole.raw).AreEqual | Should -BeTrue
    }

    It 'is read from within its last sector to the end of it' {
        $chunks = @(Read-FleeceSnapshot -Uri $uri -OffsetBytes $oddBytes)

        ($chunks.OffsetBytes, $chunks.LengthBytes, $chunks.IsZero) | Should -Be $oddBytes, ($wholeBytes - $oddBytes), $true
        $chunks | ForEach-Object Dispose
    }

    It 'looks as it does to qemu-img' -Skip:(-not $hasqemuimg) {
        qemu-img convert -f raw -O raw $uri theirs.raw

        $null = Convert-FleeceImage $uri ./ours.raw

        Test-SameData (Read-Everything ./ours.raw) (Read-Everything ./theirs.raw) | Should -BeTrue
    }
}

Describe 'An export with a minimum block of 64 KiB' -Skip:(-not $hasnbdkit) {
    BeforeEach {
        Enter-TestFolder
        $script:servers = @()
        $script:data = Get-RandomData 2MB
        $script:uri = Start-BlockServer
        $null = Mount-FleeceDisk $uri -Name vm
        Write-FleeceDisk vm 0 $data
        $null = New-Item temp -ItemType Directory
    }
    AfterEach {
        Exit-TestFolder
        Stop-Servers
    }

    It 'has sessions with granules as large as its blocks' {
        $session = Start-FleeceSession vm -TempPath ./temp
        Write-FleeceDisk vm 1MB ([byte[]]::new(64KB))

        $session.GranuleSizeBytes | Should -Be 64KB
        $null = Read-FleeceSnapshot vm | Export-FleeceBackup ./old.raw
        Test-SameData (Read-Everything ./old.raw)[0..(2MB - 1)] $data | Should -BeTrue
    }

    It 'refuses a granule that is smaller' {
        Get-FailureId { Start-FleeceSession vm -TempPath ./temp -GranuleSizeBytes 4KB } | Should -Be ArgumentInvalid
        Get-FailureId { Backup-FleeceDisk vm ./backups -TempPath ./temp -GranuleSizeBytes 4KB -ErrorAction Stop } |
            Should -Be ArgumentInvalid
    }

    It 'is backed up with the granule it needs, and with a larger one' {
        $null = Backup-FleeceDisk vm ./backups -TempPath ./temp -Verify
        Write-FleeceDisk vm 64KB ([byte[]] (, 1 * 64KB))

        $backup = Backup-FleeceDisk vm ./backups -TempPath ./temp -GranuleSizeBytes 128KB -Verify

        $backup.DataBytes | Should -Be 128KB
        (Test-FleeceBackup ./backups -Deep).IsGood | Should -Be $true, $true
        (Compare-FleeceImage (Restore-FleeceBackup ./backups ./restored.raw).Path $uri).AreEqual | Should -BeTrue
    }

    It 'has bitmaps that are finer than its blocks' {
        $null = New-FleeceBitmap vm fine -GranularityBytes 4KB
        $session = Start-FleeceSession vm -Bitmap fine -TempPath ./temp
        Stop-FleeceSession $session -Success
        Write-FleeceDisk vm 128KB ([byte[]] (, 1 * 64KB))
        $null = Start-FleeceSession vm -Bitmap fine -TempPath ./temp

        $chunks = @(Read-FleeceSnapshot vm -ChunkSizeBytes 64KB)

        $chunks.OffsetBytes | Should -Be 128KB
        $chunks.LengthBytes | Should -Be 64KB
        $chunks | ForEach-Object Dispose
    }

    It 'takes the old data of a disk that ends within a block' {
        $size = 1MB + 512
        New-MountedDisk -Name small -SizeBytes $size -Data (Get-RandomData $size)
        $session = Start-FleeceSession small -TempPath (Start-BlockServer)
        Write-FleeceDisk small 0 ([byte[]]::new($size))

        $session.GranuleSizeBytes | Should -Be 64KB
        $null = Read-FleeceSnapshot small | Export-FleeceBackup ./old.raw
        Test-SameData (Read-Everything ./old.raw) (Get-RandomData $size) | Should -BeTrue
    }

    It 'takes a backup with runs of any length, and a restored one' {
        Dismount-FleeceDisk vm
        New-MountedDisk -Name small -SizeBytes (1MB + 512) -Data (Get-RandomData 100KB)
        Write-FleeceDisk small (1MB - 4KB) (Get-RandomData 4KB)
        $null = Start-FleeceSession small
        $null = Read-FleeceSnapshot small -ChunkSizeBytes 64KB | Export-FleeceBackup -DestinationUri $uri -Verify
        Dismount-FleeceDisk small -Force
        $other = Start-BlockServer

        $null = Mount-FleeceDisk ./small.raw
        $null = Backup-FleeceDisk small ./backups
        Dismount-FleeceDisk small
        $null = Restore-FleeceBackup ./backups -DestinationUri $other -Force

        (Compare-FleeceImage $other ./small.raw).AreEqual | Should -BeTrue
        $differs = (Compare-FleeceImage $uri ./small.raw).OffsetBytes
        $differs | Should -BeGreaterOrEqual (1MB + 512) -Because 'what lies behind the disk stays as it was'
    }
}
