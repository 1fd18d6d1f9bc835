# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Runs the cmdlet tests in this process, with the disks in this process or in a host, and ends it with Pester's exit code.

.PARAMETER Pester
The manifest of Pester 5.

.PARAMETER Module
The manifest of the module under test.

.PARAMETER Owner
Process: disks live in this process. Host: a Start-FleeceHost in another process has them.

.PARAMETER Name
Files of tests, without .Tests.ps1; all when left out.
#>
param(
    [Parameter(Mandatory)] [string] $Pester,
    [Parameter(Mandatory)] [string] $Module,
    [ValidateSet('Process', 'Host')] [string] $Owner = 'Process',
    [string[]] $Name
)
$ErrorActionPreference = 'Stop'

# These end processes that have disks of their own, look at this process from outside, read servers of their own, start hosts of their own,
# or have no disks at all: a host changes nothing in what they prove.
$thisProcess = 'Binding', 'Compare-FleeceImage', 'Convert-FleeceImage', 'Ends', 'Examples', 'Flushing', 'Get-FleeceImage', 'Guests',
    'Help', 'Host', 'Install-FleeceHost', 'KilledNights', 'Kills', 'Loading', 'Memory', 'Module', 'New-FleeceImage', 'Readme',
    'RemoteSnapshots', 'Resume-FleeceSession', 'Sharing', 'Sizes', 'Start-FleeceHost', 'Test-FleeceImage', 'Uninstall-FleeceHost'

# These take minutes, and through a host they prove the engine, the cmdlets and the wire between them at once.
$hostAlone = 'Jobs', 'Printable'

Import-Module $Pester
# Some tests remove the module and import it again, so they must know which one is meant.
$env:FLEECE_MODULE = $Module
$env:FLEECE_HOST = 'none'
Import-Module $Module

$files = Get-ChildItem $PSScriptRoot -Filter *.Tests.ps1 | ForEach-Object { $_.Name.Replace('.Tests.ps1', '') }
if ($Name) { $files = $Name }
elseif ($Owner -eq 'Process') {
    Write-Information "Run with a host alone: $($hostAlone -join ', '). -Name runs them here." -InformationAction Continue
    $files = $files | Where-Object { $_ -notin $hostAlone }
}

$hostProcess = $null
if ($Owner -eq 'Host') {
    Write-Information "Not run with a host, because they prove the same without: $($thisProcess -join ', ')" -InformationAction Continue
    $files = $files | Where-Object { $_ -notin $thisProcess }
    $folder = New-Item (Join-Path ([IO.Path]::GetTempPath()) "fleece-host-$([guid]::NewGuid())") -ItemType Directory
    . "$PSScriptRoot/Setup.ps1"
    $hostProcess = Start-TestHost $folder
    $env:FLEECE_HOST = "$folder/host.sock"
}

$configuration = New-PesterConfiguration
$configuration.Run.Path = $files | ForEach-Object { Join-Path $PSScriptRoot "$_.Tests.ps1" }
$configuration.Run.PassThru = $true
$configuration.Output.Verbosity = 'Detailed'
$result = Invoke-Pester -Configuration $configuration
if ($hostProcess) {
    $lives = -not $hostProcess.HasExited
    Send-Signal TERM $hostProcess
    $ended = $hostProcess.WaitForExit(90000)
    if (-not $lives -or -not $ended) {
        Get-Content "$folder/host.err" | Write-Host
        throw "The host of the tests $($lives ? 'did not end when it was told to' : 'ended by itself')."
    }
    Remove-Item $folder -Recurse -Force
}
exit $result.FailedCount
