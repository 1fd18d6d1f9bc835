# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Kills the nightly job at random instants, and looks at every point that its repository keeps.

.DESCRIPTION
A guest numbers its writes and makes them in a fixed order, so one number tells each instant of its disk. A point must restore to the
disk of one instant, of the time of its job, and to the same after every later kill. FLEECE_NIGHTS says how often each format is killed
(1 by default), FLEECE_SEED repeats a run.
#>
BeforeDiscovery {
    # Elsewhere a killed process looks like a crashed system, after which no bitmap is trusted.
    $script:missing = -not $IsLinux
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
    $script:UnitBytes = 4KB
    $script:Units = 4096
    $script:Stride = 7919 # A prime, so that the guest comes to all units in turn.
    $script:Keep = 2

    $script:nights = @'
param($Module, $Format, $Keep, $First, $Stride, $Units)
$ErrorActionPreference = 'Stop'
Import-Module $Module
$null = Mount-FleeceDisk ./vm.raw -WarningAction Ignore
$guest = [powershell]::Create().AddScript({
    param($Module, [long] $Number, $Stride, $Units)
    Import-Module $Module
    while ($true) {
        Write-FleeceDisk vm (($Number * $Stride % $Units) * 4KB) ([BitConverter]::GetBytes($Number))
        $Number++
    }
}).AddArgument($Module).AddArgument($First).AddArgument([int] $Stride).AddArgument([int] $Units)
$null = $guest.BeginInvoke()
$job = @{ RepositoryPath = './repository'; Format = $Format; Keep = $Keep; WarningAction = 'Ignore' }
$null = Backup-FleeceDisk vm @job
$null = New-Item ready
while ($true) { $null = Backup-FleeceDisk vm @job }
'@

    # Each unit holds the number of the last write to it; the highest of all says what all others must hold.
    function Get-Instant([string] $Path) {
        $content = [IO.File]::ReadAllBytes($Path)
        $content.Length | Should -Be ($Units * $UnitBytes)
        $numbers = foreach ($unit in 0..($Units - 1)) { [BitConverter]::ToInt64($content, $unit * $UnitBytes) }
        $instant = ($numbers | Measure-Object -Maximum).Maximum
        for ($number = $instant; $number -gt [Math]::Max(0, $instant - $Units); $number--) {
            $unit = $number * $Stride % $Units
            if ($numbers[$unit] -ne $number) { throw "In $Path of the instant $instant the unit $unit holds $($numbers[$unit]), not $number." }
            $numbers[$unit] = 0
        }
        $numbers | Where-Object { $_ -ne 0 } | Should -BeNullOrEmpty
        $instant
    }

    function Backup-Once([string] $Format) {
        $null = Mount-FleeceDisk ./vm.raw -WarningAction Ignore
        $null = Backup-FleeceDisk vm ./repository -Format $Format -Keep $Keep -WarningAction Ignore
        Dismount-FleeceDisk vm
    }

    # The number of points; a new one shows an instant of the time of the last job, an old one the instant that it showed before.
    function Test-Points([hashtable] $Instants, [long] $First) {
        $last = Get-Instant "$PWD/vm.raw"
        $points = @(Get-FleeceBackup ./repository)
        Write-Host "writes $First to $last, points $($points.Number)"
        foreach ($point in $points) {
            $null = $point | Restore-FleeceBackup -DestinationPath ./restored -Format Raw
            $instant = Get-Instant "$PWD/restored"
            Remove-Item ./restored
            if ($Instants.ContainsKey($point.Number)) {
                $instant | Should -Be $Instants[$point.Number] -Because "the point $($point.Number) showed that before"
                continue
            }
            $instant | Should -BeGreaterOrEqual ($First - 1)
            $instant | Should -BeLessOrEqual $last
            $Instants[$point.Number] = $instant
        }
        $points.Count
    }
}

Describe 'A repository of <_> backups whose job is killed at random instants' -Skip:$missing -ForEach 'Qcow2', 'Vhd', 'Vhdx' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'keeps points that are the disk of one instant each' {
        $seed = $env:FLEECE_SEED ? [int] $env:FLEECE_SEED : [Random]::new().Next()
        Write-Host "FLEECE_SEED=$seed"
        $random = [Random]::new($seed)
        $null = New-FleeceImage ./vm.raw -SizeBytes ($Units * $UnitBytes)
        $instants = @{}

        foreach ($kill in 1..($env:FLEECE_NIGHTS ? [int] $env:FLEECE_NIGHTS : 1)) {
            $first = (Get-Instant "$PWD/vm.raw") + 1
            $process = Start-ScriptProcess $nights ($_, $Keep, $first, $Stride, $Units)
            Start-Sleep -Milliseconds $random.Next(1500)
            $process.Kill()
            $process.WaitForExit()
            Test-Points $instants $first | Should -BeGreaterThan 0
        }

        $last = Get-Instant "$PWD/vm.raw"
        $last | Should -BeGreaterThan 0
        Backup-Once $_
        # A kill between a backup and its bitmap's turn leaves two backups over one parent: it goes with the killed one, a night later.
        Test-Points $instants $last | Should -BeIn 1, $Keep, ($Keep + 1)
        $instants[[int] ($instants.Keys | Measure-Object -Maximum).Maximum] | Should -Be $last

        Backup-Once $_
        Test-Points $instants $last | Should -Be $Keep
    }
}
