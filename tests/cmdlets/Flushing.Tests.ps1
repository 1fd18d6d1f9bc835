# SPDX-License-Identifier: MIT
# Matter: flushes that fail, in every cmdlet that makes a file durable.

BeforeDiscovery {
    . "$PSScriptRoot/../faults/Faults.ps1"
    $reason = Get-FaultSkipReason
    $script:canFail = -not $reason
    $script:hasClient = $canFail -and (Get-NbdPython)
    if ($reason) { Write-Warning "No flush can be made to fail: $reason." }
    elseif (-not $hasClient) { Write-Warning 'No Python with the module nbd is installed: what needs NBD clients is skipped.' }

    $script:scenarios = foreach ($kind in 'raw', 'qcow2', 'qcow2-data', 'vhdx', 'vhd', 'vhd-fixed') {
        # First the guest's first flush, then one in the middle of a format's own metadata.
        foreach ($first in 1, 5) {
            foreach ($times in 1, 0) {
                # Each of the four has a session in half of its runs.
                $hasSession = ($first -eq 1) -eq [bool] $times
                @{
                    Kind = $kind; First = $first; Times = $times; Drops = $true; HasSession = $hasSession
                    Often = $times ? 'once' : 'for good'; With = $hasSession ? 'with' : 'without'
                }
            }
        }
    }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/../faults/Faults.ps1"
    . "$PSScriptRoot/../faults/Find-FlushFinding.ps1"
    $script:faults = "$PSScriptRoot/../faults"

    # A folder of its own, short enough for a socket.
    function New-ShortFolder { New-Item (Join-Path ([IO.Path]::GetTempPath()) "f$([guid]::NewGuid().ToString('N').Substring(0, 8))") -ItemType Directory }
}

Describe 'A served disk whose flush failed' -Skip:(-not $hasClient) {
    BeforeAll {
        $script:folder = New-ShortFolder
        $library = New-FaultLibrary $folder
        $asked = ConvertTo-Json @($scenarios | Select-Object Kind, First, Times, Drops, HasSession)
        $script:results = Invoke-WithFault $library $folder "$faults/flush-scenario.ps1" (Get-ModuleUnderTest), (Get-NbdPython), $asked
    }
    AfterAll { if ($folder) { Remove-Item $folder -Recurse } }

    It 'is failed for every client and cmdlet until it is mounted again, and loses nothing it acknowledged: <Kind>, flush <First> fails <Often>, <With> a session' -ForEach $scenarios {
        $result = $results | Where-Object {
            $_.Kind -eq $Kind -and $_.First -eq $First -and $_.Times -eq $Times -and $_.HasSession -eq $HasSession
        }

        Find-FlushFinding $result | Should -BeNullOrEmpty
        $result.Answers | Should -Contain 'flush EIO'
        $result.Answers | Should -Contain 'forced-write EIO'
        $result.Status | Should -Be 'Failed'
    }
}

