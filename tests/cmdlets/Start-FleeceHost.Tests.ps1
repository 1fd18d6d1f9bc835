# SPDX-License-Identifier: MIT
# Goal: a host in a process of its own starts, refuses what it can't use, and ends as a signal says. Method: real processes and their exit
# codes.

BeforeDiscovery {
    $script:noHost = -not $IsLinux
    $script:noGuest = -not (Get-Command qemu-io -CommandType Application -ErrorAction Ignore)
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # The host tells that it is ready by a file, for its process stays in the cmdlet.
    $script:hostScript = @'
param($Module, $State, $Socket)
$ErrorActionPreference = 'Stop'
Import-Module $Module
Start-FleeceHost -StatePath $State -SocketPath $Socket -PassThru | ForEach-Object { $null = New-Item ready }
'@

    # Runs a host that can't start; the exit code and what it said.
    function Invoke-FailingHost([string] $State, [string] $Socket) {
        $program, $first = @(Get-PowerShellCommand)
        $command = "Import-Module '$(Get-ModuleUnderTest)'
            try { Start-FleeceHost -StatePath '$State' -SocketPath '$Socket' -ErrorAction Stop }
            catch { `$_.FullyQualifiedErrorId; exit 3 }"
        $said = & $program @(@($first) + '-NoProfile', '-NonInteractive', '-Command', $command | Where-Object { $_ }) 2>$null | Out-String
        [pscustomobject] @{ ExitCode = $LASTEXITCODE; Said = $said.Trim() }
    }
}

Describe 'Start-FleeceHost' -Skip:$noHost {
    BeforeEach {
        Enter-TestFolder
        $script:named = $env:FLEECE_HOST
    }
    AfterEach {
        $env:FLEECE_HOST = $named
        if ($process -and -not $process.HasExited) { $process.Kill(); $process.WaitForExit() }
        Exit-TestFolder
    }

    It 'listens until SIGTERM, ends with its exit code and takes its socket with it' {
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        Test-Path ./host.sock | Should -BeTrue
        Get-Content err.txt -Raw | Should -Match 'fleece: ready, serves 0 disks'

        Send-Signal TERM $process

        $process.WaitForExit(60000) | Should -BeTrue
        $process.ExitCode | Should -Be 143
        Test-Path ./host.sock | Should -BeFalse
        Get-Content err.txt -Raw | Should -Match 'fleece: has ended'
    }

    It 'lets go of a disk whose image is gone since the host before' {
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        $env:FLEECE_HOST = "$PWD/host.sock"
        $null = New-FleeceImage ./gone.raw -SizeBytes 1MB
        $null = Mount-FleeceDisk ./gone.raw
        Send-Signal TERM $process
        $process.WaitForExit(60000) | Should -BeTrue
        Remove-Item ./gone.raw
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        (Get-FleeceHost).Problems | Should -Match 'gone'

        Dismount-FleeceDisk gone

        (Get-FleeceHost).Problems | Should -BeNullOrEmpty
        Get-FailureId { Dismount-FleeceDisk gone -ErrorAction Stop } | Should -Be 'DiskNotFound,Fleece.DismountFleeceDiskCommand'
    }

    It 'starts again where a host was killed' {
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        $process.Kill()
        $process.WaitForExit()

        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'

        Test-Path ./host.sock | Should -BeTrue
    }

    It 'serves its disks again after <_>, with every write that a guest had flushed' -Skip:$noGuest -ForEach 'TERM', 'KILL' {
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        $uri = "nbd+unix:///web?socket=$PWD/web.sock"
        $env:FLEECE_HOST = "$PWD/host.sock"
        $null = New-FleeceImage ./web.qcow2 -SizeBytes 64MB
        $null = Mount-FleeceDisk ./web.qcow2 -ListenUri "nbd+unix:///?socket=$PWD/web.sock"
        Set-Content guest.sh @'
i=0
while qemu-io -f raw -c "write -f -P $((i % 200 + 1)) $((i * 65536)) 64k" "$1"; do echo $i >> acknowledged; i=$((i + 1)); done
'@
        $guest = Start-Process sh 'guest.sh', $uri -PassThru -RedirectStandardOutput guest.txt -RedirectStandardError guest-err.txt
        while (@(Get-Content acknowledged -ErrorAction Ignore).Count -lt 5) {
            if ($guest.WaitForExit(20)) { throw "The guest ended: $(Get-Content guest.txt, guest-err.txt -Raw)" }
        }

        Send-Signal $_ $process
        $process.WaitForExit(60000) | Should -BeTrue
        $guest.WaitForExit(60000) | Should -BeTrue
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'

        (Get-FleeceDisk).Name | Should -Be web
        foreach ($number in [int[]] (Get-Content acknowledged)) {
            $said = qemu-io -f raw -c "read -P $($number % 200 + 1) $($number * 65536) 64k" $uri 2>&1 | Out-String
            $said | Should -Match 'read 65536/65536' -Because "write $number was flushed"
            $said | Should -Not -Match 'verification failed'
        }
    }

    It 'is a pause and no error for a guest that connects again, after <_> and a new start' -Skip:$noGuest -ForEach 'TERM', 'KILL' {
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        $env:FLEECE_HOST = "$PWD/host.sock"
        $null = New-FleeceImage ./web.qcow2 -SizeBytes 64MB
        $null = Mount-FleeceDisk ./web.qcow2 -ListenUri "nbd+unix:///?socket=$PWD/web.sock"
        Set-Content guest.sh @'
i=0
while [ ! -e stop ]; do
    echo "write -f -P $((i % 200 + 1)) $((i % 512 * 65536)) 64k"
    i=$((i + 1))
    sleep 0.01
done | qemu-io --image-opts "driver=nbd,server.type=unix,server.path=$1,export=web,reconnect-delay=60"
'@
        $guest = Start-Process sh 'guest.sh', "$PWD/web.sock" -PassThru `
            -RedirectStandardOutput guest.txt -RedirectStandardError guest-err.txt
        function Wait-Write([int] $More) {
            $goal = @(Select-String 'wrote 65536' guest.txt).Count + $More
            while (@(Select-String 'wrote 65536' guest.txt).Count -lt $goal) {
                if ($guest.WaitForExit(20)) { throw "The guest ended: $(Get-Content guest.txt, guest-err.txt -Raw)" }
            }
        }
        Wait-Write 20

        Send-Signal $_ $process
        $process.WaitForExit(60000) | Should -BeTrue
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        Wait-Write 20
        $null = New-Item stop
        $guest.WaitForExit(60000) | Should -BeTrue

        Get-Content guest.txt, guest-err.txt -Raw | Should -Not -Match 'fail|error'
        $written = @(Select-String 'wrote 65536/65536 bytes at offset (\d+)' guest.txt).Count
        $reads = [Math]::Max(0, $written - 512)..($written - 1) | ForEach-Object { "read -P $($_ % 200 + 1) $($_ % 512 * 65536) 64k" }
        $said = $reads | qemu-io -f raw -r "nbd+unix:///web?socket=$PWD/web.sock" 2>&1 | Out-String
        $said | Should -Not -Match 'failed'
        [regex]::Matches($said, 'read 65536/65536').Count | Should -Be $reads.Count
    }

    It 'has its disks backed up by the script of about_Fleece_Host, whose exit code is 1 when one of them fails' {
        $page = Get-Content "$PSScriptRoot/../../docs/en-US/about_Fleece_Host.md" -Raw
        $page -match '(?ms)^    # /etc/fleece/backup-all\.ps1\n(.*?^    exit .*?$)' | Should -BeTrue
        Set-Content job.ps1 "Import-Module '$(Get-ModuleUnderTest)'", ($Matches[1] -replace '/backups/', "$PWD/backups/")
        $null = New-Item backups -ItemType Directory
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'
        $env:FLEECE_HOST = "$PWD/host.sock"
        foreach ($name in 'a', 'b') {
            $null = New-FleeceImage "./$name.raw" -SizeBytes 1MB
            $null = Mount-FleeceDisk "./$name.raw"
        }
        $program, $first = @(Get-PowerShellCommand)
        $arguments = @($first) + '-NoProfile', '-NonInteractive', '-File', './job.ps1' | Where-Object { $_ }

        $null = & $program @arguments
        $LASTEXITCODE | Should -Be 0
        Remove-Item backups/a -Recurse
        $null = New-Item backups/a -ItemType File
        $null = & $program @arguments 2>&1
        $LASTEXITCODE | Should -Be 1

        Get-FleeceBackup ./backups/b | Should -HaveCount 2
    }

    It 'refuses a state directory and a socket that another host uses' {
        $script:process = Start-ScriptProcess $hostScript './state', './host.sock'

        (Invoke-FailingHost './state' './other.sock').Said | Should -BeLike 'HostAlreadyRunning,*'
        $second = Invoke-FailingHost './other' './host.sock'

        $second.Said | Should -BeLike 'HostAlreadyRunning,*'
        $second.ExitCode | Should -Be 3
        Test-Path ./host.sock | Should -BeTrue
    }

    It 'refuses a state that is damaged' {
        $null = New-Item state -ItemType Directory
        chmod 700 state
        Set-Content state/state.json '{ "fleeceHostState": 1, "disks": [] }'

        (Invoke-FailingHost './state' './host.sock').Said | Should -BeLike 'HostStateInvalid,*'
        Test-Path ./host.sock | Should -BeFalse
    }

    It 'refuses a socket path that is too long' {
        (Invoke-FailingHost './state' "./$('x' * 110).sock").Said | Should -BeLike 'ArgumentInvalid,*'
    }

    It 'refuses a negative time for slow requests and makes nothing' {
        { Start-FleeceHost -StatePath ./state -SocketPath ./host.sock -SlowRequest -1 -ErrorAction Stop } |
            Should -Throw -ErrorId 'ArgumentInvalid,*'
        Test-Path ./state | Should -BeFalse
    }

    It 'leaves a file that is no socket as it is' {
        Set-Content host.sock precious

        (Invoke-FailingHost './state' './host.sock').Said | Should -BeLike 'AddressInUse,*'
        Get-Content host.sock | Should -Be precious
    }

    It 'does nothing with -WhatIf' {
        Start-FleeceHost -StatePath ./state -SocketPath ./host.sock -WhatIf

        Test-Path ./state | Should -BeFalse
    }
}
