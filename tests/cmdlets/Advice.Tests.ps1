# SPDX-License-Identifier: MIT
BeforeDiscovery {
    $script:hasQemuImg = [bool] (Get-Command qemu-img -CommandType Application -ErrorAction Ignore)
    if (-not $hasQemuImg) { Write-Warning 'qemu-img is not installed: what needs it is skipped.' }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # The only error of a command, whether it ends the command or not.
    function Get-OnlyError([scriptblock] $Script) {
        $ErrorActionPreference = 'Continue'
        $errors = @(& $Script 2>&1 3>$null | Where-Object { $_ -is [Management.Automation.ErrorRecord] })
        $errors | Should -HaveCount 1
        $errors[0]
    }
}

Describe 'The advice about a file whose format is in doubt' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./x.bin 1MB -Format Raw
        $null = New-FleeceImage ./good.raw 1MB
        $null = Mount-FleeceDisk ./good.raw
    }
    AfterEach { Exit-TestFolder }

    It 'names the parameter of the cmdlet, which works: <Command> <Parameter>' -ForEach @(
        @{ Command = 'Get-FleeceImage ./x.bin'; Parameter = '-Format' }
        @{ Command = 'Test-FleeceImage ./x.bin'; Parameter = '-Format' }
        @{ Command = 'Mount-FleeceDisk ./x.bin'; Parameter = '-Format' }
        @{ Command = 'Convert-FleeceImage ./x.bin ./new.qcow2'; Parameter = '-SourceFormat' }
        @{ Command = 'Compare-FleeceImage ./x.bin ./x.bin -DifferenceFormat Raw'; Parameter = '-Format' }
        @{ Command = 'Compare-FleeceImage ./x.bin ./x.bin -Format Raw'; Parameter = '-DifferenceFormat' }
        @{ Command = 'New-FleeceImage ./new.qcow2 -ParentPath ./x.bin'; Parameter = '-ParentFormat' }
    ) {
        $failure = Get-OnlyError ([scriptblock]::Create($Command))

        $failure.FullyQualifiedErrorId | Should -BeLike 'ImageFormatAmbiguous,*'
        $failure.Exception.Message | Should -BeLike "* $Parameter Raw*"
        & ([scriptblock]::Create("$Command $Parameter Raw")) | Should -Not -BeNullOrEmpty
    }

    It 'is to rename a file for temp, for whose format there is no parameter' {
        $failure = Get-OnlyError { try { Start-FleeceSession good -TempPath ./x.bin } catch { Write-Error $_ } }

        $failure.Exception.Message | Should -Not -Match '-Format'
        $failure.Exception.Message | Should -BeLike '*Give the file the extension .raw*'
        Rename-Item ./x.bin x.raw
        (Start-FleeceSession good -TempPath ./x.raw).State | Should -Be Active
    }

    It 'is to rename a qcow2 for temp that is named like a raw disk' {
        $null = New-FleeceImage ./x.img 1MB -Format Qcow2

        $failure = Get-OnlyError { try { Start-FleeceSession good -TempPath ./x.img } catch { Write-Error $_ } }

        $failure.Exception.Message | Should -Not -Match '-Format'
        $failure.Exception.Message | Should -BeLike '*give it the extension .qcow2*'
        Rename-Item ./x.img x.qcow2
        (Start-FleeceSession good -TempPath ./x.qcow2).State | Should -Be Active
    }
}

