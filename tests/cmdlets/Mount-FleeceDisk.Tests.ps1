# SPDX-License-Identifier: MIT
BeforeDiscovery {
    $script:hasFlock = [bool] (Get-Command flock -CommandType Application -ErrorAction Ignore)
    if (-not $hasFlock) { Write-Warning 'flock is not installed: what needs it is skipped.' }
    $script:hasNbdinfo = [bool] (Get-Command nbdinfo -CommandType Application -ErrorAction Ignore)
    if (-not $hasNbdinfo) { Write-Warning 'nbdinfo is not installed: what needs it is skipped.' }
    $script:hasQemuIo = [bool] (Get-Command qemu-io -CommandType Application -ErrorAction Ignore)
    if (-not $hasQemuIo) { Write-Warning 'qemu-io is not installed: what needs it is skipped.' }
    $script:hasQemuImg = [bool] (Get-Command qemu-img -CommandType Application -ErrorAction Ignore)
    if (-not $hasQemuImg) { Write-Warning 'qemu-img is not installed: what needs it is skipped.' }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'The advice about a data file in another folder' {
    BeforeEach {
        Enter-TestFolder
        $null = New-Item ./other, ./sub -ItemType Directory
        $null = New-FleeceImage ./good.raw 1MB
        $null = Mount-FleeceDisk ./good.raw
    }
    AfterEach { Exit-TestFolder }

    It 'names the switch where there is one, and makes one file of both' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./other/a.raw -WarningAction SilentlyContinue

        (Get-OnlyError { Mount-FleeceDisk ./sub/a.qcow2 }).Exception.Message |
            Should -BeLike '*Convert-FleeceImage -AllowOutsideDataFile makes one file*'
        $null = Convert-FleeceImage -AllowOutsideDataFile ./sub/a.qcow2 ./one.qcow2 -WarningAction SilentlyContinue
        (Mount-FleeceDisk ./one.qcow2).SizeBytes | Should -Be 1MB
    }

    It 'leaves the conversion of a stranger''s image to its sender' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./sub/a.raw

        (Get-OnlyError { Mount-FleeceDisk ./sub/a.qcow2 -Untrusted }).Exception.Message |
            Should -BeLike '*let its sender make it one file*would copy the file that it names.'
    }

    It 'names the image when the data file is missing' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./sub/a.raw
        Remove-Item ./sub/a.raw

        $failure = Get-OnlyError { Mount-FleeceDisk ./sub/a.qcow2 }

        $failure.FullyQualifiedErrorId | Should -Be 'ImageNotFound,Fleece.MountFleeceDiskCommand'
        $failure.Exception.Message | Should -BeLike "'$PWD/sub/a.qcow2' has its data in '$PWD/sub/a.raw'*"
    }
}

Describe 'The advice about the name of a parent' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./base.raw 1MB
    }
    AfterEach { Exit-TestFolder }

    It 'is a whole command, which works, for <Name>' -Skip:(-not $hasQemuImg) -ForEach @(
        @{ Name = 'file:base.raw' }
        @{ Name = 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}' }
    ) {
        qemu-img create -q -u -f qcow2 -b $Name -F raw "top it's.qcow2" 1M
        qemu-img create -q -u -f qcow2 -b $Name -F raw top.qcow2 1M

        $message = (Get-OnlyError { Mount-FleeceDisk ./top.qcow2 }).Exception.Message

        $message -match '(qemu-img rebase -u .*), where FORMAT' | Should -BeTrue
        $command = $Matches[1].Replace('PATH', "$PWD/base.raw").Replace('FORMAT', 'raw')
        & ([scriptblock]::Create($command))
        (Mount-FleeceDisk ./top.qcow2).SizeBytes | Should -Be 1MB
        (Get-OnlyError { Mount-FleeceDisk "./top it's.qcow2" }).Exception.Message | Should -BeLike '* IMAGE, where FORMAT*'
    }

    It 'is a whole command, which works, where no format is recorded' -Skip:(-not $hasQemuImg) {
        qemu-img create -q -u -f qcow2 -b base.raw -F raw top.qcow2 1M
        $bytes = [IO.File]::ReadAllBytes("$PWD/top.qcow2")
        $at = [Convert]::ToHexString($bytes, 0, 512).IndexOf('E2792ACA') / 2
        $bytes[$at] = 0x77
        [IO.File]::WriteAllBytes("$PWD/top.qcow2", $bytes)

        $message = (Get-OnlyError { Mount-FleeceDisk ./top.qcow2 }).Exception.Message

        $message -match '(qemu-img rebase -u .*), where FORMAT' | Should -BeTrue
        & ([scriptblock]::Create($Matches[1].Replace('FORMAT', 'raw')))
        (Mount-FleeceDisk ./top.qcow2).SizeBytes | Should -Be 1MB
    }

    It 'is a copy by its owner, with QEMU, where the name means more than a file' -Skip:(-not $hasQemuImg) {
        $data = Get-RandomData 1MB
        [IO.File]::WriteAllBytes("$PWD/base.raw", $data)
        $name = "json:{`"driver`":`"raw`",`"offset`":65536,`"size`":524288,`"file`":{`"driver`":`"file`",`"filename`":`"$PWD/base.raw`"}}"
        qemu-img create -q -u -f qcow2 -b $name -F raw top.qcow2 512K

        $message = (Get-OnlyError { Mount-FleeceDisk ./top.qcow2 }).Exception.Message

        $message | Should -Not -Match 'rebase'
        $message -match '(qemu-img convert .* NEW), which' | Should -BeTrue
        & ([scriptblock]::Create($Matches[1].Replace('NEW', 'new.qcow2')))
        $null = Mount-FleeceDisk ./new.qcow2
        Test-SameData (Read-FleeceDisk new 0 512KB) $data[65536..(65536 + 524287)] | Should -BeTrue
    }
}

