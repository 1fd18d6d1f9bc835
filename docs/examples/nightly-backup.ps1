# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Backs up disks to repositories, and ends with exit code 0 only when all of it went well.

.DESCRIPTION
A job for cron, systemd or Task Scheduler. Each image is mounted, backed up to a folder of its own below the repository folder, and
dismounted; a disk that fails does not keep the others from their backups. Every error counts: one that ends the statement,
one that a cmdlet only reports, and one in taking out old backups. It is written to standard error, and the exit code is 1.

    pwsh -NoProfile -NonInteractive -File ./nightly-backup.ps1 -RepositoryPath /backup /vms/web.qcow2 /vms/db.vhdx

PowerShell by itself does not do this: a script whose last line is a failing cmdlet ends with exit code 0 under `pwsh -File`, and under
`pwsh -Command ./job.ps1`, because the error was reported and the script went on to its end.

.PARAMETER Path
The images; wildcards stand for each image that they match. An image that a guest uses is refused as in use. The process that serves such
a disk backs it up, with Backup-FleeceDisk, or starts a session on it, whose snapshot Read-FleeceSnapshot -Uri reads from another process.
An NBD URI is refused: bitmaps of a mounted export end with the dismount, and one of a live disk of another Fleece has no point in time.

.PARAMETER RepositoryPath
The folder that holds a repository for each disk, named as the disk. It must exist, so that a volume that is not mounted is noticed.

.PARAMETER Keep
How many backups of each disk stay.

.PARAMETER ModulePath
The module, where it is not installed.
#>
[CmdletBinding(PositionalBinding = $false)]
param(
    [Parameter(Mandatory, ValueFromRemainingArguments)] [string[]] $Path,
    [Parameter(Mandatory)] [string] $RepositoryPath,
    [ValidateRange(1, [int]::MaxValue)] [int] $Keep = 14,
    [string] $ModulePath = 'Fleece'
)

# Errors that cmdlets report become errors that end the statement, and so reach the catch blocks below.
$ErrorActionPreference = 'Stop'
$hasFailed = $false

function Write-Failure([string] $What, $Cause) {
    [Console]::Error.WriteLine("${What}: $($Cause.Exception.Message) [$($Cause.FullyQualifiedErrorId)]")
}

function Stop-Item([string] $Item, [string] $ErrorId, [string] $Message) {
    throw [Management.Automation.ErrorRecord]::new([ArgumentException]::new($Message), $ErrorId, 'InvalidArgument', $Item)
}

# A name that holds a bracket is a name where there is such a file.
function Get-ImagePath([string] $Item) {
    if ($Item -match '^nbds?(\+\w+)?://') {
        Stop-Item $Item NbdUriRefused ('A mounted export has no bitmaps from one night to the next, and of a live disk no point in ' +
            'time. Run Backup-FleeceDisk in the process that serves the disk, or read the snapshot of a session of that process with ' +
            'Read-FleeceSnapshot -Uri.')
    }
    if ((Test-Path -LiteralPath $Item) -or -not [WildcardPattern]::ContainsWildcardCharacters($Item)) { return $Item }
    $images = (Get-Item -Path $Item).FullName
    if (-not $images) { Stop-Item $Item NoImageMatches 'No image matches. Name the images, or see that their volume is mounted.' }
    $images
}

function Backup-Image([string] $Image) {
    $disk = Mount-FleeceDisk -LiteralPath $Image
    try {
        Backup-FleeceDisk $disk (Join-Path $RepositoryPath $disk.Name) -Keep $Keep
    } finally {
        Dismount-FleeceDisk $disk
    }
}

# The disks are this process's own and end with the script, whether the machine has a Fleece host or not.
$hostBefore = $env:FLEECE_HOST
$env:FLEECE_HOST = 'none'
try {
    Import-Module $ModulePath
    foreach ($item in $Path) {
        try {
            $images = @(Get-ImagePath $item)
        } catch {
            Write-Failure $item $_
            $hasFailed = $true
            continue
        }
        # A wildcard, the shell's too, matches the bitmaps and temp that Fleece keeps beside an image.
        foreach ($image in $images -notlike '*.fleece-*') {
            try {
                Backup-Image $image
            } catch {
                Write-Failure $image $_
                $hasFailed = $true
            }
        }
    }
} catch {
    Write-Failure 'The job did not begin' $_
    $hasFailed = $true
} finally {
    $env:FLEECE_HOST = $hostBefore
}

# The one statement that sets the exit code under -File and -Command alike.
exit ($hasFailed ? 1 : 0)
