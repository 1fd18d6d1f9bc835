# SPDX-License-Identifier: MIT
# Matter: processes with mounted disks that end by a signal, and what they leave.

BeforeDiscovery {
    $script:noSignals = $IsWindows
    $script:noFlood = -not (Get-Command fio -CommandType Application -ErrorAction Ignore)
    $script:noNbdkit = -not (Get-Command nbdkit -CommandType Application -ErrorAction Ignore)
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # A disk on a socket, with a bitmap and a session. What it does next is the test's.
    $script:serve = @'
param($Module, $Kind)
$ErrorActionPreference = 'Stop'
Import-Module $Module
$null = Mount-FleeceDisk ./vm.raw -ListenUri "nbd+unix:///?socket=$PWD/vm.sock"
$null = New-FleeceBitmap vm nightly
$null = Start-FleeceSession vm -Name night -Bitmap nightly
Write-FleeceDisk vm 1MB ([byte[]]::new(64KB))
if ($Kind -eq 'removed') { Remove-Module Fleece }
if ($Kind -eq 'chunk') {
    Read-FleeceSnapshot night | ForEach-Object { $_; $null = New-Item ready; Start-Sleep 3600 } | Export-Backup ./b.raw
}
$null = New-Item ready
while ($Kind -eq 'backup') { $null = Backup-FleeceDisk vm ./repo -Keep 2 -Full }
Start-Sleep 3600
'@

    function Get-Litter { (Get-ChildItem -Recurse -File).Name | Where-Object { $_ -match '\.(sock|fleece-temp|partial)$' } }
}

Describe 'A process that is told to end by <Signal>' -Skip:$noSignals -ForEach @(
    @{ Signal = 'TERM'; ExitCode = 143 }
    @{ Signal = 'HUP'; ExitCode = 129 }
) {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 16MB
        [IO.File]::WriteAllBytes("$PWD/vm.raw", $old)
    }
    AfterEach {
        if ($process -and -not $process.HasExited) { $process.Kill() }
        Exit-TestFolder
    }

    It 'closes its disks, leaves no socket and no temp, and ends as the signal says' {
        $script:process = Start-ScriptProcess $serve rest
        Get-Litter | Should -HaveCount 2

        Send-Signal $Signal $process

        $process.WaitForExit(60000) | Should -BeTrue
        $process.ExitCode | Should -Be $ExitCode
        Get-Litter | Should -BeNullOrEmpty
        Get-Content err.txt | Should -BeNullOrEmpty
        $null = Mount-FleeceDisk ./vm.raw -WarningVariable warnings -WarningAction SilentlyContinue
        $warnings | Should -BeNullOrEmpty
        $bitmap = Get-FleeceBitmap vm nightly
        "$($bitmap.State)" | Should -Be Recording
        $bitmap.DirtyBytes | Should -Be 64KB
        Test-SameData (Read-FleeceDisk vm 1MB 64KB) ([byte[]]::new(64KB)) | Should -BeTrue
    }

    It 'ends while a backup runs, without a partial file' {
        $script:process = Start-ScriptProcess $serve backup

        Send-Signal $Signal $process

        $process.WaitForExit(60000) | Should -BeTrue
        $process.ExitCode | Should -Be $ExitCode
        Get-Litter | Should -BeNullOrEmpty
    }

    It 'ends while a pipeline rests in the middle of a backup' {
        $script:process = Start-ScriptProcess $serve chunk

        Send-Signal $Signal $process

        $process.WaitForExit(60000) | Should -BeTrue
        $process.ExitCode | Should -Be $ExitCode
        @(Get-Content err.txt) -like 'Fleece got *' |
            Should -Be "Fleece got SIG${Signal}: 2 Fleece commands are stopped before the end, and all disks are closed."
        Get-Litter | Should -Not -Contain 'vm.sock'
        $null = Mount-FleeceDisk ./vm.raw
        "$((Get-FleeceBitmap vm nightly).State)" | Should -Be Recording
    }

    It 'ends while a guest floods the disk with writes' -Skip:$noFlood {
        $script:process = Start-ScriptProcess $serve rest
        $flood = Start-Process fio ('--name=x', '--ioengine=nbd', "--uri=nbd+unix:///vm?socket=$PWD/vm.sock", '--rw=randwrite', '--bs=4k',
            '--iodepth=16', '--size=16M', '--time_based', '--runtime=3600') -PassThru -RedirectStandardOutput fio.txt -RedirectStandardError fio.err
        try {
            $before = (Get-Item vm.raw).LastWriteTimeUtc
            while ((Get-Item vm.raw).LastWriteTimeUtc -eq $before) {
                if ($flood.WaitForExit(20)) { throw "fio ended: $(Get-Content fio.err, fio.txt -Raw)" }
            }

            Send-Signal $Signal $process

            $process.WaitForExit(60000) | Should -BeTrue
            $process.ExitCode | Should -Be $ExitCode
        } finally {
            if (-not $flood.HasExited) { $flood.Kill() }
        }
        Get-Litter | Should -BeNullOrEmpty
        $null = Mount-FleeceDisk ./vm.raw -WarningVariable warnings -WarningAction SilentlyContinue
        $warnings | Should -BeNullOrEmpty
        "$((Get-FleeceBitmap vm nightly).State)" | Should -Be Recording
    }
}

