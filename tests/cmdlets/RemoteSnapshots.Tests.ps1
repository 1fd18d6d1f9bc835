# SPDX-License-Identifier: MIT
# Matter: the process that reads a snapshot is not the one that serves the disk.

BeforeDiscovery {
    $script:hasNbdkit = [bool] (Get-Command nbdkit -CommandType Application -ErrorAction Ignore)
    if (-not $hasNbdkit) { Write-Warning 'nbdkit is not installed: what needs it is skipped.' }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Client.ps1"
    . "$PSScriptRoot/Servers.ps1"
    Import-ModuleUnderTest

    function Get-NbdkitUri { "nbd+unix:///?socket=$PWD/nbdkit.sock" }

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
        $process = Start-Process $program $arguments -WorkingDirectory $Folder -PassThru -Environment @{ FLEECE_HOST = 'none' } `
            -RedirectStandardOutput (Join-Path $Folder server.out) -RedirectStandardError (Join-Path $Folder server.err)
        while (-not (Test-Path (Join-Path $Folder ready))) {
            if ($process.WaitForExit(50)) { throw "The server ended: $(Get-Content (Join-Path $Folder server.err) -Raw)" }
        }
        $process
    }
}

Describe 'The snapshot of a session in another process' {
    BeforeEach {
        Enter-TestFolder
        $script:server = Start-Server vm, db
    }
    AfterEach {
        Stop-Server $server
        Exit-TestFolder
    }

    It 'tells disk, session and instant, which the manifest has' {
        $id, $startedAt = (Invoke-Server $server {
            $session = Start-FleeceSession vm -Name nightly
            "$($session.InstantId) $($session.StartedAt.ToString('O'))"
        }) -split ' '

        $backup = Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly) | Export-Backup ./b.qcow2

        $backup.Point.Disk | Should -Be vm
        $backup.Point.Id | Should -Be $id
        $backup.Point.Instant.ToString('O') | Should -Be $startedAt
        $backup.Instant.ToString('O') | Should -Be $startedAt
        $backup.Point.IsShared | Should -BeFalse
        (Get-Content ./b.qcow2.json -Raw | ConvertFrom-Json).session | Should -Be vm/nightly
    }

    It 'is of one disk with the other sessions of it and with backups in the process of the disk, without a warning' {
        foreach ($name in 'f1', 'f2') {
            $null = Invoke-Server $server ([scriptblock]::Create("`$null = Start-FleeceSession vm -Name $name"))
            $null = Read-FleeceSnapshot -Uri (Get-ServedUri "vm/$name") | Export-Backup ./repo/ -WarningVariable said -WarningAction Ignore
            $said | Should -BeNullOrEmpty
        }
        $job = "`$null = Backup-FleeceDisk vm '$PWD/repo' -WarningVariable said -WarningAction Ignore; `$said"
        Invoke-Server $server ([scriptblock]::Create($job)) | Should -Not -BeLike '*two disks*'

        $points = Get-FleeceBackup ./repo
        $points[0, 1].SourceAddress | Should -Be (Get-ServedUri vm), (Get-ServedUri vm)
        $null = Restore-FleeceBackup ./repo ./restored.raw -WarningVariable said -WarningAction Ignore
        $said | Should -BeNullOrEmpty
    }

    It 'makes full and then incremental backups, as in the process of the disk' {
        $expected = foreach ($night in 1, 2, 3) {
            $null = Invoke-Server $server {
                if (-not (Get-FleeceBitmap vm)) { $null = New-FleeceBitmap vm daily }
                $null = Start-FleeceSession vm -Name nightly -Bitmap daily
            }
            $point = (Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly) -DiscardConsumed | Export-Backup ./repo/).Point
            $digest = Get-ServedDigest $server
            $null = Invoke-Server $server {
                Stop-FleeceSession nightly -Success
                Write-FleeceDisk vm 2MB ([byte[]] (1, 2, 3, [Random]::new().Next(256)))
            }
            @{ Number = $point.Number; Digest = $digest }
        }

        $points = Get-FleeceBackup ./repo
        $points.Kind | Should -Be Full, Incremental, Incremental
        $points.Disk | Select-Object -Unique | Should -Be vm
        $points.Bitmap | Select-Object -Unique | Should -Be daily
        $points[1].ParentId | Should -Be $points[0].Id
        $points[2].ParentId | Should -Be $points[1].Id
        $points[2].DataBytes | Should -Be 64KB
        (Test-FleeceBackup ./repo -Deep).IsGood | Should -Not -Contain $false
        foreach ($one in $expected) {
            $null = Restore-FleeceBackup $points[$one.Number - 1].Path ./restored.raw -Force
            (Get-FileHash restored.raw).Hash | Should -Be $one.Digest
        }
    }

    It 'goes on with a chain that the process of the disk has begun, and the other way round' {
        $null = Invoke-Server $server { $null = Backup-FleeceDisk vm "$PWD/../repo" -Bitmap daily }
        $null = Invoke-Server $server {
            Write-FleeceDisk vm 1MB ([byte[]] (1, 2, 3))
            $null = Start-FleeceSession vm -Name nightly -Bitmap daily
        }
        $null = Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly) | Export-Backup ./repo/
        $null = Invoke-Server $server {
            Stop-FleeceSession nightly -Success
            Write-FleeceDisk vm 3MB ([byte[]] (1, 2, 3))
            $null = Backup-FleeceDisk vm "$PWD/../repo" -Bitmap daily
        }

        (Get-FleeceBackup ./repo).Kind | Should -Be Full, Incremental, Incremental
        (Test-FleeceBackup ./repo -Deep).IsGood | Should -Not -Contain $false
        $null = Restore-FleeceBackup ./repo ./restored.raw
        (Get-FileHash restored.raw).Hash | Should -Be (Get-ServedDigest $server)
    }

    It 'makes an increment of nothing where nothing changed' {
        $null = Invoke-Server $server {
            $null = Backup-FleeceDisk vm "$PWD/../repo" -Bitmap daily
            $null = Start-FleeceSession vm -Name nightly -Bitmap daily
        }

        $point = (Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly) | Export-Backup ./repo/).Point

        $point.Kind | Should -Be Incremental
        $point.DataBytes | Should -Be 0
    }

    It 'is refused by the repository of another disk, though the sessions have one name' {
        $null = Invoke-Server $server { foreach ($disk in 'vm', 'db') { $null = Start-FleeceSession $disk -Name nightly } }
        $null = Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly vm) | Export-Backup ./repo/

        $failure = Get-FailureOf { Read-FleeceSnapshot -Uri (Get-ServedUri db/nightly db) | Export-Backup ./repo/ }

        $failure.FullyQualifiedErrorId | Should -Be 'BackupOfAnotherDisk,Fleece.ExportFleeceBackupCommand'
        $failure.Exception.Message | Should -BeLike "*'vm'*'db'*"
        (Get-FleeceBackup ./repo).Disk | Should -Be vm
    }

    It 'is one of several disks'' only where its name says so: -Disk with another name is refused' {
        $null = Invoke-Server $server { $null = Start-FleeceSession vm -Name nightly }

        foreach ($target in './repo/', './b.qcow2') {
            $failure = Get-FailureOf { Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly) | Export-Backup $target -Disk web }
            $failure.FullyQualifiedErrorId | Should -Be 'BackupOfAnotherDisk,Fleece.ExportFleeceBackupCommand'
            $failure.Exception.Message | Should -BeLike "*'vm'*'web'*"
        }

        Test-Path ./repo, ./b.qcow2, ./b.qcow2.partial | Should -Be $false, $false, $false
        (Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly) | Export-Backup ./repo/ -Disk VM).Point.Disk | Should -Be vm
    }

    It 'is read by its consumers, each of whom makes a chain' {
        $null = Invoke-Server $server {
            $null = New-FleeceBitmap vm daily
            $null = Start-FleeceSession vm -Name nightly -Bitmap daily -Consumer here, there
        }

        foreach ($consumer in 'here', 'there') {
            $point = (Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly/$consumer) -DiscardConsumed | Export-Backup ./$consumer/).Point
            $point.Kind | Should -Be Full
        }

        (Get-FleeceBackup ./here).Id | Should -Be (Get-FleeceBackup ./there).Id
    }

    It 'of ranges that count from no backup is not put into a repository' {
        $null = Invoke-Server $server { $null = Start-FleeceSession vm -Name boot -Range @{ OffsetBytes = 0; LengthBytes = 64KB } }

        $failure = Get-FailureOf { Read-FleeceSnapshot -Uri (Get-ServedUri vm/boot) | Export-Backup ./repo/ }

        $failure.FullyQualifiedErrorId | Should -Be 'ArgumentInvalid,Fleece.ExportFleeceBackupCommand'
        (Read-FleeceSnapshot -Uri (Get-ServedUri vm/boot) | Export-Backup ./b.qcow2).Point.Kind | Should -Be Partial
    }

    It 'is not gone on with when its session began anew under the same name' {
        $null = Invoke-Server $server { $null = Start-FleeceSession vm -Name nightly }
        $read = { Read-FleeceSnapshot -Uri (Get-ServedUri vm/nightly) -ChunkSizeBytes 64KB }

        $failure = Get-FailureOf {
            & $read | ForEach-Object {
                if ($_.OffsetBytes -eq 0) {
                    $null = Invoke-Server $server {
                        Stop-FleeceSession nightly
                        Write-FleeceDisk vm 0 ([byte[]]::new(4MB))
                        $null = Start-FleeceSession vm -Name nightly
                    }
                }
                $_
            } | Export-Backup ./repo/
        }

        $failure.FullyQualifiedErrorId | Should -Be 'ConnectionLost,Fleece.ReadFleeceSnapshotCommand'
        './repo' | Should -Not -Exist
    }
}

