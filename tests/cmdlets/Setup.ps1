# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
What every file of cmdlet tests needs: the module under test, a folder for each test, and a disk with known content.

.DESCRIPTION
The module is the manifest that FLEECE_MODULE names, or the newest one under output.
#>

function Get-ModuleUnderTest {
    if ($env:FLEECE_MODULE) { return $env:FLEECE_MODULE }
    $staged = Get-ChildItem (Join-Path $PSScriptRoot '../../output/Fleece') -Filter Fleece.psd1 -Recurse -ErrorAction Ignore |
        Sort-Object { [version] $_.Directory.Name } -Descending | Select-Object -First 1
    if (-not $staged) { throw 'There is no module to test: set FLEECE_MODULE to its manifest, or run ./build.ps1 first.' }
    $staged.FullName
}

# The program and its first argument. The process of a PowerShell that is a tool of .NET is dotnet; its launcher would get the signals
# and the exit code in its stead.
function Get-PowerShellCommand {
    $own = [Environment]::ProcessPath
    if ([IO.Path]::GetFileNameWithoutExtension($own) -eq 'pwsh') { $own } else { $own, "$PSHOME/pwsh.dll" }
}

# The exit code of a process that has ended, and all that it wrote: Start-Process copies that to the files on threads of its own, and only
# the wait without a time waits for them.
function Get-EndOf($Process, [string] $Output, [string] $Errors) {
    $Process.WaitForExit()
    "exit code $($Process.ExitCode). Errors: $(Get-Content $Errors -Raw) Output: $(Get-Content $Output -Raw)"
}

# Runs a script in a process of its own; it has begun when it has made the file "ready".
function Start-ScriptProcess([string] $Script, [string[]] $Arguments) {
    Set-Content ./script.ps1 $Script
    $program, $first = @(Get-PowerShellCommand)
    $all = @($first) + '-NoProfile', '-NonInteractive', '-File', './script.ps1', (Get-ModuleUnderTest) + $Arguments
    $process = Start-Process $program ($all | Where-Object { $_ }) -PassThru `
        -Environment @{ FLEECE_HOST = 'none' } -RedirectStandardOutput out.txt -RedirectStandardError err.txt
    $null = $process.Handle # Without it the exit code of a process that has ended is not known.
    while (-not (Test-Path ready)) {
        if ($process.WaitForExit(50)) { throw "The script ended, $(Get-EndOf $process out.txt err.txt)" }
    }
    Remove-Item ready
    $process
}

# A host in a process of its own, whose socket is host.sock in the folder; it answers when this returns.
function Start-TestHost([string] $Folder) {
    $program, $first = @(Get-PowerShellCommand)
    $script = "Import-Module '$(Get-ModuleUnderTest)'; Start-FleeceHost -StatePath '$Folder/state' -SocketPath '$Folder/host.sock'"
    $all = @($first) + '-NoProfile', '-NonInteractive', '-Command', $script
    $process = Start-Process $program ($all | Where-Object { $_ }) -PassThru -RedirectStandardOutput "$Folder/host.out" -RedirectStandardError "$Folder/host.err"
    $null = $process.Handle # Without it the exit code of a process that has ended is not known.
    # Its file is there a moment before it listens.
    while (-not (Select-String 'listens at' "$Folder/host.err" -Quiet -ErrorAction Ignore)) {
        if ($process.WaitForExit(50)) { throw "The host ended, $(Get-EndOf $process "$Folder/host.out" "$Folder/host.err")" }
    }
    $process
}

# nbdkit in a process of its own; it listens when this returns. Its socket is there a moment before, its pid file is not.
function Start-NbdkitProcess([string] $Socket, [string[]] $Arguments) {
    Remove-Item "$Socket.pid" -ErrorAction Ignore
    $all = @('-f', '-U', $Socket, '-P', "$Socket.pid") + $Arguments
    $process = Start-Process nbdkit $all -PassThru -RedirectStandardError "$Socket.err"
    while (-not (Test-Path "$Socket.pid")) {
        if ($process.WaitForExit(20)) { throw "nbdkit ended: $(Get-Content "$Socket.err" -Raw)" }
    }
    $process
}

# Whether the disks of the tests are in another process. A test that is about this process's own says so and is skipped then.
function Test-ThroughHost { $env:FLEECE_HOST -ne 'none' }

function Skip-ThroughHost([string] $Because) {
    if (Test-ThroughHost) { Set-ItResult -Skipped -Because $Because }
}

function Send-Signal([string] $Name, $Process) { sh -c "kill -s $Name $($Process.Id)" }

# Global, so that a test that removes the module removes the same one that the others see.
function Import-ModuleUnderTest { Import-Module (Get-ModuleUnderTest) -Global -Force }

function Enter-TestFolder { Push-Location (New-Item (Join-Path $TestDrive ([guid]::NewGuid())) -ItemType Directory) }

# Pester removes the folder, which it could not while a disk is open or the location is inside.
function Exit-TestFolder {
    try { Get-FleeceDisk | Dismount-FleeceDisk -Force } finally { Pop-Location }
}

# Random, so that bytes at a wrong place are not right by chance; seeded, so that every run is the same.
function Get-RandomData([int] $LengthBytes, [int] $Seed = 7) {
    $data = [byte[]]::new($LengthBytes)
    [Random]::new($Seed).NextBytes($data)
    , $data
}

function New-MountedDisk([string] $Name = 'vm', [string] $Extension = 'raw', [long] $SizeBytes = 2MB, [byte[]] $Data) {
    $null = New-FleeceImage "./$Name.$Extension" -SizeBytes $SizeBytes
    $null = Mount-FleeceDisk "./$Name.$Extension"
    if ($Data) { Write-FleeceDisk $Name 0 $Data }
}

# Should compares arrays item by item, which takes minutes for the content of a disk.
function Test-SameData([byte[]] $Left, [byte[]] $Right) { [Linq.Enumerable]::SequenceEqual[byte]($Left, $Right) }

# The only error of a command, whether it ends the command or not.
function Get-OnlyError([scriptblock] $Script) {
    $ErrorActionPreference = 'Continue'
    $errors = @(& $Script 2>&1 3>$null | Where-Object { $_ -is [Management.Automation.ErrorRecord] })
    $errors | Should -HaveCount 1
    $errors[0]
}

function Get-FailureId([scriptblock] $Action) {
    try {
        $null = & $Action
    } catch {
        return $_.FullyQualifiedErrorId
    }
}

function Get-SocketUri([string] $Export, [string] $Socket = 'vm.sock') { "nbd+unix:///${Export}?socket=$Socket" }

# The address as programs that know nothing of PowerShell's location need it.
function Get-ExportUri([string] $Export) { (Get-FleeceExport).Uris | Where-Object ExportName -EQ $Export | ForEach-Object ToString }
