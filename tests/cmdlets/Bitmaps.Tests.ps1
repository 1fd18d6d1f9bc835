# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'Dirty bitmaps' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $null = New-FleeceBitmap vm daily
    }
    AfterEach { Exit-TestFolder }

    It 'record what is written and survive the dismount: <_>' -ForEach 'raw', 'qcow2' {
        New-MountedDisk -Name other -Extension $_
        $null = New-FleeceBitmap other daily -GranularityBytes 4KB
        Write-FleeceDisk other 1MB ([byte[]] (1, 2, 3))
        Dismount-FleeceDisk other
        $null = Mount-FleeceDisk "./other.$_" -WarningVariable warned

        $warned | Should -BeNullOrEmpty
        $ranges = @((Get-FleeceBitmap other daily -Ranges).Ranges)
        $ranges.OffsetBytes | Should -Be 1MB
        $ranges.LengthBytes | Should -Be 4KB
    }

    It 'take turns every night' {
        foreach ($night in 1..3) {
            $session = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2
            (Get-FleeceBitmap vm daily).State | Should -Be Frozen
            Write-FleeceDisk vm ($night * 64KB) ([byte[]] 1)
            Stop-FleeceSession $session -Success

            (Get-FleeceBitmap vm).Name | Should -Be daily
            (Get-FleeceBitmap vm daily -Ranges).Ranges.OffsetBytes | Should -Be ($night * 64KB)
        }
    }

    It 'keep everything when a session is not a success' {
        Write-FleeceDisk vm 0 ([byte[]] 1)
        $session = Start-FleeceSession vm -Bitmap daily -NextBitmap daily2
        Write-FleeceDisk vm 1MB ([byte[]] 1)
        Stop-FleeceSession $session

        (Get-FleeceBitmap vm -Ranges).Ranges.OffsetBytes | Should -Be 0, 1MB
    }

    It 'are merged, disabled and removed through the pipeline' {
        Write-FleeceDisk vm 0 ([byte[]] 1)
        $null = New-FleeceBitmap vm both -Disabled
        Merge-FleeceBitmap vm both daily
        Get-FleeceBitmap vm daily | Remove-FleeceBitmap

        $left = Get-FleeceBitmap
        $left.Name | Should -Be both
        $left.State | Should -Be Disabled
        $left.DirtyBytes | Should -Be 64KB
    }

    It 'that can not be trusted say so, are refused, and are mended by clearing' {
        Dismount-FleeceDisk vm
        (Get-Item ./vm.raw).LastWriteTime = (Get-Date).AddMinutes(1)
        $null = Mount-FleeceDisk ./vm.raw -WarningVariable warned -WarningAction SilentlyContinue

        "$warned" | Should -Match "daily.*can't be trusted"
        (Get-FleeceBitmap vm).State | Should -Be Untrusted
        { Start-FleeceSession vm -Bitmap daily } | Should -Throw -ErrorId 'BitmapUntrusted,Fleece.StartFleeceSessionCommand'
        Clear-FleeceBitmap vm daily
        { Start-FleeceSession vm -Bitmap daily } | Should -Not -Throw
    }

    It 'of a parent are shown, merged, and neither changed nor pinned' {
        $null = New-FleeceImage ./base.qcow2 2MB
        $null = Mount-FleeceDisk ./base.qcow2
        $null = New-FleeceBitmap base daily
        Write-FleeceDisk base 1MB ([byte[]] 1)
        Dismount-FleeceDisk base
        $null = New-FleeceImage ./top.qcow2 -ParentPath ./base.qcow2
        $null = Mount-FleeceDisk ./top.qcow2 -WarningVariable warned

        $warned | Should -BeNullOrEmpty
        $bitmap = Get-FleeceBitmap top
        $bitmap.State | Should -Be OfParent
        $bitmap.ImagePath | Should -Be "$PWD/base.qcow2"
        $bitmap | Out-String -Width 400 | Should -Match 'daily +OfParent .*base\.qcow2'
        foreach ($command in 'Clear', 'Remove', 'Enable', 'Disable') {
            { & "$command-FleeceBitmap" top daily -ErrorAction Stop } |
                Should -Throw -ErrorId "BitmapOfParent,Fleece.${command}FleeceBitmapCommand"
            { & "$command-FleeceBitmap" top * -ErrorAction Stop } | Should -Not -Throw
        }
        { Start-FleeceSession top -Bitmap daily } | Should -Throw -ErrorId 'BitmapOfParent,Fleece.StartFleeceSessionCommand'

        $null = New-FleeceBitmap top all -Disabled
        Merge-FleeceBitmap top all daily
        (Get-FleeceBitmap top all -Ranges).Ranges.OffsetBytes | Should -Be 1MB
        (Start-FleeceSession top -Bitmap all).State | Should -Be Active
    }

    It 'are shown as a table' {
        $text = Get-FleeceBitmap | Out-String -Width 400

        $text | Should -Match 'Disk +Name +State +Granularity KiB +Dirty MiB +Image +Reason'
        $text | Should -Match 'vm +daily +Recording'
    }

    It 'are completed by name' {
        $line = 'Clear-FleeceBitmap vm '
        (TabExpansion2 -inputScript $line -cursorColumn $line.Length).CompletionMatches.CompletionText | Should -Be daily
    }
}