Describe 'A live disk in another process' {
    BeforeEach {
        Enter-TestFolder
        $script:server = Start-Server vm
    }
    AfterEach {
        Stop-Server $server
        Exit-TestFolder
    }

    It 'is read with a warning, marked in a manifest, and refused by a repository' {
        $warnings = @()
        $point = (Read-FleeceSnapshot -Uri (Get-ServedUri vm) -WarningVariable warnings -WarningAction SilentlyContinue |
            Export-Backup ./b.qcow2).Point

        $failure = Get-FailureOf {
            Read-FleeceSnapshot -Uri (Get-ServedUri vm) -WarningAction SilentlyContinue | Export-Backup ./repo/ -Disk vm
        }

        @($warnings) | Should -HaveCount 1
        $warnings[0].Message | Should -BeLike '*live disk*'
        $point.IsShared | Should -BeTrue
        $point.Disk | Should -Be vm
        $failure.FullyQualifiedErrorId | Should -Be 'DiskShared,Fleece.ExportFleeceBackupCommand'
        Test-Path ./repo | Should -BeFalse
    }

    It 'is <Case> with a warning' -ForEach @(
        @{ Case = 'converted'; Command = { Convert-FleeceImage (Get-ServedUri vm) ./b.qcow2 -WarningVariable +told -WarningAction Ignore } }
        @{ Case = 'compared'
            Command = { Compare-FleeceImage (Get-ServedUri vm) (Get-ServedUri vm) -WarningVariable +told -WarningAction Ignore } }
    ) {
        $told = @()

        $null = . $Command

        $told.Count | Should -BeGreaterThan 0
        $told[0].Message | Should -BeLike '*live disk*'
    }

    It 'is not overwritten while a client uses it: <Case>' -ForEach @(
        @{ Case = 'backup'; Force = $true
            Command = { param($more) Read-FleeceSnapshot first | Export-Backup -DestinationUri (Get-ServedUri vm) @more } }
        @{ Case = 'temp'; Force = $false
            Command = { param($more) Start-FleeceSession small -Name second -TempPath (Get-ServedUri vm) @more } }
    ) {
        New-MountedDisk -Name small -SizeBytes 64KB -Data (Get-RandomData 64KB)
        $null = Start-FleeceSession small -Name first
        $null = Read-FleeceSnapshot first | Export-Backup ./b.qcow2
        $client = Connect-Client "$PWD/server/vm.sock" vm
        $before = Get-ServedDigest $server

        $failure = Get-FailureOf { & $Command @{} }

        $failure.FullyQualifiedErrorId | Should -BeLike 'ImageInUse,*'
        Get-ServedDigest $server | Should -Be $before
        if ($Force) { & $Command @{ Force = $true } }
        $client.Dispose()
        & $Command @{}
    }
}