Describe 'A mounted snapshot of another Fleece' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is read-only, and can''t be consumed through the mount' {
        $null = New-FleeceImage ./vm.raw 1MB
        $null = Mount-FleeceDisk ./vm.raw -ListenUri "nbd+unix:///?socket=$PWD/s.sock"
        $null = Start-FleeceSession vm -Name night

        $disk = Mount-FleeceDisk "nbd+unix:///vm/night?socket=$PWD/s.sock" -Name snap

        $disk.IsReadOnly | Should -BeTrue
        { Write-FleeceDisk snap 0 ([byte[]] (1)) -ErrorAction Stop } | Should -Throw -ErrorId 'DiskReadOnly,*'
        Dismount-FleeceDisk snap
    }
}

Describe 'Objects that stand for files' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'go from New-FleeceImage into Mount-FleeceDisk' {
        (New-FleeceImage 'x[1].raw' -SizeBytes 1MB | Mount-FleeceDisk -Name x).Path | Should -BeLike '*x`[1`].raw'
    }
}

Describe 'Objects in the pipeline' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'files are mounted, although their names look like wildcards' {
        $null = New-FleeceImage 'x[1].raw' -SizeBytes 1MB

        (Get-ChildItem -LiteralPath 'x[1].raw' | Mount-FleeceDisk -Name x).Path | Should -BeLike '*x`[1`].raw'
    }
}