Describe 'An object that knows its format' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is opened in it: New-FleeceImage | <Command>' -ForEach @(
        @{ Command = 'Mount-FleeceDisk' }
        @{ Command = 'Get-FleeceImage' }
        @{ Command = 'Test-FleeceImage' }
        @{ Command = 'Compare-FleeceImage -DifferencePath ./x.bin -DifferenceFormat Raw' }
    ) {
        $image = New-FleeceImage ./x.bin 1MB -Format Raw

        $image | & ([scriptblock]::Create("`$input | $Command -ErrorAction Stop")) | Should -Not -BeNullOrEmpty
    }

    It 'is opened in it: Export-Backup | Mount-FleeceDisk' {
        New-MountedDisk
        $null = Start-FleeceSession vm

        (Read-FleeceSnapshot | Export-Backup ./q.bin | Mount-FleeceDisk -ReadOnly).Format | Should -Be Raw
    }

    It 'does not decide for the file that is piped behind it' {
        $raw = New-FleeceImage ./a.bin 1MB -Format Raw
        $null = New-FleeceImage ./b.qcow2 1MB

        ($raw, (Get-Item ./b.qcow2), (Get-FleeceImage ./b.qcow2) | Get-FleeceImage).Format | Should -Be Raw, Qcow2, Qcow2
    }

    It 'is opened as the user says' {
        $image = New-FleeceImage ./x.qcow2 1MB

        ($image | Get-FleeceImage -Format Raw).Format | Should -Be Raw
    }
}

Describe 'The advice about a data file in another folder' {
    BeforeEach {
        Enter-TestFolder
        $null = New-Item ./other, ./sub -ItemType Directory
        $null = New-FleeceImage ./good.raw 1MB
        $null = Mount-FleeceDisk ./good.raw
    }
    AfterEach { Exit-TestFolder }

    It 'comes when the image is made, and not with the switch' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./other/a.raw -WarningVariable warned -WarningAction SilentlyContinue
        $null = New-FleeceImage ./sub/b.qcow2 1MB -DataFilePath ./other/b.raw -AllowOutsideDataFile -WarningVariable silent
        $null = New-FleeceImage ./c.qcow2 1MB -DataFilePath ./other/c.raw -WarningVariable +silent

        $warned.Message | Should -BeLike "*'$PWD/other/a.raw'*needs -AllowOutsideDataFile*"
        $silent | Should -BeNullOrEmpty
    }

    It 'names the switch where there is one, and makes one file of both' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./other/a.raw -WarningAction SilentlyContinue

        (Get-OnlyError { Mount-FleeceDisk ./sub/a.qcow2 }).Exception.Message |
            Should -BeLike '*Convert-FleeceImage -AllowOutsideDataFile makes one file*'
        $null = Convert-FleeceImage -AllowOutsideDataFile ./sub/a.qcow2 ./one.qcow2 -WarningAction SilentlyContinue
        (Mount-FleeceDisk ./one.qcow2).SizeBytes | Should -Be 1MB
    }

    It 'is another image for temp' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./other/a.raw -WarningAction SilentlyContinue

        $message = (Get-OnlyError { try { Start-FleeceSession good -TempPath ./sub/a.qcow2 } catch { Write-Error $_ } }).Exception.Message

        $message | Should -Not -Match 'AllowOutsideDataFile'
        $message | Should -BeLike '*Name another image.*'
    }

    It 'leaves the conversion of a stranger''s image to its sender' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./sub/a.raw

        (Get-OnlyError { Mount-FleeceDisk ./sub/a.qcow2 -Untrusted }).Exception.Message |
            Should -BeLike '*let its sender make it one file*would copy the file that it names.'
    }

    It 'names the image when the data file is missing' {
        $null = New-FleeceImage ./sub/a.qcow2 1MB -DataFilePath ./sub/a.raw
        Remove-Item ./sub/a.raw

        $failure = Get-OnlyError { Mount-FleeceDisk ./sub/a.qcow2 }

        $failure.FullyQualifiedErrorId | Should -Be 'ImageNotFound,Fleece.MountFleeceDiskCommand'
        $failure.Exception.Message | Should -BeLike "'$PWD/sub/a.qcow2' has its data in '$PWD/sub/a.raw'*"
    }
}

