# SPDX-License-Identifier: MIT
# Matter: text and names of strangers, in all that cmdlets print.

BeforeDiscovery {
    $hasQemuImg = [bool] (Get-Command qemu-img -CommandType Application -ErrorAction Ignore)
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # The start of any command to a terminal, and its bell. PowerShell leaves out colours when it is told to, and not these.
    $evil = "`e`a"
    $shown = '\u001b\u0007'

    # All that a PowerShell of its own writes to standard output and standard error.
    function Invoke-Output([string] $Script) {
        $program, $first = @(Get-PowerShellCommand)
        $arguments = @($first) + '-NoProfile', '-NonInteractive', '-Command', @"
            Import-Module '$(Get-ModuleUnderTest)'
            `$PSStyle.OutputRendering = 'PlainText'
            `$evil = "``e``a"
            $Script
            Get-FleeceDisk | Dismount-FleeceDisk -Force
"@
        & $program ($arguments | Where-Object { $_ }) 2>&1 | Out-String -Width 500
    }

    function Assert-Printable([string] $Text, [int] $Times = 1) {
        [regex]::Matches($Text, [regex]::Escape($shown)).Count | Should -BeGreaterOrEqual $Times -Because $Text
        $Text.IndexOfAny([char[]] (7, 27)) | Should -Be -1
    }
}

