# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # A device is longer than the image that lies on it.
    function New-Device([string] $Format) {
        $null = New-FleeceImage "./dev.$Format" 4MB
        $file = [IO.File]::OpenWrite("$PWD/dev.$Format")
        $file.SetLength(64MB)
        $file.Dispose()
    }

    function Start-Nbdkit([string] $File) {
        $script:nbdkit = Start-NbdkitProcess "$PWD/k.sock" 'file', "$PWD/$File"
        "nbd+unix:///?socket=$PWD/k.sock"
    }

    function Stop-Nbdkit {
        Get-FleeceDisk | Dismount-FleeceDisk -Force
        $nbdkit.Kill()
        $nbdkit.WaitForExit()
    }

    function Mount-Image([string] $Format) {
        Mount-FleeceDisk $uri -Name vm -Format $Format -WarningAction Ignore
    }
}

Describe 'An image on an export' -Skip:(-not (Get-Command nbdkit -CommandType Application -ErrorAction Ignore)) {
    BeforeEach { Enter-TestFolder }
    AfterEach {
        Stop-Nbdkit
        Exit-TestFolder
    }

    It 'is a disk with sessions: <Format>' -ForEach @(@{ Format = 'qcow2' }, @{ Format = 'vhdx' }, @{ Format = 'vhd' }) {
        New-Device $Format
        $uri = Start-Nbdkit "dev.$Format"
        $disk = Mount-Image $Format
        $before = Get-RandomData 4MB
        Write-FleeceDisk vm 0 $before

        $null = Start-FleeceSession vm -Name night -TempPath .
        Write-FleeceDisk vm 1MB (Get-RandomData 2MB 9)
        Read-FleeceSnapshot night | Export-FleeceBackup ./backup.raw | Out-Null
        Stop-FleeceSession night

        "$($disk.Format)", $disk.SizeBytes, $disk.Path | Should -Be $Format, 4MB, $uri
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/backup.raw")) $before | Should -BeTrue
        Dismount-FleeceDisk vm
        (Test-FleeceImage $uri -Format $Format).IsClean | Should -BeTrue
        $null = Mount-Image $Format
        Test-SameData (Read-FleeceDisk vm 1MB 2MB) (Get-RandomData 2MB 9) | Should -BeTrue
    }

    It 'is described, compared and converted' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Mount-Image qcow2
        Write-FleeceDisk vm 0 (Get-RandomData 1MB)
        Dismount-FleeceDisk vm

        $image = Get-FleeceImage $uri -Format Qcow2
        $copy = Convert-FleeceImage $uri ./copy.vhdx -SourceFormat Qcow2

        "$($image.Format)", $image.SizeBytes, $image.FileSizeBytes, $image.Path | Should -Be Qcow2, 4MB, 64MB, $uri
        $copy.SizeBytes | Should -Be 4MB
        (Compare-FleeceImage $uri ./copy.vhdx -Format Qcow2).AreEqual | Should -BeTrue
    }

    It 'is a raw disk where no format is named, which is said' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2

        $disk = Mount-FleeceDisk $uri -Name vm -WarningVariable warnings -WarningAction Ignore

        $disk.SizeBytes | Should -Be 64MB
        "$warnings" | Should -BeLike '*begins like a Qcow2 image*-Format Qcow2*'
        Dismount-FleeceDisk vm
        $null = Mount-FleeceDisk $uri -Name vm -Format Raw -WarningVariable warnings -WarningAction Ignore
        "$warnings" | Should -Not -BeLike '*begins like*'
    }

    It 'keeps bitmaps where its format has room for them: <Format>' -ForEach @(
        @{ Format = 'qcow2'; Keeps = $true }, @{ Format = 'vhdx'; Keeps = $false }
    ) {
        New-Device $Format
        $uri = Start-Nbdkit "dev.$Format"
        $null = Mount-Image $Format
        $bitmap = New-FleeceBitmap vm daily -WarningAction Ignore
        Write-FleeceDisk vm 0 (Get-RandomData 128KB)
        Dismount-FleeceDisk vm
        $null = Mount-Image $Format

        $bitmap.IsPersistent | Should -Be $Keeps
        @(Get-FleeceBitmap vm | ForEach-Object DirtyBytes) | Should -Be ($Keeps ? @(128KB) : @())
    }

    It 'is not checked without its format' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2

        { Test-FleeceImage $uri -ErrorAction Stop } | Should -Throw -ErrorId 'ImageFormatAmbiguous,*'
    }

    It 'is repaired' -Skip:(-not (Get-Command qemu-img -CommandType Application -ErrorAction Ignore)) {
        New-Device qcow2
        # A refcount of the last cluster that the first block counts: a leak far behind the image.
        $file = [IO.File]::Open("$PWD/dev.qcow2", 'Open')
        $file.Position = 131072 + 2 * 20
        $file.Write([byte[]] (0, 1))
        $file.Dispose()
        $uri = Start-Nbdkit dev.qcow2

        $found = Test-FleeceImage $uri -Format Qcow2
        $repaired = Test-FleeceImage $uri -Format Qcow2 -Repair Leaks -Force

        $found.LeakCount, $repaired.RepairedLeakCount | Should -Be 1, 1
        $null = qemu-img check -q -f qcow2 ./dev.qcow2
        $LASTEXITCODE | Should -Be 0
    }

    It 'has one writer, in whatever spelling of its address' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Mount-Image qcow2
        Write-FleeceDisk vm 0 (Get-RandomData 1MB)
        New-MountedDisk -Name other
        $spelled = $uri -replace '/k\.sock', '/./k.sock'

        { Mount-FleeceDisk $spelled -Name b -Format Qcow2 -ErrorAction Stop } | Should -Throw '*vm*' -ErrorId 'ImageInUse,*'
        { Mount-FleeceDisk $spelled -Name b -Format Qcow2 -ReadOnly -ErrorAction Stop } | Should -Throw -ErrorId 'ImageInUse,*'
        { Mount-FleeceDisk $spelled -Name b -Format Raw -ErrorAction Stop } | Should -Throw -ErrorId 'ImageInUse,*'
        { Start-FleeceSession other -Name second -TempPath $spelled -ErrorAction Stop } | Should -Throw '*vm*' -ErrorId 'ImageInUse,*'
        { Start-FleeceSession vm -TempPath $spelled -ErrorAction Stop } | Should -Throw -ErrorId 'TempIsDisk,*'

        Dismount-FleeceDisk vm
        (Test-FleeceImage $uri -Format Qcow2).IsClean | Should -BeTrue
        $null = Mount-Image qcow2
        Test-SameData (Read-FleeceDisk vm 0 1MB) (Get-RandomData 1MB) | Should -BeTrue
    }

    It 'is not written over while it is mounted' {
        Skip-ThroughHost 'a host and the shells that use it do not know of each other''s exports'
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Mount-Image qcow2
        New-MountedDisk -Name other
        $null = Backup-FleeceDisk other ./backups
        $null = Start-FleeceSession other -Name night -TempPath .
        $spelled = $uri -replace '/k\.sock', '/./k.sock'
        $before = (Get-FileHash ./dev.qcow2).Hash

        { Read-FleeceSnapshot night | Export-FleeceBackup -DestinationUri $spelled -Force -ErrorAction Stop } |
            Should -Throw '*vm*' -ErrorId 'ImageInUse,*'
        { Restore-FleeceBackup ./backups -DestinationUri $spelled -Force -ErrorAction Stop } |
            Should -Throw '*vm*' -ErrorId 'ImageInUse,*'
        { Test-FleeceImage $spelled -Format Qcow2 -ErrorAction Stop } | Should -Throw '*vm*' -ErrorId 'ImageInUse,*'
        { Test-FleeceImage $spelled -Format Qcow2 -Repair Leaks -Force -ErrorAction Stop } | Should -Throw '*vm*' -ErrorId 'ImageInUse,*'

        (Get-FileHash ./dev.qcow2).Hash | Should -Be $before
    }

    It 'lies on an export of this process as well' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Mount-FleeceDisk $uri -Name holder -Format Raw -ListenUri 'nbd+unix:///?socket=./h.sock' -WarningAction Ignore
        $null = Mount-FleeceDisk 'nbd+unix:///holder?socket=./h.sock' -Name vm -Format Qcow2 -WarningAction Ignore

        Write-FleeceDisk vm 0 (Get-RandomData 4MB)

        Test-SameData (Read-FleeceDisk vm 0 4MB) (Get-RandomData 4MB) | Should -BeTrue
        Dismount-FleeceDisk vm
    }

    It 'goes through pipelines with its address and its format' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Get-FleeceImage $uri -Format Qcow2 | Mount-FleeceDisk -Name vm -WarningAction Ignore
        Write-FleeceDisk vm 0 (Get-RandomData 1MB)
        Dismount-FleeceDisk vm

        (Get-FleeceImage $uri -Format Qcow2 | Convert-FleeceImage -DestinationPath ./copy.vhd -Format Vhd).SizeBytes | Should -Be 4MB
        (Test-FleeceImage $uri -Format Qcow2 | Test-FleeceImage -Repair Leaks).IsClean | Should -BeTrue
        (Get-FleeceImage $uri -Format Qcow2 | Compare-FleeceImage -DifferencePath ./copy.vhd).AreEqual | Should -BeTrue
    }

    It 'says of a wrong format what lies there' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2

        $said = { Mount-FleeceDisk $uri -Name vm -Format Vhdx -ErrorAction Stop } |
            Should -Throw -ErrorId 'ImageWrongFormat,*' -PassThru

        "$said" | Should -BeLike '*begins like a Qcow2 image*'
        "$said" | Should -Not -BeLike '*leave it out*'
    }

    It 'needs the footer of a fixed VHD at the end of the export' {
        $null = New-FleeceImage ./dev.vhd 4MB -Fixed
        $file = [IO.File]::OpenWrite("$PWD/dev.vhd")
        $file.SetLength(8MB)
        $file.Dispose()
        $uri = Start-Nbdkit dev.vhd

        { Mount-FleeceDisk $uri -Name vm -Format Vhd -ErrorAction Stop } | Should -Throw "*must be at the export's end*"
    }

    It 'is not checked as a raw disk' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2

        { Test-FleeceImage $uri -Format Raw -ErrorAction Stop } | Should -Throw '*named as a raw disk*' -ErrorId 'ArgumentInvalid,*'
    }

    It 'has a full backup first after each mount, and the warning says why' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Mount-Image qcow2
        $null = Backup-FleeceDisk vm ./backups -TempPath .
        (Backup-FleeceDisk vm ./backups -TempPath .).Point.Kind | Should -Be Incremental
        Dismount-FleeceDisk vm
        $null = Mount-Image qcow2

        (Backup-FleeceDisk vm ./backups -TempPath . -WarningVariable said -WarningAction Ignore).Point.Kind | Should -Be Full

        "$said" | Should -BeLike '*an image on an export keeps the bitmap and not the backup*'
    }

    It 'of a live disk is to be copied out of a snapshot' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Mount-FleeceDisk $uri -Name holder -Format Raw -ListenUri 'nbd+unix:///?socket=./h.sock' -WarningAction Ignore
        $null = Mount-FleeceDisk 'nbd+unix:///holder?socket=./h.sock' -Name vm -Format Qcow2 -WarningAction Ignore

        { Start-FleeceSession vm -TempPath . -ErrorAction Stop } |
            Should -Throw '*Convert-FleeceImage*holder/SESSION*-SourceFormat Qcow2*' -ErrorId 'DiskShared,*'
        Dismount-FleeceDisk vm
    }

    It 'is mounted read-only with a warning where the export can only be read' {
        New-Device qcow2
        $uri = Start-Nbdkit dev.qcow2
        $null = Mount-FleeceDisk $uri -Name holder -Format Raw -ReadOnly -ListenUri 'nbd+unix:///?socket=./h.sock'

        $disk = Mount-FleeceDisk 'nbd+unix:///holder?socket=./h.sock' -Name vm -Format Qcow2 -WarningVariable said -WarningAction Ignore

        $disk.IsReadOnly | Should -BeTrue
        "$said" | Should -BeLike '*can only be read*'
        Dismount-FleeceDisk vm
        $null = Mount-FleeceDisk 'nbd+unix:///holder?socket=./h.sock' -Name vm -Format Qcow2 -ReadOnly -WarningVariable said
        "$said" | Should -Not -BeLike '*can only be read*'
        Dismount-FleeceDisk vm
    }

    It 'says at the dismount what may be lost when the server has stopped' {
        New-Device qcow2
        Set-Content ./server.sh @"
#!/bin/sh
case `$1 in
  get_size) echo 67108864 ;;
  pread) tail -c +`$((`$4 + 1)) '$PWD/dev.qcow2' | head -c `$3 ;;
  pwrite) dd of='$PWD/dev.qcow2' conv=notrunc oflag=seek_bytes seek=`$4 status=none ;;
  can_write | can_flush) exit 0 ;;
  flush) [ ! -e '$PWD/stopping' ] || { echo ESHUTDOWN >&2; exit 1; } ;;
  *) exit 2 ;;
esac
"@
        chmod +x ./server.sh
        $script:nbdkit = Start-NbdkitProcess "$PWD/k.sock" 'sh', "$PWD/server.sh"
        $uri = "nbd+unix:///?socket=$PWD/k.sock"
        $null = Mount-Image qcow2
        Write-FleeceDisk vm 0 (Get-RandomData 64KB)
        $null = New-Item ./stopping

        { Dismount-FleeceDisk vm -ErrorAction Stop } | Should -Throw '*may have lost what was written*Test-FleeceImage*mount it*'

        Get-FleeceDisk | Should -BeNullOrEmpty
    }
}
