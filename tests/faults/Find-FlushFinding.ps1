# SPDX-License-Identifier: MIT
<#
.SYNOPSIS
Judges what flush-scenario.ps1 saw: each sentence that comes out is a defect.
#>

# True when the scenario's flush was reached while the disk was mounted the first time.
function Test-HasFailed($Result) { $Result.Status -eq 'Failed' -or $Result.Dismount }

function Find-FlushFinding($Result) {
    $findings = @(
        $failed = @($Result.Answers -match '^(flush|forced)').ForEach{ $_ -notlike '* 0' }
        $first = [Array]::IndexOf($failed, $true)
        if ($first -ge 0) {
            if ($failed[$first..($failed.Count - 1)] -contains $false) { 'a flush or forced write works after one that failed' }
            if ($Result.Answers -match '^(flush|forced)' -match ' (?!0$|EIO$)') { 'a flush fails with another error than EIO' }
            if ($Result.Status -ne 'Failed') { 'Get-FleeceDisk shows no failure' }
            if ("$($Result.Reason)" -notlike "*$($Result.Failing)*Input/output error*") { 'Get-FleeceDisk does not name file and cause' }
            if ($Result.Session -and $Result.Session -ne 'Broken') { 'the session is whole' }
            if ($Result.Backup -notlike 'IoFailed*') { "a backup of the failed disk is made or fails otherwise: $($Result.Backup)" }
            if ($Result.Start -notlike 'IoFailed*') { "a session starts on the failed disk: $($Result.Start)" }
            if ($Result.BitmapNow -ne 'Untrusted') { 'its bitmap is trusted' }
        }
        if (Test-HasFailed $Result) {
            if ($Result.Dismount -notlike "IoFailed*$($Result.Failing)*") { "the dismount does not fail with the file: $($Result.Dismount)" }
            if ($Result.BitmapAfter -ne 'Untrusted' -or $Result.BitmapReason -notlike '*Input/output error*') {
                "the next mount finds the bitmap $($Result.BitmapAfter): $($Result.BitmapReason)"
            }
            if ($Result.NextBackup -ne 'Full') { "the next backup is $($Result.NextBackup)" }
        } else {
            if ($Result.BitmapAfter -ne 'Recording') { "the bitmap is $($Result.BitmapAfter) although no flush failed: $($Result.BitmapReason)" }
        }
        if ($Result.Partials) { 'a partial backup is left' }
        if ($Result.Mounted) { 'the disk is still mounted' }
        if ($Result.StatusAfter -ne 'Ok') { 'the next mount is not Ok' }
        if ($Result.Corruptions) { "the image has $($Result.Corruptions) corruptions" }
        if ($Result.Lost) { "acknowledged data is lost at $($Result.Lost)" }
        if (-not $Result.IsRestoreEqual) { 'the restored backup is not the disk' }
    )
    foreach ($finding in $findings) { "$($Result.Scenario): $finding" }
}