Describe 'The signals' -Skip:$noSignals {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.raw -SizeBytes 4MB
    }
    AfterEach {
        if ($process -and -not $process.HasExited) { $process.Kill() }
        Exit-TestFolder
    }

    It 'close the disks beside one whose storage does not answer, and a second one ends the process at once' -Skip:$noNbdkit {
        $server = Start-NbdkitProcess "$PWD/far.nbd" 'memory', '4M'
        $far = @'
param($Module, $Kind)
Import-Module $Module
$null = Mount-FleeceDisk "nbd+unix:///?socket=$PWD/far.nbd" -Name far
Write-FleeceDisk far 0 ([byte[]]::new(4KB))
'@
        $script:process = Start-ScriptProcess ($far + [Environment]::NewLine + ($serve -split '\r?\n' | Select-Object -Skip 3 | Out-String)) rest
        Send-Signal STOP $server
        try {
            Send-Signal TERM $process
            $waited = [Diagnostics.Stopwatch]::StartNew()
            while ((Get-Litter) -and $waited.Elapsed.TotalSeconds -lt 60) { Start-Sleep -Milliseconds 20 }
            Get-Litter | Should -BeNullOrEmpty
            $process.HasExited | Should -BeFalse

            # One that comes in the same tenth of a second is not a second one.
            Start-Sleep -Milliseconds 150
            Send-Signal TERM $process

            $process.WaitForExit(30000) | Should -BeTrue
            $process.ExitCode | Should -Be 143
        } finally {
            $server.Kill()
        }
    }

    It 'are given back with the module' -Skip:(-not $IsLinux) {
        $script:process = Start-ScriptProcess $serve rest
        # Bit 0 of the caught signals is SIGHUP, which is number 1; .NET itself keeps a handler for SIGTERM.
        $caught = { [Convert]::ToInt64(((Get-Content "/proc/$($process.Id)/status") -match '^SigCgt:' -split '\s+')[1], 16) -band 1 }
        & $caught | Should -Not -Be 0
        $process.Kill()
        $process.WaitForExit()
        Get-ChildItem vm.* | Remove-Item
        $null = New-FleeceImage ./vm.raw -SizeBytes 4MB

        $script:process = Start-ScriptProcess $serve removed

        & $caught | Should -Be 0
    }
}

Describe 'What a killed process leaves' -Skip:$noSignals {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is gone with the next mount, socket and temp' {
        $null = New-FleeceImage ./vm.raw -SizeBytes 4MB
        $process = Start-ScriptProcess $serve rest
        $process.Kill()
        $process.WaitForExit()
        Get-Litter | Should -HaveCount 2

        $null = Mount-FleeceDisk ./vm.raw -ListenUri "nbd+unix:///?socket=$PWD/vm.sock" -WarningVariable warnings -WarningAction Ignore

        "$warnings" | Should -BeLike '*nothing is lost*'
        Get-Litter | Should -Be 'vm.sock'
        "$((Get-FleeceBitmap vm nightly).State)" | Should -Be Recording
    }
}