Describe 'The advice about the name of a parent' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./base.raw 1MB
    }
    AfterEach { Exit-TestFolder }

    It 'is a whole command, which works, for <Name>' -Skip:(-not $hasQemuImg) -ForEach @(
        @{ Name = 'file:base.raw' }
        @{ Name = 'json:{"driver":"raw","file":{"driver":"file","filename":"base.raw"}}' }
    ) {
        qemu-img create -q -u -f qcow2 -b $Name -F raw "top it's.qcow2" 1M
        qemu-img create -q -u -f qcow2 -b $Name -F raw top.qcow2 1M

        $message = (Get-OnlyError { Mount-FleeceDisk ./top.qcow2 }).Exception.Message

        $message -match '(qemu-img rebase -u .*), where FORMAT' | Should -BeTrue
        $command = $Matches[1].Replace('PATH', "$PWD/base.raw").Replace('FORMAT', 'raw')
        & ([scriptblock]::Create($command))
        (Mount-FleeceDisk ./top.qcow2).SizeBytes | Should -Be 1MB
        (Get-OnlyError { Mount-FleeceDisk "./top it's.qcow2" }).Exception.Message | Should -BeLike '* IMAGE, where FORMAT*'
    }

    It 'is a whole command, which works, where no format is recorded' -Skip:(-not $hasQemuImg) {
        qemu-img create -q -u -f qcow2 -b base.raw -F raw top.qcow2 1M
        $bytes = [IO.File]::ReadAllBytes("$PWD/top.qcow2")
        $at = [Convert]::ToHexString($bytes, 0, 512).IndexOf('E2792ACA') / 2
        $bytes[$at] = 0x77
        [IO.File]::WriteAllBytes("$PWD/top.qcow2", $bytes)

        $message = (Get-OnlyError { Mount-FleeceDisk ./top.qcow2 }).Exception.Message

        $message -match '(qemu-img rebase -u .*), where FORMAT' | Should -BeTrue
        & ([scriptblock]::Create($Matches[1].Replace('FORMAT', 'raw')))
        (Mount-FleeceDisk ./top.qcow2).SizeBytes | Should -Be 1MB
    }

    It 'is a copy by its owner, with QEMU, where the name means more than a file' -Skip:(-not $hasQemuImg) {
        $data = Get-RandomData 1MB
        [IO.File]::WriteAllBytes("$PWD/base.raw", $data)
        $name = "json:{`"driver`":`"raw`",`"offset`":65536,`"size`":524288,`"file`":{`"driver`":`"file`",`"filename`":`"$PWD/base.raw`"}}"
        qemu-img create -q -u -f qcow2 -b $name -F raw top.qcow2 512K

        $message = (Get-OnlyError { Mount-FleeceDisk ./top.qcow2 }).Exception.Message

        $message | Should -Not -Match 'rebase'
        $message -match '(qemu-img convert .* NEW), which' | Should -BeTrue
        & ([scriptblock]::Create($Matches[1].Replace('NEW', 'new.qcow2')))
        $null = Mount-FleeceDisk ./new.qcow2
        Test-SameData (Read-FleeceDisk new 0 512KB) $data[65536..(65536 + 524287)] | Should -BeTrue
    }
}

