# SPDX-License-Identifier: MIT
BeforeDiscovery {
    $script:hasNbdinfo = [bool] (Get-Command nbdinfo -CommandType Application -ErrorAction Ignore)
    $script:hasQemuImg = [bool] (Get-Command qemu-img -CommandType Application -ErrorAction Ignore)
    $script:hasQemuIo = [bool] (Get-Command qemu-io -CommandType Application -ErrorAction Ignore)
    foreach ($tool in 'nbdinfo', 'qemu-img', 'qemu-io') {
        if (-not (Get-Command $tool -CommandType Application -ErrorAction Ignore)) {
            Write-Warning "$tool is not installed: what needs it is skipped."
        }
    }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    function Get-SocketUri([string] $Export, [string] $Socket = 'vm.sock') { "nbd+unix:///${Export}?socket=$Socket" }

    # The address as programs that know nothing of PowerShell's location need it.
    function Get-ExportUri([string] $Export) { (Get-FleeceExport).Uris | Where-Object ExportName -EQ $Export | ForEach-Object ToString }

    function Get-FailureId([scriptblock] $Action) {
        try {
            $null = & $Action
        } catch {
            return $_.FullyQualifiedErrorId
        }
    }

    # Another PowerShell that mounts vm.raw, serves it with a session, and says what happened when the file "stop" appears.
    function Start-ServerProcess([string] $Folder) {
        Set-Content (Join-Path $Folder server.ps1) @'
param($Module, $Parent)
$ErrorActionPreference = 'Stop'
Import-Module $Module
$null = Mount-FleeceDisk ./vm.raw -ListenUri 'nbd+unix:///?socket=other.sock'
$session = Start-FleeceSession vm -Name nightly
Write-FleeceDisk vm 0 ([byte[]]::new(1MB))
$null = New-FleeceImage ./store.qcow2 -SizeBytes 4MB
$null = Mount-FleeceDisk ./store.qcow2 -ListenUri 'nbd+unix:///?socket=other.sock'
Set-Content ready.new 'ready'
Move-Item ready.new ready
while (-not (Test-Path stop) -and (Get-Process -Id $Parent -ErrorAction Ignore)) { Start-Sleep -Milliseconds 50 }
Set-Content consumed (Get-FleeceSession $session).ConsumedBytes
'@
        $program, $first = @(Get-PowerShellCommand)
        $arguments = @($first) + '-NoProfile', '-NonInteractive', '-File', 'server.ps1', "`"$(Get-ModuleUnderTest)`"", $PID | Where-Object { $_ }
        $process = Start-Process $program $arguments -WorkingDirectory $Folder -PassThru `
            -RedirectStandardOutput (Join-Path $Folder server.out) -RedirectStandardError (Join-Path $Folder server.err)
        while (-not (Test-Path (Join-Path $Folder ready))) {
            if ($process.WaitForExit(50)) { throw "The server ended: $(Get-Content (Join-Path $Folder server.err) -Raw)" }
        }
        $process
    }

    # A certificate that is signed by another one, or by itself where none is given.
    function New-TestCertificate([string] $Subject, $Authority) {
        $key = [Security.Cryptography.ECDsa]::Create()
        $request = [Security.Cryptography.X509Certificates.CertificateRequest]::new(
            "CN=$Subject", $key, [Security.Cryptography.HashAlgorithmName]::SHA256)
        $names = [Security.Cryptography.X509Certificates.SubjectAlternativeNameBuilder]::new()
        $names.AddDnsName('localhost')
        $request.CertificateExtensions.Add($names.Build())
        $isAuthority = -not $Authority
        $request.CertificateExtensions.Add(
            [Security.Cryptography.X509Certificates.X509BasicConstraintsExtension]::new($isAuthority, $false, 0, $true))
        $from = [DateTimeOffset]::Now.AddDays(-1)
        if ($isAuthority) { return $request.CreateSelfSigned($from, $from.AddDays(3)) }
        $serial = [byte[]]::new(8)
        [Random]::new().NextBytes($serial)
        $signed = $request.Create($Authority, $from, $from.AddDays(2), $serial)
        [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::CopyWithPrivateKey($signed, $key)
    }
}

Describe 'An export' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 4MB -Data $old
    }
    AfterEach { Exit-TestFolder }

    It 'offers the disk, and snapshots while their sessions run' {
        $export = Publish-FleeceExport vm (Get-SocketUri)
        $export.Uris.ExportName | Should -Be 'vm'

        $null = Start-FleeceSession vm -Name nightly
        (Get-FleeceExport vm).Uris.ExportName | Should -Be 'vm', 'vm/nightly'
        Stop-FleeceSession nightly

        (Get-FleeceExport vm).Uris.ExportName | Should -Be 'vm'
    }

    It 'comes from piped disks, which share an address' {
        New-MountedDisk -Name other

        $exports = Get-FleeceDisk | Publish-FleeceExport -ListenUri (Get-SocketUri)

        $exports.Name | Should -Be 'other', 'vm'
        @($exports.Uri.SocketPath | Select-Object -Unique) | Should -HaveCount 1
        (Get-FleeceExport).Name | Should -Be 'other', 'vm'
        (Get-FleeceDisk other | Get-FleeceExport).Name | Should -Be 'other'
    }

    It 'is called as <Case>' -ForEach @(
        @{ Case = '-ExportName says'; ExportName = 'web'; InUri = 'x'; Name = 'web' }
        @{ Case = 'the URI says'; ExportName = $null; InUri = 'x'; Name = 'x' }
        @{ Case = 'the disk is'; ExportName = $null; InUri = ''; Name = 'vm' }
        @{ Case = 'a name says that a URI has to escape'; ExportName = "a b/$([char] 0xFC)?#%"; InUri = ''; Name = "a b/$([char] 0xFC)?#%" }
    ) {
        $names = @{}
        if ($ExportName) { $names.ExportName = $ExportName }

        $export = Publish-FleeceExport vm (Get-SocketUri $InUri) @names

        $export.Name | Should -Be $Name
        (Mount-FleeceDisk "$($export.Uri)" -Name remote).SizeBytes | Should -Be 4MB
        Dismount-FleeceDisk remote
    }

    It 'listens on a free port when it is asked for port 0' {
        $first = Publish-FleeceExport vm nbd://localhost:0
        $second = Publish-FleeceExport vm nbd://127.0.0.1:0

        $first.Uri.Port | Should -BeGreaterThan 0
        $second.Uri.Port | Should -Not -Be $first.Uri.Port
        $null = Mount-FleeceDisk "$($first.Uri)" -Name remote
        Test-SameData (Read-FleeceDisk remote 0 1MB) $old | Should -BeTrue
        Dismount-FleeceDisk remote
    }

    It 'keeps the socket for its user, and takes its file away' -Skip:$IsWindows {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        (Get-Item vm.sock).UnixFileMode | Should -Be ([IO.UnixFileMode] 'UserRead, UserWrite')

        Unpublish-FleeceExport vm

        Test-Path vm.sock | Should -BeFalse
    }

    It 'ends by <Case>, and the disk stays' -ForEach @(
        @{ Case = 'the name of its disk'; Action = { Unpublish-FleeceExport vm } }
        @{ Case = 'its disk'; Action = { Get-FleeceDisk vm | Unpublish-FleeceExport } }
        @{ Case = 'itself'; Action = { Get-FleeceExport | Unpublish-FleeceExport } }
    ) {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Publish-FleeceExport vm nbd://localhost:0

        & $Action

        Get-FleeceExport | Should -BeNullOrEmpty
        (Get-FleeceDisk).Name | Should -Be 'vm'
    }

    It 'ends with its disk' {
        $null = Publish-FleeceExport vm (Get-SocketUri)

        Dismount-FleeceDisk vm

        Get-FleeceExport | Should -BeNullOrEmpty
        Test-Path vm.sock | Should -BeFalse
    }

    It 'is kept while guests use it: <Case>' -ForEach @(
        @{ Case = 'unpublishing'; Command = 'Unpublish-FleeceExport vm'; Id = 'DiskBusy,Fleece.UnpublishFleeceExportCommand' }
        @{ Case = 'dismounting'; Command = 'Dismount-FleeceDisk vm'; Id = 'DiskBusy,Fleece.DismountFleeceDiskCommand' }
    ) {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Mount-FleeceDisk (Get-SocketUri vm) -Name guest

        { & ([scriptblock]::Create("$Command -ErrorAction Stop")) } | Should -Throw -ErrorId $Id

        (Get-FleeceExport vm).GuestCount | Should -Be 1
        (Read-FleeceDisk guest 0 1) | Should -Be $old[0]
        Dismount-FleeceDisk guest
        & ([scriptblock]::Create("$Command -ErrorAction Stop"))
        Get-FleeceExport | Should -BeNullOrEmpty
    }

    It 'is taken from guests by -Force' {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Mount-FleeceDisk (Get-SocketUri vm) -Name guest -ReadOnly

        Unpublish-FleeceExport vm -Force

        Get-FleeceExport | Should -BeNullOrEmpty
        Dismount-FleeceDisk guest
    }

    It 'does not wait for readers of snapshots' {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Start-FleeceSession vm -Name nightly
        $null = Mount-FleeceDisk (Get-SocketUri vm/nightly) -Name reader -ReadOnly
        $export = Get-FleeceExport vm
        $export.ConnectionCount | Should -Be 1
        $export.GuestCount | Should -Be 0

        Unpublish-FleeceExport vm

        Get-FleeceExport | Should -BeNullOrEmpty
        (Get-FleeceSession).Id | Should -Be 'vm/nightly'
    }

    It 'keeps what -ReadOnly and -SnapshotOnly promise' {
        $null = Start-FleeceSession vm -Name nightly
        $null = Publish-FleeceExport vm (Get-SocketUri) -ReadOnly
        $null = Publish-FleeceExport vm (Get-SocketUri '' only.sock) -SnapshotOnly

        (Mount-FleeceDisk (Get-SocketUri vm) -Name remote).IsReadOnly | Should -BeTrue
        Get-FailureId { Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly) -DiscardConsumed } |
            Should -Be 'DiskReadOnly,Fleece.ReadFleeceSnapshotCommand'
        Get-FailureId { Mount-FleeceDisk (Get-SocketUri vm only.sock) -Name other -ErrorAction Stop } |
            Should -Be 'ExportNotFound,Fleece.MountFleeceDiskCommand'
        @(Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly only.sock) -DiscardConsumed).Count | Should -BeGreaterThan 0
    }

    It 'means the disk by the empty name, also when sessions of a read-only disk run' {
        $null = Publish-FleeceExport vm (Get-SocketUri) -ReadOnly
        $null = Start-FleeceSession vm -Name a
        $null = Start-FleeceSession vm -Name b

        (Mount-FleeceDisk (Get-SocketUri) -Name remote).SizeBytes | Should -Be 4MB

        (Get-FleeceExport).GuestCount | Should -Be 1
        Dismount-FleeceDisk remote
    }

    It 'is a table row with its clients' {
        $null = Publish-FleeceExport vm (Get-SocketUri)

        $text = Get-FleeceExport | Out-String -Width 400

        $text | Should -Match 'Disk +ReadOnly +Clients +Uris'
        $text | Should -Match 'vm +False +0 nbd\+unix:///vm\?socket='
    }

    It 'is not made by -WhatIf, nor taken away' {
        Publish-FleeceExport vm (Get-SocketUri) -WhatIf | Should -BeNullOrEmpty
        Get-FleeceExport | Should -BeNullOrEmpty
        Test-Path vm.sock | Should -BeFalse

        $null = Publish-FleeceExport vm (Get-SocketUri)
        Unpublish-FleeceExport vm -WhatIf
        Get-FleeceExport | Unpublish-FleeceExport -WhatIf
        (Get-FleeceExport).Name | Should -Be 'vm'
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

    It 'publishes many disks at one' {
        $null = Mount-FleeceDisk ./*.raw -ListenUri (Get-SocketUri)

        (Get-FleeceExport).Name | Should -Be 'data', 'vm'
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

    It 'is a snapshot, which is consumed' {
        $session = Start-FleeceSession vm -Name nightly
        Write-FleeceDisk vm 0 ([byte[]]::new(1MB))

        $backup = Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly) -DiscardConsumed | Export-Backup ./b.raw

        $backup.Session | Should -BeLike 'nbd+unix:///vm/nightly?socket=*vm.sock'
        $backup.Instant | Should -Be $session.StartedAt
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")[0..(1MB - 1)]) $old | Should -BeTrue
        (Get-FleeceSession $session).ConsumedBytes | Should -Be 4MB
        Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly) | Should -BeNullOrEmpty
    }

    It 'is a snapshot of which only what the session allows is read' {
        $null = Start-FleeceSession vm -Name boot -Range @{ OffsetBytes = 64KB; LengthBytes = 128KB }

        $chunks = @(Read-FleeceSnapshot -Uri (Get-SocketUri vm/boot) -ChunkSizeBytes 64KB)

        $chunks.OffsetBytes | Should -Be 64KB, 128KB
        Test-SameData $chunks[1].Data $old[128KB..(192KB - 1)] | Should -BeTrue
    }

    It 'of a live disk is read and never discarded' {
        Get-FailureId { Read-FleeceSnapshot -Uri (Get-SocketUri vm) -DiscardConsumed } |
            Should -Be 'ArgumentInvalid,Fleece.ReadFleeceSnapshotCommand'

        @(Read-FleeceSnapshot -Uri (Get-SocketUri vm)).Count | Should -BeGreaterThan 0
        Test-SameData (Read-FleeceDisk vm 0 1MB) $old | Should -BeTrue
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

    It 'is refused as <Id>: <Command>' -ForEach @(
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm?socket=nobody.sock -Name x'; Id = 'ServerUnreachable,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd://localhost:1/vm -Name x'; Id = 'ServerUnreachable,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///no?socket=vm.sock -Name x'; Id = 'ExportNotFound,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbds+unix:///vm?socket=vm.sock -Name x'; Id = 'TlsFailed,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm -Name x'; Id = 'UriInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm?socket=vm.sock -Name x -Format Qcow2'
            Id = 'ArgumentInvalid,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Mount-FleeceDisk nbd+unix:///vm?socket=vm.sock'; Id = 'DiskNameInUse,Fleece.MountFleeceDiskCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd://0.0.0.0:0'; Id = 'InsecureListener,Fleece.PublishFleeceExportCommand' }
        # The image is locked, as a stale socket seems to be, and must not be taken for one and deleted.
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=vm.raw'; Id = 'AddressInUse,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm "nbd+unix:///?socket=$("x" * 200)"'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=vm.sock'; Id = 'ExportNameInUse,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///vm/a?socket=vm.sock'; Id = 'ExportNameInUse,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=x.sock -ExportName ([string] [char] 0xd800)'
            Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbds+unix:///x?socket=vm.sock'; Id = 'TlsFailed,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport nobody nbd://localhost:0'; Id = 'DiskNotFound,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm ./vm.sock'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+vsock:///'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Get-FleeceExport nobody'; Id = 'DiskNotFound,Fleece.GetFleeceExportCommand' }
        @{ Command = 'Unpublish-FleeceExport nobody'; Id = 'DiskNotFound,Fleece.UnpublishFleeceExportCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath nbd+unix:///vm?socket=vm.sock'; Id = 'TempIsDisk,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath nbd+unix:///?socket=vm.sock'; Id = 'TempIsDisk,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Start-FleeceSession vm -TempPath nbd+unix:///x?socket=no.sock'
            Id = 'ServerUnreachable,Fleece.StartFleeceSessionCommand' }
        @{ Command = 'Read-FleeceSnapshot -Uri nbd+unix:///vm/no?socket=vm.sock'; Id = 'ExportNotFound,Fleece.ReadFleeceSnapshotCommand' }
        @{ Command = 'Read-FleeceSnapshot -Uri ./vm.sock'; Id = 'UriInvalid,Fleece.ReadFleeceSnapshotCommand' }
    ) {
        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -ErrorId $Id

        (Get-FleeceDisk).Name | Should -Be 'vm'
        (Get-FleeceExport).Name | Should -Be 'vm'
        Get-FleeceSession | Should -BeNullOrEmpty
        (Get-Item vm.raw).Length | Should -Be 4MB
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

    It 'of a listener that is in use by another is refused, and a stale socket is replaced' {
        $socket = [Net.Sockets.Socket]::new('Unix', 'Stream', 'Unspecified')
        $socket.Bind([Net.Sockets.UnixDomainSocketEndPoint]::new("$PWD/foreign.sock"))
        $socket.Listen()
        Get-FailureId { Publish-FleeceExport vm (Get-SocketUri '' foreign.sock) -ErrorAction Stop } |
            Should -Be 'AddressInUse,Fleece.PublishFleeceExportCommand'

        # Closing by its descriptor leaves the file, as a killed server does.
        $socket.SafeHandle.Dispose()
        if (Test-Path foreign.sock) {
            (Publish-FleeceExport vm (Get-SocketUri '' foreign.sock)).Name | Should -Be 'vm'
        }
    }

    It 'of a TCP port that another program has is refused' {
        $listener = [Net.Sockets.TcpListener]::new([Net.IPAddress]::Loopback, 0)
        $listener.Start()
        try {
            Get-FailureId { Publish-FleeceExport vm "nbd://localhost:$($listener.LocalEndpoint.Port)" -ErrorAction Stop } |
                Should -Be 'AddressInUse,Fleece.PublishFleeceExportCommand'
        } finally {
            $listener.Stop()
        }
    }
}

Describe 'Two processes' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 4MB
        [IO.File]::WriteAllBytes("$PWD/vm.raw", $old)
        $script:server = Start-ServerProcess $PWD
    }
    AfterEach {
        Get-FleeceDisk | Dismount-FleeceDisk -Force
        Set-Content stop stop
        if (-not $server.WaitForExit(30000)) { $server.Kill() }
        Exit-TestFolder
    }

    It 'one has the guest and the other makes the backup' {
        $null = Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly other.sock) -DiscardConsumed | Export-Backup ./b.raw

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")) $old | Should -BeTrue
        $null = Mount-FleeceDisk (Get-SocketUri vm other.sock) -Name live -ReadOnly
        Test-SameData (Read-FleeceDisk live 0 1MB) ([byte[]]::new(1MB)) | Should -BeTrue
        Dismount-FleeceDisk live
        Set-Content stop stop
        $server.WaitForExit(30000) | Should -BeTrue
        [long] (Get-Content consumed) | Should -Be 4MB
    }

    It 'one keeps the backups of the other' {
        $null = Read-FleeceSnapshot -Uri (Get-SocketUri vm/nightly other.sock) |
            Export-Backup -DestinationUri (Get-SocketUri store other.sock)
        Set-Content stop stop
        $server.WaitForExit(30000) | Should -BeTrue

        $null = Mount-FleeceDisk ./store.qcow2 -ReadOnly
        Test-SameData (Read-FleeceDisk store 0 4MB) $old | Should -BeTrue
    }
}

Describe 'TLS' {
    BeforeAll {
        $script:authority = New-TestCertificate 'authority'
        $script:serverCertificate = New-TestCertificate 'server' $authority
        $script:clientCertificate = New-TestCertificate 'client' $authority
        $script:stranger = New-TestCertificate 'stranger'
    }
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -Data $old
        $null = Start-FleeceSession vm -Name nightly
    }
    AfterEach {
        Get-FleeceDisk | Where-Object Path -Like 'nbd*' | Dismount-FleeceDisk -Force
        Exit-TestFolder
    }

    It 'encrypts <Address>' -ForEach @(
        @{ Address = 'nbds://localhost:0' }
        @{ Address = 'nbds+unix:///?socket=vm.sock' }
    ) {
        $export = Publish-FleeceExport vm $Address -TlsCertificate $serverCertificate

        $null = Read-FleeceSnapshot -Uri "$($export.Uris[1])" -TlsAuthority $authority | Export-Backup ./b.raw

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw")[0..(1MB - 1)]) $old | Should -BeTrue
    }

    It 'takes certificates from <Kind> files' -ForEach @(
        @{ Kind = '.pem' }
        @{ Kind = '.pfx' }
    ) {
        Set-Content ca.pem $authority.ExportCertificatePem()
        if ($Kind -eq '.pem') {
            $key = [Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($serverCertificate)
            Set-Content server.pem $serverCertificate.ExportCertificatePem(), `
                $key.ExportPkcs8PrivateKeyPem()
        } else {
            [IO.File]::WriteAllBytes("$PWD/server.pfx", $serverCertificate.Export('Pkcs12'))
        }

        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate "./server$Kind"

        (Mount-FleeceDisk "$($export.Uri)" -Name remote -TlsAuthority (Get-Item ca.pem)).SizeBytes | Should -Be 2MB
    }

    It 'serves a client whose certificate the authority signed' {
        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate $serverCertificate -TlsAuthority $authority

        (Mount-FleeceDisk "$($export.Uri)" -Name remote -TlsAuthority $authority -TlsCertificate $clientCertificate).SizeBytes |
            Should -Be 2MB
    }

    It 'refuses a client <Case>' -ForEach @(
        @{ Case = 'without a certificate'; Certificate = { @{} } }
        @{ Case = 'with a certificate of another authority'; Certificate = { @{ TlsCertificate = $stranger } } }
    ) {
        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate $serverCertificate -TlsAuthority $authority
        $tls = & $Certificate

        Get-FailureId { Mount-FleeceDisk "$($export.Uri)" -Name remote -TlsAuthority $authority @tls -ErrorAction Stop } |
            Should -Be 'TlsFailed,Fleece.MountFleeceDiskCommand'

        (Get-FleeceDisk).Name | Should -Be 'vm'
        (Get-FleeceExport vm).ConnectionCount | Should -Be 0
    }

    It 'is refused as TlsFailed: a client that <Case>' -ForEach @(
        @{ Case = 'trusts another authority'; Uri = { "$($args[0])" }; Trusted = { $stranger } }
        @{ Case = 'finds another name in the certificate'; Uri = { "nbds://127.0.0.1:$($args[0].Port)/vm" }; Trusted = { $authority } }
        @{ Case = 'asks in plain text'; Uri = { "nbd://localhost:$($args[0].Port)/vm" }; Trusted = { $authority } }
    ) {
        $export = Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate $serverCertificate

        Get-FailureId { Mount-FleeceDisk (& $Uri $export.Uri) -Name remote -TlsAuthority (& $Trusted) -ErrorAction Stop } |
            Should -Be 'TlsFailed,Fleece.MountFleeceDiskCommand'

        (Get-FleeceDisk).Name | Should -Be 'vm'
    }

    It 'is never less than what was asked for: <Case>' -ForEach @(
        @{ Case = 'a certificate at a plain address'; Id = 'TlsFailed'
            Command = { Publish-FleeceExport vm nbd://localhost:0 -TlsCertificate $serverCertificate -ErrorAction Stop } }
        @{ Case = 'TLS without a certificate'; Id = 'TlsFailed'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -ErrorAction Stop } }
        @{ Case = 'authorities without a certificate'; Id = 'ArgumentInvalid'
            Command = { Publish-FleeceExport vm nbd://localhost:0 -TlsAuthority $authority -ErrorAction Stop } }
        @{ Case = 'a certificate without its key'; Id = 'ParameterArgumentTransformationError'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate ./ca.pem -ErrorAction Stop } }
        @{ Case = 'what is no certificate'; Id = 'ParameterArgumentTransformationError'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate 7 -ErrorAction Stop } }
        @{ Case = 'a file that is not there'; Id = 'ParameterArgumentTransformationError'
            Command = { Publish-FleeceExport vm nbds://localhost:0 -TlsCertificate ./no.pem -ErrorAction Stop } }
    ) {
        Set-Content ca.pem $authority.ExportCertificatePem()

        Get-FailureId $Command | Should -Be "$Id,Fleece.PublishFleeceExportCommand"

        Get-FleeceExport | Should -BeNullOrEmpty
    }

    It 'is not weakened by joining a listener: <Case>' -ForEach @(
        @{ Case = 'TLS at a plain one'; Id = 'TlsFailed'; Scheme = 'nbd'; First = { @{} }; Asked = 'nbds'
            Tls = { @{ TlsCertificate = $serverCertificate } } }
        @{ Case = 'client certificates where none are demanded'; Id = 'ArgumentInvalid'; Scheme = 'nbds'; Asked = 'nbds'
            First = { @{ TlsCertificate = $serverCertificate } }
            Tls = { @{ TlsCertificate = $serverCertificate; TlsAuthority = $authority } } }
        @{ Case = 'another certificate'; Id = 'ArgumentInvalid'; Scheme = 'nbds'; Asked = 'nbds'
            First = { @{ TlsCertificate = $serverCertificate } }; Tls = { @{ TlsCertificate = $clientCertificate } } }
    ) {
        New-MountedDisk -Name other
        $first = & $First
        $tls = & $Tls
        $null = Publish-FleeceExport vm "${Scheme}+unix:///?socket=vm.sock" @first

        Get-FailureId { Publish-FleeceExport other "${Asked}+unix:///?socket=vm.sock" @tls -ErrorAction Stop } |
            Should -Be "$Id,Fleece.PublishFleeceExportCommand"

        (Get-FleeceExport).Name | Should -Be 'vm'
    }

    It 'opens an address beyond this machine' {
        (Publish-FleeceExport vm nbds://0.0.0.0:0 -TlsCertificate $serverCertificate).Uri.IsTls | Should -BeTrue
        (Publish-FleeceExport vm nbd://0.0.0.0:0 -AllowInsecure).Uri.IsTls | Should -BeFalse
    }
}