Describe 'Text of strangers reaches no terminal as it is' -Skip:($IsWindows) {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'in the error of <Name>' -ForEach @(
        @{ Name = 'a file that is not there'; Script = 'Get-FleeceImage "./$evil.raw"' }
        @{ Name = 'a file that is none of Fleece'; Script = '[IO.File]::WriteAllText("$PWD/$evil.qcow2", "x" * 512); Mount-FleeceDisk -LiteralPath "./$evil.qcow2"' }
        @{ Name = 'a disk that is not there'; Script = 'Get-FleeceDisk "$evil"' }
        @{ Name = 'a name of a disk'; Script = '$null = New-FleeceImage ./vm.raw 1MB; Mount-FleeceDisk ./vm.raw -Name "vm$evil"' }
        @{ Name = 'a file whose name would be a disk''s'; Script = '$null = New-FleeceImage "./vm$evil.raw" 1MB; Mount-FleeceDisk -LiteralPath "./vm$evil.raw"' }
        @{ Name = 'a name of an export'; Script = '$null = New-FleeceImage ./vm.raw 1MB; Mount-FleeceDisk ./vm.raw -ListenUri nbd+unix:///?socket=s -ExportName "x$evil"' }
        @{ Name = 'an export that is not there'; Script = '$null = New-FleeceImage ./vm.raw 1MB; $null = Mount-FleeceDisk ./vm.raw -ListenUri nbd+unix:///?socket=s; Mount-FleeceDisk "nbd+unix:///x$([Uri]::EscapeDataString($evil))?socket=s" -Name other' }
        @{ Name = 'a view that shows the target'; Script = '$ErrorView = ''NormalView''; Get-FleeceDisk "$evil"' }
    ) { Assert-Printable (Invoke-Output $Script) }

    It 'in what -WhatIf and -Verbose say' {
        Assert-Printable -Times 2 (Invoke-Output '
            $null = New-FleeceImage "./vm$evil.raw" 1MB
            Mount-FleeceDisk -LiteralPath "./vm$evil.raw" -WhatIf
            $null = Mount-FleeceDisk -LiteralPath "./vm$evil.raw" -Name vm -Verbose')
    }

    It 'in the bitmaps of a parent' -Skip:(-not $hasQemuImg) {
        qemu-img create -q -f qcow2 "base$evil.qcow2" 1M
        qemu-img bitmap --add "base$evil.qcow2" "d$evil"
        qemu-img create -q -f qcow2 -b "base$evil.qcow2" -F qcow2 x.qcow2

        Assert-Printable -Times 3 (Invoke-Output '$null = Mount-FleeceDisk x.qcow2; Get-FleeceBitmap; Remove-FleeceBitmap x "d$evil"')
    }

    It 'in the view of an image and what it names' -Skip:(-not $hasQemuImg) {
        qemu-img create -q -f qcow2 x.qcow2 1M
        qemu-img snapshot -c "s$evil" x.qcow2
        qemu-img bitmap --add x.qcow2 "d$evil"
        qemu-img rebase -u -b "$evil.raw" -F raw x.qcow2

        Assert-Printable -Times 7 (Invoke-Output '
            $image = Get-FleeceImage x.qcow2
            $image | Out-String
            $image | Format-List | Out-String
            $image.Snapshots | Out-String
            $image.Bitmaps | Out-String
            Mount-FleeceDisk x.qcow2')
        (Get-FleeceImage x.qcow2).ParentPath | Should -Be "$PWD/$shown.raw"
    }

    It 'in the bitmaps of a disk, their warnings, and the contexts of its export' -Skip:(-not $hasQemuImg) {
        qemu-img create -q -f qcow2 x.qcow2 1M
        qemu-img bitmap --add x.qcow2 "d$evil"
        qemu-img bitmap --add x.qcow2 plain

        Assert-Printable -Times 3 (Invoke-Output '
            $null = Mount-FleeceDisk x.qcow2
            Get-FleeceBitmap | Out-String
            Get-FleeceBitmap | Format-List | Out-String
            New-FleeceBitmap x "d$evil"')
        $null = Mount-FleeceDisk x.qcow2 -ListenUri nbd+unix:///?socket=s
        if (Get-Command nbdinfo -CommandType Application -ErrorAction Ignore) {
            $contexts = (nbdinfo --json "nbd+unix:///x?socket=$PWD/s" | ConvertFrom-Json).exports[0].contexts
            $contexts | Should -Contain 'qemu:dirty-bitmap:plain'
            $contexts -match 'bitmap:d' | Should -BeNullOrEmpty
        }

        (TabExpansion2 'Clear-FleeceBitmap x ' 21).CompletionMatches.CompletionText | Should -Be "'d$shown'", 'plain'
    }

    It 'in any other view, string or JSON: <Name>' -Skip:(-not $hasQemuImg) -ForEach @(
        # Of a type that follows another one in the pipeline PowerShell lists all properties, whatever views there are.
        @{ Name = 'an image behind a file'; Times = 3; Script = 'Get-Item x.qcow2; Get-FleeceImage x.qcow2' }
        @{ Name = 'bitmaps of an image behind a file'; Times = 1; Script = 'Get-Item x.qcow2; (Get-FleeceImage x.qcow2).Bitmaps' }
        @{ Name = 'snapshots behind a file'; Times = 1; Script = 'Get-Item x.qcow2; (Get-FleeceImage x.qcow2).Snapshots' }
        @{ Name = 'bitmaps of a disk behind the disk'; Times = 1; Script = 'Mount-FleeceDisk x.qcow2; Get-FleeceBitmap x' }
        @{ Name = 'a session behind its disk'; Times = 1; Script = 'Mount-FleeceDisk x.qcow2; Start-FleeceSession x -Bitmap "d$evil"' }
        @{ Name = 'Format-List *'; Times = 5; Script = '$i = Get-FleeceImage x.qcow2; $i, $i.Bitmaps, $i.Snapshots | ForEach-Object { $_ | Format-List * }' }
        @{ Name = 'Format-Custom'; Times = 3; Script = 'Get-FleeceImage x.qcow2 | Format-Custom' }
        @{ Name = 'interpolation'; Times = 5; Script = '$i = Get-FleeceImage x.qcow2; "$i $($i.ParentPath) $($i.Bitmaps) $($i.Snapshots)"; $null = Mount-FleeceDisk x.qcow2; "$(Get-FleeceBitmap x)"' }
        @{ Name = 'CSV'; Times = 2; Script = 'Get-FleeceImage x.qcow2 | ConvertTo-Csv; $null = Mount-FleeceDisk x.qcow2; Get-FleeceBitmap x | ConvertTo-Csv' }
    ) {
        qemu-img create -q -f qcow2 x.qcow2 1M
        qemu-img bitmap --add x.qcow2 "d$evil"
        qemu-img snapshot -c "s$evil" x.qcow2
        [IO.File]::WriteAllBytes("$PWD/$evil.raw", [byte[]]::new(1MB))
        qemu-img rebase -u -b "$evil.raw" -F raw x.qcow2

        Assert-Printable -Times $Times (Invoke-Output $Script)
    }

    It 'in JSON' -Skip:(-not $hasQemuImg) {
        qemu-img create -q -f qcow2 x.qcow2 1M
        qemu-img bitmap --add x.qcow2 "d$evil"

        $json = Get-FleeceImage x.qcow2 | ConvertTo-Json | ConvertFrom-Json

        $json.Bitmaps.Name | Should -BeExactly "d$shown"
    }

    It 'in backups of a disk whose folder has such a name' {
        $null = New-Item $evil -ItemType Directory
        $null = New-FleeceImage "./$evil/vm.raw" 1MB

        Assert-Printable -Times 2 (Invoke-Output '
            $disk = Mount-FleeceDisk -LiteralPath "./$evil/vm.raw"
            $null = Backup-FleeceDisk vm ./repository
            Get-Item ./repository
            Get-FleeceBackup ./repository
            Get-FleeceBackup ./repository | Format-List *')
    }

    It 'and a bitmap with such a name is found again by what is shown of it' -Skip:(-not $hasQemuImg) {
        qemu-img create -q -f qcow2 x.qcow2 1M
        qemu-img bitmap --add x.qcow2 "d`e[1m"
        qemu-img bitmap --add x.qcow2 "e`e[1m"
        $null = Mount-FleeceDisk x.qcow2
        $null = New-FleeceBitmap x plain

        Get-FleeceBitmap x "d*" | ForEach-Object { Merge-FleeceBitmap x plain $_.Name -ErrorAction Stop }
        Merge-FleeceBitmap x plain (Get-FleeceBitmap x 'e*') -ErrorAction Stop
        Get-FleeceBitmap x "d*" | Clear-FleeceBitmap -ErrorAction Stop
        (Get-FleeceBitmap x "e`e[1m").Name | Should -BeExactly 'e\u001b[1m'
        Get-FleeceBitmap x "e`e[1m" | Remove-FleeceBitmap -ErrorAction Stop
        Remove-FleeceBitmap x "d`e[1m" -ErrorAction Stop

        (Get-FleeceBitmap x).Name | Should -Be plain
    }
}

Describe 'Names that no NBD client could ask for' {
    BeforeEach { Enter-TestFolder; $null = New-FleeceImage ./vm.raw 1MB }
    AfterEach { Exit-TestFolder }

    It 'are refused at <Name>' -ForEach @(
        @{ Name = 'the mount'; Script = { Mount-FleeceDisk ./vm.raw -Name ('n' * 4097) -ErrorAction Stop } }
        @{ Name = 'the start of a session'; Script = { $null = Mount-FleeceDisk ./vm.raw; Start-FleeceSession vm -Name ('n' * 4094) -ErrorAction Stop } }
        @{ Name = 'the naming of a consumer'; Script = { $null = Mount-FleeceDisk ./vm.raw; Start-FleeceSession vm -Name s -Consumer ('n' * 4092) -ErrorAction Stop } }
        @{ Name = 'publishing'; Script = { $null = Mount-FleeceDisk ./vm.raw; Publish-FleeceExport vm nbd+unix:///?socket=s -ExportName ('n' * 4097) -ErrorAction Stop } }
    ) {
        $failure = { & $Script } | Should -Throw -ErrorId 'ArgumentInvalid,*' -PassThru

        $failure.Exception.Message | Should -Match '409\d bytes.*4096'
        Get-FleeceSession | Should -BeNullOrEmpty
        Get-FleeceExport | Should -BeNullOrEmpty
    }

    It 'but a slash at their beginning is a part of the name' {
        $null = Mount-FleeceDisk ./vm.raw -ListenUri 'nbd+unix:////disk?socket=s'

        (Get-FleeceExport).Name | Should -Be /disk
        (Get-FleeceExport).Uri.ToString() | Should -Match '^nbd\+unix:////disk\?'
        (Mount-FleeceDisk (Get-FleeceExport).Uri.ToString() -Name other -ReadOnly).SizeBytes | Should -Be 1MB
    }
}