Describe 'A path' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'that exists wins over the files that it fits as a pattern: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceImage' }
        @{ Command = 'Test-FleeceImage' }
        @{ Command = 'Mount-FleeceDisk -Name x -Path' }
    ) {
        $null = New-FleeceImage ./disk1.raw 1MB
        $null = New-FleeceImage './disk[1].raw' 1MB

        $exact = & ([scriptblock]::Create("$Command './disk[1].raw'"))
        Get-FleeceDisk | Dismount-FleeceDisk
        $fitting = & ([scriptblock]::Create("$Command './disk[1-9].raw'"))

        $exact.Path | Should -Be "$PWD/disk[1].raw"
        $fitting.Path | Should -Be "$PWD/disk1.raw"
    }

    It 'of a repository that exists wins over those that it fits as a pattern: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceBackup' }
        @{ Command = 'Test-FleeceBackup' }
    ) {
        New-MountedDisk
        $null = Backup-FleeceDisk vm './n b'
        $null = Backup-FleeceDisk vm './[nas] b'

        (& $Command './[nas] b').Path | Should -BeLike "$PWD/``[nas``] b/*"
        (& $Command './[n] b').Path | Should -BeLike "$PWD/n b/*"
    }

    It 'with wildcards that fits nothing is told with -LiteralPath: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceImage' }
        @{ Command = 'Test-FleeceImage' }
        @{ Command = 'Mount-FleeceDisk' }
        @{ Command = 'Get-FleeceBackup' }
        @{ Command = 'Test-FleeceBackup' }
    ) {
        $failure = Get-OnlyError { & $Command './[nas] b' }

        $failure.FullyQualifiedErrorId | Should -BeLike 'ImageNotFound,*'
        $failure.Exception.Message | Should -BeLike '*-LiteralPath*'
    }

    It 'of no backup is told as such: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceBackup' }
        @{ Command = 'Test-FleeceBackup' }
        @{ Command = 'Restore-FleeceBackup -DestinationPath ./new.raw -Path' }
    ) {
        $failure = Get-OnlyError ([scriptblock]::Create("$Command ./x/vm-000099.qcow2"))

        $failure.FullyQualifiedErrorId | Should -BeLike 'ImageNotFound,*'
        $failure.Exception.Message | Should -BeLike "There is no repository, and no backup, '*vm-000099.qcow2'*"
    }

    It 'that is the URI of an export is refused where a file is wanted: <Command>' -ForEach @(
        @{ Command = 'Test-FleeceImage $uri'; Parameter = '-Path'; Advice = 'Name a file.' }
        @{ Command = 'Test-FleeceImage -LiteralPath $uri'; Parameter = '-LiteralPath'; Advice = 'Name a file.' }
        @{ Command = 'Get-FleeceBackup $uri'; Parameter = '-Path'; Advice = 'Name a file.' }
        @{ Command = 'Test-FleeceBackup $uri'; Parameter = '-Path'; Advice = 'Name a file.' }
        @{ Command = 'Backup-FleeceDisk vm $uri'; Parameter = '-RepositoryPath'; Advice = 'Name a file.' }
        @{ Command = 'Restore-FleeceBackup $uri ./new.raw'; Parameter = '-Path'; Advice = 'Name a file.' }
        @{ Command = 'Restore-FleeceBackup ./b.raw $uri'; Parameter = '-DestinationPath'; Advice = 'Name an export with -DestinationUri.' }
        @{ Command = 'Convert-FleeceImage ./b.raw $uri'; Parameter = '-DestinationPath'; Advice = 'Name a file.' }
        @{ Command = 'New-FleeceImage ./new.qcow2 -ParentPath $uri'; Parameter = '-ParentPath'; Advice = 'Name a file.' }
        @{ Command = 'New-FleeceImage $uri 1MB'; Parameter = '-Path'; Advice = 'Name a file.' }
        @{
            Command = 'try { Read-FleeceSnapshot vm | Export-Backup $uri } catch { Write-Error $_ }'
            Parameter = '-DestinationPath'
            Advice = 'Name an export with -DestinationUri.'
        }
    ) {
        $uri = "nbd+unix:///x?socket=$PWD/s.sock"
        New-MountedDisk
        $null = Start-FleeceSession vm
        $null = Read-FleeceSnapshot vm | Export-Backup ./b.raw

        $failure = Get-OnlyError ([scriptblock]::Create($Command))

        $failure.FullyQualifiedErrorId | Should -BeLike 'ArgumentInvalid*'
        $failure.Exception.Message | Should -Be "'$uri' is the URI of an NBD export, and $Parameter takes the path of a file. $Advice"
    }
}

Describe 'A mounted snapshot of another Fleece' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is read-only, and can''t be consumed through the mount' {
        $null = New-FleeceImage ./vm.raw 1MB
        $null = Mount-FleeceDisk ./vm.raw -ListenUri "nbd+unix:///?socket=$PWD/s.sock"
        $null = Start-FleeceSession vm -Name night

        $disk = Mount-FleeceDisk "nbd+unix:///vm/night?socket=$PWD/s.sock" -Name snap

        $disk.IsReadOnly | Should -BeTrue
        { Write-FleeceDisk snap 0 ([byte[]] (1)) -ErrorAction Stop } | Should -Throw -ErrorId 'DiskReadOnly,*'
        Dismount-FleeceDisk snap
    }
}