Describe 'A snapshot of a server that tells nothing' {
    BeforeEach {
        Enter-TestFolder
        [IO.File]::WriteAllBytes("$PWD/far.raw", (Get-RandomData 1MB))
    }
    AfterEach {
        if (Test-Path nbdkit.pid) { Stop-Process -Id (Get-Content nbdkit.pid) }
        Exit-TestFolder
    }

    It 'is put into a repository under the name that -Disk gives, as a full backup' -Skip:(-not $hasNbdkit) {
        nbdkit --unix "$PWD/nbdkit.sock" --pidfile "$PWD/nbdkit.pid" --readonly file "$PWD/far.raw"
        while (-not (Test-Path nbdkit.pid)) { Start-Sleep -Milliseconds 10 }

        $failure = Get-FailureOf { Read-FleeceSnapshot -Uri (Get-NbdkitUri) | Export-Backup ./repo/ }
        $failure.FullyQualifiedErrorId | Should -Be 'BackupOfUnknownDisk,Fleece.ExportFleeceBackupCommand'
        $failure.Exception.Message | Should -BeLike '*-Disk*'
        Test-Path ./repo | Should -BeFalse

        $points = foreach ($night in 1, 2) { (Read-FleeceSnapshot -Uri (Get-NbdkitUri) | Export-Backup ./repo/ -Disk web).Point }
        $points.Kind | Should -Be Full, Full
        $points.Disk | Should -Be web, web
        $points[0].Id | Should -Not -Be $points[1].Id
        (Read-FleeceSnapshot -Uri (Get-NbdkitUri) | Export-Backup ./b.raw).Point.Kind | Should -Be Full
    }

    It 'is read with one warning that no client may write to it meanwhile' -Skip:(-not $hasNbdkit) {
        nbdkit --unix "$PWD/nbdkit.sock" --pidfile "$PWD/nbdkit.pid" --readonly file "$PWD/far.raw"
        while (-not (Test-Path nbdkit.pid)) { Start-Sleep -Milliseconds 10 }

        Read-FleeceSnapshot -Uri (Get-NbdkitUri) -ChunkSizeBytes 64KB -WarningVariable told -WarningAction Ignore | ForEach-Object Dispose

        @($told).Count | Should -Be 1
        "$told" | Should -BeLike "*can't tell whether the export stands still*"
    }

    It 'names no disk that could be a path' -Skip:(-not $hasNbdkit) {
        nbdkit --unix "$PWD/nbdkit.sock" --pidfile "$PWD/nbdkit.pid" --readonly file "$PWD/far.raw"
        while (-not (Test-Path nbdkit.pid)) { Start-Sleep -Milliseconds 10 }

        $failure = Get-FailureOf { Read-FleeceSnapshot -Uri (Get-NbdkitUri) | Export-Backup ./repo/ -Disk ../web }

        $failure.FullyQualifiedErrorId | Should -Be 'ArgumentInvalid,Fleece.ExportFleeceBackupCommand'
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
