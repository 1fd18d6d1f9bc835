# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Ends a PowerShell that serves a disk, by SIGKILL and SIGTERM at random instants, and looks at what is left.

.DESCRIPTION
The process has a session, one or two bitmaps and a running Backup-FleeceDisk; qemu-io is its guest. FLEECE_KILLS says how often each format is
ended (2 by default), FLEECE_SEED repeats a run.
#>
BeforeDiscovery {
    $script:missing = $IsWindows -or -not (Get-Command qemu-io -CommandType Application -ErrorAction Ignore)
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
    $script:DiskBytes = 8MB
    $script:BlockBytes = 4KB
    $script:BlockCount = $DiskBytes / $BlockBytes

    $script:serve = @'
param($Module, $Image, $NextBitmap)
$ErrorActionPreference = 'Stop'
Import-Module $Module
$null = Mount-FleeceDisk $Image -Name vm -ListenUri "nbd+unix:///?socket=$PWD/vm.sock"
$next = $NextBitmap ? @{ NextBitmap = $NextBitmap } : @{}
$null = Start-FleeceSession vm -Name night -Bitmap nightly @next
$null = New-Item ready
while ($true) { $null = Backup-FleeceDisk vm ./repo -Keep 2 -WarningAction Ignore }
'@

    # What each block may hold: what it held at the last flush, and everything that was written to it since.
    function New-Model([byte[]] $Content) {
        $allowed = [Collections.Generic.HashSet[byte][]]::new($BlockCount)
        for ($block = 0; $block -lt $BlockCount; $block++) {
            $allowed[$block] = [Collections.Generic.HashSet[byte]]::new()
            $null = $allowed[$block].Add($Content[$block * $BlockBytes])
        }
        @{ Allowed = $allowed; Last = @{}; Pending = @{}; Acknowledged = 0 }
    }

    # Writes and flushes until the server is gone.
    function Invoke-Guest([Random] $Random, $Model) {
        $start = [Diagnostics.ProcessStartInfo]::new('qemu-io')
        '-f', 'raw', "nbd+unix:///vm?socket=$PWD/vm.sock" | ForEach-Object { $start.ArgumentList.Add($_) }
        $start.RedirectStandardInput = $start.RedirectStandardOutput = $start.RedirectStandardError = $true
        $client = [Diagnostics.Process]::Start($start)
        $null = $client.StandardError.ReadToEndAsync()
        try {
            $null = Read-Answer $client
            while ($true) {
                $block = $Random.Next($BlockCount)
                $count = [Math]::Min($Random.Next(1, 17), $BlockCount - $block)
                $pattern = [byte] $Random.Next(1, 256)
                foreach ($one in $block..($block + $count - 1)) {
                    $null = $Model.Allowed[$one].Add($pattern)
                    $Model.Pending[$one] = $pattern
                }
                $written = Request-Answer $client "write -P $pattern $($block * $BlockBytes) $($count * $BlockBytes)"
                if ($written -notmatch 'wrote (\d+)/\1 bytes') { return }
                foreach ($one in $Model.Pending.Keys) { $Model.Last[$one] = $pattern }
                $Model.Pending.Clear()
                $Model.Acknowledged++
                if ($Random.Next(8) -eq 0) {
                    # qemu-io does not say how a flush went, but a connection that was lost meanwhile answers no read behind it.
                    $null = Request-Answer $client 'flush'
                    if ((Request-Answer $client 'read 0 512') -notmatch 'read 512/512 bytes') { return }
                    Set-Settled $Model
                }
            }
        } finally {
            $client.Kill()
            $client.Dispose()
        }
    }

    # qemu-io takes one command at a time: what it says ends with its prompt, and a second line would lie unread in its buffer.
    function Read-Answer($Client) {
        $buffer = [char[]]::new(4096)
        $answer = ''
        while (-not $answer.EndsWith('qemu-io> ')) {
            $count = $Client.StandardOutput.Read($buffer, 0, $buffer.Length)
            if ($count -eq 0) { break }
            $answer += [string]::new($buffer, 0, $count)
        }
        $answer
    }

    function Request-Answer($Client, [string] $Command) {
        try {
            $Client.StandardInput.WriteLine($Command)
            $Client.StandardInput.Flush()
            Read-Answer $Client
        } catch [IO.IOException] {
            ''
        }
    }

    # A flush was answered, or the server was told to end: of each block the last write that was answered counts, and one that was
    # under way may.
    function Set-Settled($Model) {
        foreach ($block in $Model.Last.Keys) {
            $Model.Allowed[$block].Clear()
            $null = $Model.Allowed[$block].Add($Model.Last[$block])
            if ($Model.Pending.ContainsKey($block)) { $null = $Model.Allowed[$block].Add($Model.Pending[$block]) }
        }
        $Model.Last.Clear()
    }

    # The disk, after every block was found to hold one value that it may hold.
    function Assert-Content($Model) {
        $content = Read-FleeceDisk vm 0 $DiskBytes
        $expected = [byte[]]::new($DiskBytes)
        for ($block = 0; $block -lt $BlockCount; $block++) {
            $value = $content[$block * $BlockBytes]
            if (-not $Model.Allowed[$block].Contains($value)) {
                throw "Block $block holds $value and may hold $($Model.Allowed[$block] -join ', ')."
            }
            [Array]::Fill($expected, $value, $block * $BlockBytes, $BlockBytes)
        }
        Test-SameData $content $expected | Should -BeTrue -Because 'no block is torn'
        , $content
    }

    # What the bitmap says has changed, over what the disk was when the bitmap began, is the disk.
    function Assert-Bitmap([byte[]] $Baseline, [byte[]] $Content) {
        (Get-FleeceBitmap vm).Name | Should -Not -Contain nightly2
        $bitmap = Get-FleeceBitmap vm nightly
        "$($bitmap.State) $($bitmap.Reason)".Trim() | Should -Be Recording
        $null = Start-FleeceSession vm -Name check -Bitmap nightly
        $applied = [byte[]] $Baseline.Clone()
        Read-FleeceSnapshot check | ForEach-Object {
            if ($_.IsZero) { [Array]::Clear($applied, $_.OffsetBytes, $_.LengthBytes) } else { $_.Data.CopyTo($applied, $_.OffsetBytes) }
        }
        Stop-FleeceSession check
        Test-SameData $applied $Content | Should -BeTrue -Because 'the bitmap has every change'
    }
}

