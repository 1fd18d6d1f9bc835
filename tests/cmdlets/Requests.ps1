# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
One setup for requests that must change nothing: those that are refused, and those with -WhatIf.

.DESCRIPTION
The disk vm of 1 MiB has the sessions a and b, the bitmap daily and an export at vm.sock; it has a backup in the repository repo. Beside
it lie small.raw, which nothing has mounted, and empty.raw, which is no disk.
#>

function Enter-RequestFolder {
    Enter-TestFolder
    New-MountedDisk -SizeBytes 1MB -Data (Get-RandomData 64KB)
    $null = Backup-FleeceDisk vm ./repo
    Get-FleeceBitmap vm | Remove-FleeceBitmap -Force
    $null = New-FleeceBitmap vm daily
    $null = Start-FleeceSession vm -Name a
    $null = Start-FleeceSession vm -Name b
    $null = Publish-FleeceExport vm nbd+unix:///?socket=vm.sock
    $null = New-FleeceImage ./small.raw -SizeBytes 512KB
    $null = New-Item ./empty.raw
}

# All that a request could change, as lines of text.
function Get-Everything {
    # The disk's heartbeat writes a stamp behind the text of the marker of its sessions, which makes it longer.
    Get-ChildItem -Recurse | ForEach-Object {
        "file $($_.FullName) $($_.Extension -eq '.fleece-sessions' ? ([IO.File]::ReadAllText($_) -split "`0")[0] : $_.Length)"
    }
    Get-FleeceDisk | ForEach-Object { "disk $($_.Name) $($_.OperationalStatus)" }
    Get-FleeceSession | ForEach-Object { "session $($_.Id) $($_.State) $($_.ConsumedBytes)" }
    Get-FleeceBitmap | ForEach-Object { "bitmap $($_.Name) $($_.State) $($_.DirtyBytes)" }
    Get-FleeceExport | ForEach-Object { "export $($_.Name) $($_.Uri)" }
    "content $([Convert]::ToHexString([Security.Cryptography.SHA256]::HashData((Read-FleeceDisk vm 0 1MB))))"
}

# The command is refused with this error id and changes nothing.
function Assert-Refused([string] $Command, [string] $Id) {
    $before = Get-Everything

    { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -ErrorId $Id

    Get-Everything | Should -Be $before
}

# The command, which has -WhatIf, writes nothing and changes nothing.
function Assert-ChangesNothing([string] $Command) {
    $before = Get-Everything

    & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) | Should -BeNullOrEmpty

    Get-Everything | Should -Be $before
}
