# SPDX-License-Identifier: MIT
# Goal: disks outlive the shells that use them. Method: a host in a process of its own, and each shell and job another one that ends.

BeforeDiscovery { $script:noHost = -not $IsLinux }

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # Begins a shell in the folder that uses the host there, or the one that is named.
    function Start-Shell([string] $Script, [string] $HostPath = "$PWD/host.sock", [string] $Folder = $PWD) {
        $program, $first = @(Get-PowerShellCommand)
        $command = "Import-Module '$(Get-ModuleUnderTest)'; $Script"
        $encoded = [Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes($command))
        $all = @($first) + '-NoProfile', '-NonInteractive', '-EncodedCommand', $encoded, '-OutputFormat', 'Text'
        $name = [guid]::NewGuid()
        $process = Start-Process $program ($all | Where-Object { $_ }) -PassThru -WorkingDirectory $Folder `
            -Environment @{ FLEECE_HOST = $HostPath; NO_COLOR = '1' } -RedirectStandardOutput "$name.out" -RedirectStandardError "$name.err"
        $null = $process.Handle # Without it the exit code of a process that has ended is not known.
        Add-Member -InputObject $process SaidPath "$PWD/$name" -PassThru
    }

    # Waits for a shell; its exit code and what it said.
    function Wait-Shell($Shell) {
        if (-not $Shell.WaitForExit(120000)) { throw 'The shell does not end.' }
        $said = "$(Get-Content "$($Shell.SaidPath).out" -Raw)$(Get-Content "$($Shell.SaidPath).err" -Raw)".Trim()
        # PowerShell breaks the lines of errors.
        [pscustomobject] @{ ExitCode = $Shell.ExitCode; Said = $said; Words = $said -replace '\s*\n[\s|]*', ' ' }
    }

    function Invoke-Shell([string] $Script, [string] $HostPath = "$PWD/host.sock", [string] $Folder = $PWD) {
        Wait-Shell (Start-Shell $Script $HostPath $Folder)
    }

    # A job as cron runs it.
    function Start-CronJob([string] $Repository, [string] $More) {
        Start-Shell "Backup-FleeceDisk web -RepositoryPath $Repository -Keep 14 -ErrorAction Stop $More"
    }

    function Stop-TestHost {
        if ($process -and -not $process.HasExited) {
            Send-Signal TERM $process
            $process.WaitForExit(90000) | Should -BeTrue
        }
    }
}

Describe 'A host and shells that come and go' -Skip:$noHost {
    BeforeEach {
        Enter-TestFolder
        $script:named = $env:FLEECE_HOST
        $script:process = Start-TestHost $PWD
        $env:FLEECE_HOST = "$PWD/host.sock"
        $script:data = Get-RandomData 4MB
        [IO.File]::WriteAllBytes("$PWD/web.raw", $data)
    }
    AfterEach {
        Stop-TestHost
        Disconnect-FleeceHost
        $env:FLEECE_HOST = $named
        Exit-TestFolder
    }

    It 'hand a disk, a session and a backup from one to the next' {
        (Invoke-Shell 'Mount-FleeceDisk ./web.raw -ListenUri "nbd+unix:///?socket=./web.sock"').ExitCode | Should -Be 0
        (Invoke-Shell 'Start-FleeceSession web; Write-FleeceDisk web 0 ([byte[]]::new(65536))').ExitCode | Should -Be 0
        (Invoke-Shell 'Read-FleeceSnapshot -DiscardConsumed | Export-Backup ./copy.raw').ExitCode | Should -Be 0
        (Invoke-Shell 'Stop-FleeceSession web -Success').ExitCode | Should -Be 0

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/copy.raw")) $data | Should -BeTrue
        (Get-FleeceHost).ProcessId | Should -Be $process.Id
        (Get-FleeceDisk).Name | Should -Be web
        Get-FleeceSession | Should -BeNullOrEmpty
        Test-Path ./web.sock | Should -BeTrue
    }

    It 'keep what was mounted over a restart, and a job goes on with its chain' {
        $null = Mount-FleeceDisk ./web.raw -ListenUri "nbd+unix:///?socket=./web.sock"
        (Wait-Shell (Start-CronJob ./repo)).ExitCode | Should -Be 0
        Stop-TestHost
        Test-Path ./web.sock | Should -BeFalse

        $script:process = Start-TestHost $PWD
        # A disk is there before its listeners are.
        while (-not (Get-FleeceExport)) { Start-Sleep -Milliseconds 20 }
        Test-Path ./web.sock | Should -BeTrue
        Write-FleeceDisk web 1MB ([byte[]]::new(65536))
        (Wait-Shell (Start-CronJob ./repo)).ExitCode | Should -Be 0

        (Get-FleeceBackup ./repo).Kind | Should -Be 'Full', 'Incremental'
        (Test-FleeceBackup ./repo).IsValid | Should -Not -Contain $false
    }

    It 'keep a session over SIG<_> and a new start of the host' -ForEach 'TERM', 'KILL' {
        $instant = [IO.File]::ReadAllBytes("$PWD/web.raw")
        $null = Mount-FleeceDisk ./web.raw
        $null = Start-FleeceSession web -Name night
        Write-FleeceDisk web 0 ([byte[]]::new(65536))
        Send-Signal $_ $process
        $process.WaitForExit()

        $script:process = Start-TestHost $PWD
        while (-not (Get-FleeceDisk)) { Start-Sleep -Milliseconds 20 }

        (Resume-FleeceSession night).ResumedAt | Should -Not -BeNullOrEmpty
        { Resume-FleeceSession night -StatePath ./state -ErrorAction Stop } | Should -Throw '*Leave -StatePath out*'
        { Resume-FleeceSession night -StatePath ./state -WhatIf -ErrorAction Stop } | Should -Throw '*FLEECE_HOST = ''none''*'
        $null = Read-FleeceSnapshot night | Export-FleeceBackup ./night.raw -Format Raw
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/night.raw")) $instant | Should -BeTrue
        Stop-FleeceSession night -Success
        Get-FleeceSession | Should -BeNullOrEmpty
    }

    It 'say in the cmdlet and in the log of the host that a session is lost' {
        $null = Mount-FleeceDisk ./web.raw
        $null = Start-FleeceSession web -Name 'night 1'
        Send-Signal KILL $process
        $process.WaitForExit()
        (Get-Item ./web.raw).LastWriteTime = [datetime]::Now.AddMinutes(1)
        $script:process = Start-TestHost $PWD
        while (-not (Get-FleeceDisk)) { Start-Sleep -Milliseconds 20 }

        { Resume-FleeceSession 'night 1' -ErrorAction Stop -WarningVariable told -WarningAction SilentlyContinue } |
            Should -Throw "*Stop-FleeceSession 'web/night 1' -Force*" -ErrorId 'SessionLost,*'

        $null = Resume-FleeceSession -ErrorAction SilentlyContinue -WarningVariable told -WarningAction SilentlyContinue
        $told -join '|' | Should -Be ((Get-FleeceDisk web).Notes.ForEach({ "web: $_" }) -join '|')
        while (-not (Select-String 'resume all sessions: web/night 1 is lost' ./host.err -Quiet)) { Start-Sleep -Milliseconds 20 }
        Stop-FleeceSession 'night 1' -Force
        Resume-FleeceSession -WarningVariable nothing -WarningAction SilentlyContinue | Should -BeNullOrEmpty
        $nothing | Should -BeLike 'There is nothing to resume:*'
    }

    It 'end a job with another exit code than 0, and an error that says why, when it fails: <_>' -ForEach 'unknown disk', 'no host' {
        $hostPath = $_ -eq 'no host' ? "$PWD/none.sock" : "$PWD/host.sock"

        $job = Invoke-Shell 'Backup-FleeceDisk web -RepositoryPath ./repo -ErrorAction Stop' $hostPath

        $job.ExitCode | Should -Be 1
        $job.Words | Should -Match ($_ -eq 'no host' ? 'host' : "No disk named 'web'")
        Test-Path ./repo/*.qcow2 | Should -BeFalse
    }

    It 'tell a second job on the repository, and on the bitmap, which job is there' {
        $null = Mount-FleeceDisk ./web.raw
        $null = New-FleeceBitmap web day
        $first = Start-CronJob ./repo '-Bitmap day'
        while (-not (Get-FleeceSession)) { if ($first.HasExited) { throw "The job ended: $((Wait-Shell $first).Said)" } }
        Send-Signal STOP $first
        Get-FleeceSession | Should -HaveCount 1

        $second = Wait-Shell (Start-CronJob ./repo)
        $third = Wait-Shell (Start-CronJob ./other '-Bitmap day')
        Send-Signal CONT $first

        $second.ExitCode | Should -Be 1
        $second.Words | Should -Match "process $($first.Id)"
        $third.ExitCode | Should -Be 1
        $third.Words | Should -Match "belongs to the session 'web/day'.*that of a job \(.*process $($first.Id)"
        (Wait-Shell $first).ExitCode | Should -Be 0
        (Get-FleeceBackup ./repo).Kind | Should -Be 'Full'
    }

    It 'find the host by a path that is relative to the folder of the shell' {
        $null = New-Item below -ItemType Directory

        (Invoke-Shell '(Get-FleeceHost).ProcessId' './host.sock').Said | Should -Be "$($process.Id)"
        (Invoke-Shell '(Get-FleeceHost).ProcessId' '../host.sock' "$PWD/below").Said | Should -Be "$($process.Id)"
    }

    It 'refuse in a process of its own the image that the host holds, and say where it is' {
        $null = Mount-FleeceDisk ./web.raw

        $shell = Invoke-Shell 'try { Mount-FleeceDisk ./web.raw -ErrorAction Stop } catch { "$($_.FullyQualifiedErrorId): $_" }' 'none'

        $shell.Words | Should -Match '^ImageInUse,'
        $shell.Words | Should -Match "process $($process.Id)"
        (Get-FleeceDisk).Name | Should -Be web
    }

    It 'never mount a disk themselves in the place of a host that does not answer: <_>' -ForEach 'none there', 'stale', 'killed' {
        if ($_ -ne 'none there') { $process.Kill(); $process.WaitForExit() }
        $hostPath = $_ -eq 'none there' ? "$PWD/other.sock" : "$PWD/host.sock"
        if ($_ -eq 'stale') { Test-Path ./host.sock | Should -BeTrue }

        $shell = Invoke-Shell @'
            foreach ($command in { Mount-FleeceDisk ./web.raw }, { Get-FleeceDisk }, { Start-FleeceSession web }, { Get-FleeceHost }) {
                try { $null = & $command; 'done' } catch { $_.FullyQualifiedErrorId -replace ',.*' }
            }
            [IO.File]::Open("$PWD/web.raw", 'Open', 'ReadWrite', 'None').Dispose()
'@.Replace('& $command', '. { $ErrorActionPreference = "Stop"; & $command }') $hostPath

        $shell.Said -split '\s+' | Should -Be 'HostNotRunning', 'HostNotRunning', 'HostNotRunning', 'HostNotRunning'
        $shell.ExitCode | Should -Be 0
    }
}
