# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
What tests with failing flushes need: the library that makes them fail, a PowerShell that runs with it, and its control file.
#>

# Why flushes can't be made to fail here; empty when they can.
function Get-FaultSkipReason {
    if (-not $IsLinux) { return 'a library is preloaded on Linux only' }
    if (-not (Get-Command gcc -CommandType Application -ErrorAction Ignore)) { return 'gcc is not installed' }
    ''
}

# A Python that knows NBD, or nothing. The system's comes first: the module is a package of the system.
function Get-NbdPython {
    foreach ($python in '/usr/bin/python3', 'python3') {
        if (Get-Command $python -ErrorAction Ignore) {
            $null = & $python -c 'import nbd' 2>&1
            if ($LASTEXITCODE -eq 0) { return $python }
        }
    }
}

function New-FaultLibrary([string] $Folder) {
    $library = Join-Path $Folder failing-flush.so
    $said = gcc -shared -fPIC -O2 -o $library (Join-Path $PSScriptRoot failing-flush.c) -ldl 2>&1
    if ($LASTEXITCODE -ne 0) { throw "gcc can't compile failing-flush.c: $said" }
    $library
}

# Runs a script in a PowerShell with the library, and gives what it wrote, which must be JSON. The process itself is started, not a
# launcher, so that the library is loaded where the module runs.
function Invoke-WithFault([string] $Library, [string] $Folder, [string] $Script, [string[]] $Arguments) {
    $own = [Environment]::ProcessPath
    $start = [Diagnostics.ProcessStartInfo]::new($own)
    if ([IO.Path]::GetFileNameWithoutExtension($own) -ne 'pwsh') { $start.ArgumentList.Add((Join-Path $PSHOME pwsh.dll)) }
    foreach ($argument in @('-NoProfile', '-NonInteractive', '-File', $Script) + $Arguments) { $start.ArgumentList.Add($argument) }
    $start.WorkingDirectory = $Folder
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.Environment['LD_PRELOAD'] = $Library
    $start.Environment['FLEECE_FAULTS'] = Join-Path $Folder faults
    $process = [Diagnostics.Process]::Start($start)
    $errors = $process.StandardError.ReadToEndAsync()
    $output = $process.StandardOutput.ReadToEnd()
    $process.WaitForExit()
    if ($process.ExitCode -ne 0) { throw "The PowerShell with failing flushes ended with $($process.ExitCode): $output$($errors.Result)" }
    ConvertFrom-Json $output
}

# From here on in the process whose flushes fail: failing-flush.c says what the numbers mean.
$script:faultNumber = 0

function Set-Fault([string] $PathEnd, [int] $First = 1, [int] $Times = 0, [switch] $Drops) {
    $script:faultNumber++
    [IO.File]::WriteAllText("$env:FLEECE_FAULTS.new", "$script:faultNumber $First $Times $([int] [bool] $Drops) $PathEnd`n")
    [IO.File]::Move("$env:FLEECE_FAULTS.new", $env:FLEECE_FAULTS, $true)
}

function Clear-Fault { Remove-Item $env:FLEECE_FAULTS -ErrorAction Ignore }

# What an action failed with, as "id: message"; empty when it worked.
function Get-Failure([scriptblock] $Action) {
    try {
        $null = & $Action
        ''
    } catch {
        "$($_.FullyQualifiedErrorId): $($_.Exception.Message)"
    }
}