Describe 'A mount with addresses' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.raw -SizeBytes 4MB
        $script:old = Get-RandomData 1MB
        [IO.File]::WriteAllBytes("$PWD/data.raw", $old)
    }
    AfterEach { Exit-TestFolder }

    It 'publishes the disk at each of them' {
        $null = Mount-FleeceDisk ./vm.raw -ListenUri (Get-SocketUri), nbd://localhost:0

        (Get-FleeceExport vm).Count | Should -Be 2
    }

    It 'gives their sockets a mode and a group' -Skip:$IsWindows {
        $null = Mount-FleeceDisk ./vm.raw -ListenUri (Get-SocketUri '' a.sock), (Get-SocketUri '' b.sock) -SocketGroup (id -g) -SocketMode 0640

        (Get-Item a.sock, b.sock).UnixFileMode | ForEach-Object { [int] $_ } | Should -Be 416, 416
        (Get-Item a.sock, b.sock).Group | Select-Object -Unique | Should -Be (id -gn)
    }

    It 'publishes many disks at one' {
        $null = Mount-FleeceDisk ./*.raw -ListenUri (Get-SocketUri)

        (Get-FleeceExport).Name | Should -Be 'data', 'vm'
    }

    It 'leaves no disk and no listener when their sockets can not have the mode' {
        { Mount-FleeceDisk ./vm.raw -ListenUri (Get-SocketUri), nbd://localhost:0 -SocketMode 0660 -ErrorAction Stop } |
            Should -Throw -ErrorId 'ArgumentInvalid,Fleece.MountFleeceDiskCommand'

        Get-FleeceDisk | Should -BeNullOrEmpty
        Test-Path vm.sock | Should -BeFalse
    }

    It 'leaves no disk and no listener when one of them fails: <Id>' -ForEach @(
        @{ Id = 'InsecureListener'; Uris = 'nbd+unix:///?socket=vm.sock', 'nbd://0.0.0.0:0' }
        @{ Id = 'UriInvalid'; Uris = 'nbd+unix:///?socket=vm.sock', 'http://localhost/' }
        @{ Id = 'UriInvalid'; Uris = 'nbd+unix:///?socket=vm.sock', 'nbd+unix:///' }
        @{ Id = 'AddressInUse'; Uris = 'nbd+unix:///?socket=vm.sock', 'nbd+unix:///?socket=data.raw' }
        @{ Id = 'ExportNameInUse'; Uris = 'nbd+unix:///?socket=vm.sock', 'nbd+unix:///?socket=vm.sock' }
        @{ Id = 'TlsFailed'; Uris = 'nbd+unix:///?socket=vm.sock', 'nbds://localhost:0' }
    ) {
        { Mount-FleeceDisk ./vm.raw -ListenUri $Uris -ErrorAction Stop } | Should -Throw -ErrorId "$Id,Fleece.MountFleeceDiskCommand"

        Get-FleeceDisk | Should -BeNullOrEmpty
        Get-FleeceExport | Should -BeNullOrEmpty
        Test-Path vm.sock | Should -BeFalse
        (Get-ChildItem).Name | Should -Be 'data.raw', 'vm.raw'
        [IO.File]::Open("$PWD/vm.raw", 'Open', 'ReadWrite', 'None').Dispose()
    }

    It 'is read by nbdinfo' -Skip:(-not $hasNbdinfo) {
        $null = Mount-FleeceDisk ./data.raw -ListenUri (Get-SocketUri)
        $null = Start-FleeceSession data -Name boot -Range @{ OffsetBytes = 0; LengthBytes = 64KB }

        $exports = (nbdinfo --json --list (Get-ExportUri data) | ConvertFrom-Json).exports
        $map = nbdinfo --json --map (Get-ExportUri data/boot) | ConvertFrom-Json
        $access = nbdinfo --json --map=fleece:access (Get-ExportUri data/boot) | ConvertFrom-Json

        $exports.'export-name' | Should -Be 'data', 'data/boot'
        $exports[1].contexts | Should -Be 'base:allocation', 'fleece:access'
        $exports[1].is_read_only | Should -BeFalse
        $map.type | Should -Be 0, 1
        $access.type | Should -Be 0, 1
        $access | ForEach-Object length | Should -Be 64KB, (1MB - 64KB)
    }

    It 'is copied by qemu-img while the guest writes' -Skip:(-not $hasQemuImg) {
        $null = Mount-FleeceDisk ./data.raw -ListenUri (Get-SocketUri)
        $null = Start-FleeceSession data -Name nightly
        Write-FleeceDisk data 0 ([byte[]]::new(512KB))

        qemu-img convert -f raw -O raw (Get-ExportUri data/nightly) "$PWD/copy.raw"

        $LASTEXITCODE | Should -Be 0
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/copy.raw")) $old | Should -BeTrue
    }

    It 'is written by qemu-io as by a guest' -Skip:(-not $hasQemuIo) {
        $null = Mount-FleeceDisk ./data.raw -ListenUri (Get-SocketUri)
        $session = Start-FleeceSession data -Name nightly

        $null = qemu-io -f raw -c 'write -P 7 64k 4k' -c flush (Get-ExportUri data)

        $LASTEXITCODE | Should -Be 0
        Read-FleeceDisk data 64KB 1 | Should -Be 7
        (Get-FleeceSession $session).CopiedBytes | Should -Be 4KB
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

    It 'is a disk' {
        $disk = Mount-FleeceDisk (Get-SocketUri vm) -Name remote

        $disk.SizeBytes | Should -Be 4MB
        $disk.Format | Should -BeNullOrEmpty
        Test-SameData (Read-FleeceDisk remote 0 1MB) $old | Should -BeTrue
        Write-FleeceDisk remote 1MB ([byte[]] (1, 2, 3))
        Test-SameData (Read-FleeceDisk vm 1MB 3) (1, 2, 3) | Should -BeTrue
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

    It 'of a list fails alone: the other inputs are served' {
        $disks = Mount-FleeceDisk ./nothing.raw, ./small.raw -ErrorAction SilentlyContinue -ErrorVariable failures

        $disks.Name | Should -Be 'small'
        $failures.FullyQualifiedErrorId | Should -Be 'ImageNotFound,Fleece.MountFleeceDiskCommand'
    }
}

Describe 'A file that is no disk' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is not mounted, and is left as it is: <File>' -ForEach @(
        @{ File = 'disguised.raw'; Id = 'ImageFormatAmbiguous'; Make = { [IO.File]::ReadAllBytes("$PWD/whole.qcow2") } }
        @{ File = 'cut.qcow2'; Id = 'ImageTruncated'; Make = { [IO.File]::ReadAllBytes("$PWD/whole.qcow2")[0..63] } }
        @{ File = 'disk.vhdx'; Id = 'ImageTruncated'; Make = { [Text.Encoding]::ASCII.GetBytes('vhdxfile') + [byte[]]::new(4088) } }
        @{ File = 'disk.vmdk'; Id = 'ImageUnsupported'; Make = { [Text.Encoding]::ASCII.GetBytes('KDMV') + [byte[]]::new(4092) } }
    ) {
        $null = New-FleeceImage ./whole.qcow2 1MB
        [IO.File]::WriteAllBytes("$PWD/$File", (& $Make))
        $before = (Get-FileHash $File).Hash

        { Mount-FleeceDisk "./$File" -ErrorAction Stop } | Should -Throw -ErrorId "$Id,Fleece.MountFleeceDiskCommand"

        Get-FleeceDisk | Should -BeNullOrEmpty
        (Get-ChildItem).Name | Should -Be (@($File, 'whole.qcow2') | Sort-Object)
        (Get-FileHash $File).Hash | Should -Be $before
    }
}

Describe 'An image that another process has locked' -Skip:(-not $hasFlock) {
    BeforeEach { Enter-TestFolder }
    AfterEach {
        if ($holder -and -not $holder.HasExited) { $holder.Kill($true) }
        Exit-TestFolder
    }

    It 'is in use until that lets it go' {
        $null = New-FleeceImage ./vm.raw 1MB
        $start = [Diagnostics.ProcessStartInfo]::new('flock', [string[]] ('--exclusive', "$PWD/vm.raw", 'sh', '-c', 'echo held; cat'))
        $start.RedirectStandardInput = $true
        $start.RedirectStandardOutput = $true
        $script:holder = [Diagnostics.Process]::Start($start)
        $holder.StandardOutput.ReadLine() | Should -Be held

        { Mount-FleeceDisk ./vm.raw -ErrorAction Stop } | Should -Throw "*$PWD/vm.raw*" -ErrorId 'ImageInUse,Fleece.MountFleeceDiskCommand'

        $holder.StandardInput.Close()
        $holder.WaitForExit()
        (Mount-FleeceDisk ./vm.raw).Name | Should -Be vm
    }
}

Describe 'A request to Mount-FleeceDisk' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Mount-FleeceDisk ./nothing.raw'; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./empty.raw'; Id = 'ImageEmpty,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./vm.raw'; Id = 'DiskNameInUse,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./vm.raw -Name again'; Id = 'ImageInUse,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./*.raw -Name one'; Id = 'ArgumentInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./small.raw -Name a/b'; Id = 'ArgumentInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./small.raw -Format Qcow2'; Id = 'ImageWrongFormat,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm?socket=nobody.sock -Name x'; Id = 'ServerUnreachable,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd://localhost:1/vm -Name x'; Id = 'ServerUnreachable,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///no?socket=vm.sock -Name x'; Id = 'ExportNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbds+unix:///vm?socket=vm.sock -Name x'; Id = 'TlsFailed,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm -Name x'; Id = 'UriInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm?socket=vm.sock -Name x -Format Qcow2'
            Id = 'ImageWrongFormat,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm?socket=vm.sock -Name x -SnapshotName s'
            Id = 'ArgumentInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm?socket=vm.sock'; Id = 'DiskNameInUse,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./no/such/folder/x.raw'; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./*.nothing'; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./half['; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nodrive:/vm.raw'; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nodrive:/*.raw'; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk NoProvider::/vm.raw'; Id = 'ImageNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk Env:/PATH'; Id = 'ImageNotAFile,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk .'; Id = 'ImageNotAFile,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk ./small.raw -Name VM'; Id = 'DiskNameInUse,Fleece.MountFleeceDiskCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf: <Command>' -ForEach @(
        @{ Command = 'Mount-FleeceDisk ./vm.raw -Name other -WhatIf' }
        @{ Command = 'Mount-FleeceDisk ./vm.raw -Name other -ListenUri "nbd+unix:///?socket=w.sock" -WhatIf' }
    ) { Assert-ChangesNothing $Command }
}
