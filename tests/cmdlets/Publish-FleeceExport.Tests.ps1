# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
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

    It 'gives the socket the mode <Mode>, as chmod takes it: <Text>' -Skip:$IsWindows -ForEach @(
        @{ Text = '0660'; Value = '0660'; Mode = 432 }
        @{ Text = '660'; Value = 660; Mode = 432 }
        @{ Text = 'UnixFileMode'; Value = [IO.UnixFileMode] 432; Mode = 432 }
        @{ Text = 'names'; Value = 'UserRead, UserWrite, GroupWrite'; Mode = 400 }
    ) {
        $null = Publish-FleeceExport vm (Get-SocketUri) -SocketMode $Value

        [int] (Get-Item vm.sock).UnixFileMode | Should -Be $Mode
    }

    It 'lets the group of the socket in, and no other user' -Skip:$IsWindows {
        foreach ($tool in 'setpriv', 'nbdinfo') {
            if (-not (Get-Command $tool -ErrorAction Ignore)) { Set-ItResult -Skipped -Because "$tool is not installed" }
        }
        if ((id -u) -ne 0) { Set-ItResult -Skipped -Because 'only root can become another user' }
        # Pester keeps its folders to this user.
        $folder = New-Item "/tmp/fleece-test-$([guid]::NewGuid())" -ItemType Directory
        try {
            $uri = "$((Publish-FleeceExport vm "nbd+unix:///?socket=$folder/s" -SocketGroup 4242).Uri)"

            setpriv --reuid=65534 --regid=4242 --clear-groups nbdinfo --size $uri | Should -Be 4MB
            $null = setpriv --reuid=65534 --regid=4243 --clear-groups nbdinfo --size $uri 2>&1
            $LASTEXITCODE | Should -Not -Be 0
        } finally {
            Unpublish-FleeceExport vm
            Remove-Item $folder -Recurse
        }
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

    It 'is not made by -WhatIf, nor taken away' {
        Publish-FleeceExport vm (Get-SocketUri) -WhatIf | Should -BeNullOrEmpty
        Get-FleeceExport | Should -BeNullOrEmpty
        Test-Path vm.sock | Should -BeFalse

        $null = Publish-FleeceExport vm (Get-SocketUri)
        Unpublish-FleeceExport vm -WhatIf
        Get-FleeceExport | Unpublish-FleeceExport -WhatIf
        (Get-FleeceExport).Name | Should -Be 'vm'
    }

    It 'has a name for each consumer of a session, at which that one alone confirms' {
        $session = Start-FleeceSession vm -Consumer local, offsite
        $export = Publish-FleeceExport vm (Get-SocketUri)
        $export.Uris.ExportName | Should -Be vm, vm/vm, vm/vm/local, vm/vm/offsite

        Read-FleeceSnapshot -Uri (Get-SocketUri vm/vm/offsite) -DiscardConsumed -LengthBytes 1MB | ForEach-Object Dispose

        @(Read-FleeceSnapshot -Uri (Get-SocketUri vm/vm/offsite))[0].OffsetBytes | Should -Be 1MB
        @(Read-FleeceSnapshot -Uri (Get-SocketUri vm/vm))[0].OffsetBytes | Should -Be 0
        (Get-FleeceSession $session).Consumers.ConfirmedBytes | Should -Be 0, 1MB
        { Read-FleeceSnapshot -Uri (Get-SocketUri vm/vm) -DiscardConsumed } |
            Should -Throw '*DISK/SESSION/CONSUMER*' -ErrorId 'DiskReadOnly,Fleece.ReadFleeceSnapshotCommand'
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

Describe 'A request to Publish-FleeceExport' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Publish-FleeceExport vm nbd://0.0.0.0:0'; Id = 'InsecureListener,Fleece.PublishFleeceExportCommand' }
        # The image is locked, as a stale socket seems to be, and must not be taken for one and deleted.
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=vm.raw'; Id = 'AddressInUse,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm "nbd+unix:///?socket=$("x" * 200)"'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=vm.sock'; Id = 'ExportNameInUse,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///vm/c?socket=vm.sock'; Id = 'ExportNameInUse,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=x.sock -ExportName ([string] [char] 0xd800)'
            Id = 'ArgumentInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbds+unix:///x?socket=vm.sock'; Id = 'TlsFailed,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=x.sock -SocketMode 0666'
            Id = 'InsecureListener,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=x.sock -SocketMode 0060'
            Id = 'ArgumentInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=x.sock -SocketMode 0888'
            Id = 'ParameterArgumentTransformationError,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=x.sock -SocketGroup no-such-group'
            Id = 'ArgumentInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///second?socket=vm.sock -SocketMode 0660'
            Id = 'ArgumentInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd://localhost:0 -SocketMode 0600'; Id = 'ArgumentInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=missing/x.sock'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+unix:///?socket=repo'; Id = 'AddressInUse,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport nobody nbd://localhost:0'; Id = 'DiskNotFound,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm ./vm.sock'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd+vsock:///'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm http://localhost/'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
        @{ Command = 'Publish-FleeceExport vm nbd://203.0.113.7:0 -AllowInsecure'; Id = 'UriInvalid,Fleece.PublishFleeceExportCommand' }
    ) { Assert-Refused $Command $Id }

    It 'changes nothing with -WhatIf' { Assert-ChangesNothing 'Publish-FleeceExport vm "nbd+unix:///?socket=w.sock" -WhatIf' }
}
