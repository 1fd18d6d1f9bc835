# SPDX-License-Identifier: MIT
# Matter: paths, formats and URIs of files, which all cmdlets take alike.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
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

Describe 'Objects that stand for files' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'are found by a path as completion escapes it' {
        $null = New-FleeceImage 'x[1].raw' -SizeBytes 1MB
        $line = 'Get-FleeceImage ./x'

        $escaped = (TabExpansion2 $line $line.Length).CompletionMatches[0].CompletionText

        (& ([scriptblock]::Create("Get-FleeceImage $escaped"))).Path | Should -Be (Get-Item -LiteralPath 'x[1].raw').FullName
    }
}

Describe 'Objects in the pipeline' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'paths are relative to the location, which may be a drive of the user' {
        $null = New-PSDrive Images FileSystem $PWD
        try {
            (New-FleeceImage Images:/vm.raw -SizeBytes 1MB).Path | Should -Be (Get-Item ./vm.raw).FullName
            (Get-FleeceImage Images:/*.raw).Path | Should -Be (Get-Item ./vm.raw).FullName
        } finally {
            Remove-PSDrive Images
        }
    }
}

Describe 'A raw disk by its name alone' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.img -SizeBytes 1MB -Format Raw
    }
    AfterEach { Exit-TestFolder }

    It 'is told by <Case>, and not when the format was named' -ForEach @(
        @{ Case = 'Get-FleeceImage'; Parameter = 'Format'; Action = { param($more) Get-FleeceImage ./vm.img -Verbose @more } }
        @{ Case = 'Test-FleeceImage'; Parameter = 'Format'; Action = { param($more) Test-FleeceImage ./vm.img -Verbose @more } }
        @{ Case = 'Mount-FleeceDisk'; Parameter = 'Format'; Action = { param($more)
                Mount-FleeceDisk ./vm.img -Verbose @more
                Dismount-FleeceDisk vm } }
        @{ Case = 'Convert-FleeceImage'; Parameter = 'SourceFormat'; Action = { param($more)
                Convert-FleeceImage ./vm.img ./copy.qcow2 -Force -Verbose @more } }
        @{ Case = 'Compare-FleeceImage'; Parameter = 'DifferenceFormat'; Action = { param($more)
                Compare-FleeceImage ./vm.img ./vm.img -Format Raw -Verbose @more } }
        @{ Case = 'New-FleeceImage'; Parameter = 'ParentFormat'; Action = { param($more)
                New-FleeceImage "./$([guid]::NewGuid()).qcow2" -ParentPath ./vm.img -Verbose @more } }
    ) {
        $guessed = & $Action @{} 4>&1 | Where-Object { $_ -is [Management.Automation.VerboseRecord] }
        $named = & $Action @{ $Parameter = 'Raw' } 4>&1 | Where-Object { $_ -is [Management.Automation.VerboseRecord] }

        "$guessed" | Should -BeLike "*vm.img' is a raw disk by its name alone*-$Parameter Raw*"
        "$named" | Should -Not -BeLike '*by its name alone*'
    }
}