Describe 'A process that serves a <Extension> disk and is ended at a random instant' -Skip:$missing -ForEach @(
    @{ Extension = 'raw' }
    @{ Extension = 'qcow2' }
    @{ Extension = 'vhd' }
    @{ Extension = 'vhdx' }
) {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'loses nothing that was flushed, keeps its bitmap trusted and complete, and leaves nothing behind for long' {
        $seed = $env:FLEECE_SEED ? [int] $env:FLEECE_SEED : [Random]::new().Next()
        Write-Host "FLEECE_SEED=$seed"
        $random = [Random]::new($seed)
        New-MountedDisk -Extension $Extension -SizeBytes $DiskBytes
        $null = New-FleeceBitmap vm nightly
        $baseline = Read-FleeceDisk vm 0 $DiskBytes
        Dismount-FleeceDisk vm
        $model = New-Model $baseline
        $writes = 0

        $rounds = $env:FLEECE_KILLS ? [int] $env:FLEECE_KILLS : 2
        # On a busy machine the guest may not have begun to write when its server is ended.
        for ($round = 1; $round -le $rounds -or ($writes -eq 0 -and $round -le 50); $round++) {
            $signal = 'KILL', 'TERM' | Get-Random -SetSeed $random.Next()
            $delay = $random.Next(1, 1500) / 1000
            $process = Start-ScriptProcess $serve (@("./vm.$Extension") + @('nightly2' | Where-Object { $random.Next(2) }))
            $killer = Start-Process sh ('-c', "`"sleep $delay; kill -s $signal $($process.Id)`"") -PassThru
            Invoke-Guest $random $model
            $killer.WaitForExit()
            $process.WaitForExit(120000) | Should -BeTrue
            $because = "round $round, $signal after $delay s, $($model.Acknowledged) writes, seed $seed"
            $process.ExitCode | Should -Be ($signal -eq 'KILL' ? 137 : 143) -Because "$because; $(Get-Content err.txt -Raw)"
            if ($signal -eq 'TERM') { Set-Settled $model }

            $null = Mount-FleeceDisk "./vm.$Extension" -ListenUri "nbd+unix:///?socket=$PWD/vm.sock" -WarningVariable warnings `
                -WarningAction Ignore
            $warnings | Where-Object { $_ -notlike '*nothing is lost*' } | Should -BeNullOrEmpty -Because $because
            (Get-ChildItem -File).Name | Where-Object { $_ -like '*.fleece-temp' } | Should -BeNullOrEmpty -Because $because
            $content = Assert-Content $model
            Assert-Bitmap $baseline $content
            $null = Backup-FleeceDisk vm ./repo -Keep 2 -WarningAction Ignore
            (Get-ChildItem ./repo).Name | Where-Object { $_ -like '*.partial' } | Should -BeNullOrEmpty -Because $because
            Dismount-FleeceDisk vm
            (Get-ChildItem -File).Name | Where-Object { $_ -notin 'script.ps1', 'out.txt', 'err.txt' } | Sort-Object |
                Should -Be "vm.$Extension", "vm.$Extension.fleece-bitmaps" -Because $because
            $writes += $model.Acknowledged
            $model = New-Model $content
        }
        $writes | Should -BeGreaterThan 0
        Write-Host "$writes writes"

        (Get-FleeceBackup ./repo | Test-FleeceBackup -Deep).IsGood | Should -Not -Contain $false
        $newest = Get-FleeceBackup ./repo | Sort-Object Number | Select-Object -Last 1
        $null = Restore-FleeceBackup $newest.Path -DestinationPath ./restored.raw
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/restored.raw")) $content | Should -BeTrue
    }
}