Describe 'A file that can''t be made durable' -Skip:(-not $canFail) {
    BeforeAll {
        $script:folder = New-ShortFolder
        $script:results = Invoke-WithFault (New-FaultLibrary $folder) $folder "$faults/file-scenario.ps1" (Get-ModuleUnderTest)
    }
    AfterAll { if ($folder) { Remove-Item $folder -Recurse } }

    It 'is no backup, and does not get the name of one: <_>' -ForEach 'raw', 'qcow2', 'vhd', 'vhdx' {
        $results."backup-$_".Failure | Should -BeLike "IoFailed,*b.$_.partial*Input/output error*"
        $results."backup-$_".Made | Should -BeNullOrEmpty
    }

    It 'is no new image: <_>' -ForEach 'raw', 'qcow2', 'vhd', 'vhdx' {
        $results."create-$_".Failure | Should -BeLike "IoFailed,*n.$_*Input/output error*"
        $results."create-$_".Made | Should -BeNullOrEmpty
    }

    It 'is no converted image' {
        $results.convert.Failure | Should -BeLike 'IoFailed,*c.raw.partial*'
        $results.convert.Made | Should -BeNullOrEmpty
    }

    It 'is no restored disk' {
        $results.restore.Failure | Should -BeLike 'IoFailed,*r.raw.partial*'
        $results.restore.Made | Should -Not -Contain 'r.raw'
    }

    It 'makes no backup when it is the manifest' {
        $results.'backup-manifest'.Failure | Should -BeLike 'IoFailed,*m.qcow2.json.partial*'
        $results.'backup-manifest'.Made | Should -BeNullOrEmpty
    }

    It 'makes no point in a repository' {
        $results.repository.Failure | Should -BeLike 'IoFailed,*.partial*'
        $results.repository.Made | Should -BeNullOrEmpty
    }

    It 'is reported when it is the folder that got the name' {
        $results.'backup-folder'.Failure | Should -BeLike "IoFailed,*$folder*"
    }

    It 'takes nothing out of the snapshot when it is the target of a consuming backup' {
        $results.discard.Failure | Should -BeLike 'IoFailed,*target.raw*'
        $results.discard.ConsumedBytes | Should -Be 0
    }

    It 'fails the dismount when it is the sidecar, and its bitmap is not trusted afterwards' {
        $results.'sidecar-once'.Failure | Should -BeLike 'IoFailed,*vm.raw.fleece-bitmaps*'
        $results.'sidecar-once'.Bitmaps | Should -BeLike 'Untrusted: *Input/output error*'
    }

    It 'leaves no trusted bitmap when it is the sidecar and every one that takes its place' {
        $results.'sidecar-always'.Failure | Should -BeLike 'IoFailed,*vm.raw.fleece-bitmaps*'
        $results.'sidecar-always'.Bitmaps | Should -Not -Contain 'Recording'
    }

    It 'is not mounted when its log can''t be replayed durably, and can be mounted later' {
        $results.log.Failure | Should -BeLike 'IoFailed,Fleece.MountFleeceDiskCommand: *crashed.vhdx*'
        $results.log.Status | Should -Be 'Ok'
        $results.log.Data | Should -Be 1, 2, 3, 4
    }
}

Describe 'A process that was killed' -Skip:(-not $canFail) {
    BeforeAll {
        $script:folder = New-ShortFolder
        $library = New-FaultLibrary $folder
        Set-Content (Join-Path $folder killed.ps1) @'
param($Module)
Import-Module $Module
$null = New-FleeceImage ./vm.raw -SizeBytes 4MB
$null = Mount-FleeceDisk ./vm.raw
$null = New-FleeceBitmap vm daily
Write-FleeceDisk vm 0 ([byte[]] (1, 2, 3))
Stop-Process -Id $PID -Force
'@
        Set-Content (Join-Path $folder next.ps1) @'
param($Module, $Faults, $PathEnd)
Import-Module $Module
. $Faults
if ($PathEnd) { Set-Fault $PathEnd }
$null = Mount-FleeceDisk ./vm.raw -WarningAction Ignore
$bitmap = Get-FleeceBitmap vm
ConvertTo-Json @{ State = "$($bitmap.State)"; Reason = "$($bitmap.Reason)" }
Clear-Fault
'@
        # What the mount finds when the flushes of one file, or of none, fail.
        function Get-BitmapAfterKill([string] $PathEnd) {
            Get-ChildItem $folder -Filter vm.raw* | Remove-Item
            { Invoke-WithFault $library $folder (Join-Path $folder killed.ps1) (Get-ModuleUnderTest) } | Should -Throw '*ended with 137*'
            Invoke-WithFault $library $folder (Join-Path $folder next.ps1) (Get-ModuleUnderTest), "$faults/Faults.ps1", $PathEnd
        }
    }
    AfterAll { if ($folder) { Remove-Item $folder -Recurse } }

    It 'leaves no trusted bitmap when the system could not store what it had written: <_>' -ForEach '/vm.raw', '/vm.raw.fleece-bitmaps' {
        $found = Get-BitmapAfterKill $_

        $found.State | Should -Be 'Untrusted'
        $found.Reason | Should -BeLike '*Input/output error*'
    }

    It 'leaves a trusted bitmap otherwise' { (Get-BitmapAfterKill '').State | Should -Be 'Recording' }
}
