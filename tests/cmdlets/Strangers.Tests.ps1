# SPDX-License-Identifier: MIT
# Matter: images and repositories that a stranger made.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # The warnings of a script, with nothing else of it.
    function Get-Warning([scriptblock] $Script) { & $Script 3>&1 | Where-Object { $_ -is [Management.Automation.WarningRecord] } }
}

Describe 'A data file in another folder' {
    BeforeEach {
        Enter-TestFolder
        $null = New-Item ./uploads, ./elsewhere -ItemType Directory
        $null = New-FleeceImage ./uploads/evil.qcow2 1MB -DataFilePath ./elsewhere/victim
        $script:content = Get-RandomData 1MB
        [IO.File]::WriteAllBytes("$PWD/elsewhere/victim", $content)
        $null = New-FleeceImage ./other.raw 1MB
        $null = Mount-FleeceDisk ./other.raw
    }
    AfterEach { Exit-TestFolder }

    It 'is refused and left alone: <Command>' -ForEach @(
        @{ Command = 'Mount-FleeceDisk ./uploads/evil.qcow2'; Cmdlet = 'MountFleeceDisk' }
        @{ Command = 'Mount-FleeceDisk ./uploads/evil.qcow2 -ReadOnly'; Cmdlet = 'MountFleeceDisk' }
        @{ Command = 'Mount-FleeceDisk ./uploads/evil.qcow2 -Untrusted'; Cmdlet = 'MountFleeceDisk' }
        @{ Command = 'Convert-FleeceImage ./uploads/evil.qcow2 ./new.raw'; Cmdlet = 'ConvertFleeceImage' }
        @{ Command = 'Compare-FleeceImage ./uploads/evil.qcow2 ./other.raw'; Cmdlet = 'CompareFleeceImage' }
        @{ Command = 'Compare-FleeceImage ./uploads/evil.qcow2 ./uploads/evil.qcow2'; Cmdlet = 'CompareFleeceImage' }
        @{ Command = 'New-FleeceImage ./new.qcow2 -ParentPath ./uploads/evil.qcow2'; Cmdlet = 'NewFleeceImage' }
        @{ Command = 'Start-FleeceSession other -TempPath ./uploads/evil.qcow2'; Cmdlet = 'StartFleeceSession' }
    ) {
        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } |
            Should -Throw -ErrorId "ImageReferenceRefused,Fleece.${Cmdlet}Command"

        Test-SameData ([IO.File]::ReadAllBytes("$PWD/elsewhere/victim")) $content | Should -BeTrue
        Get-ChildItem new.* | Should -BeNullOrEmpty
    }

    It 'is used with -AllowOutsideDataFile, and named in a warning' {
        Mount-FleeceDisk ./uploads/evil.qcow2 -AllowOutsideDataFile -WarningVariable warnings -WarningAction SilentlyContinue |
            Select-Object -ExpandProperty Name | Should -Be 'evil'
        Write-FleeceDisk evil 0 ([byte[]] (9))
        Dismount-FleeceDisk evil

        [IO.File]::ReadAllBytes("$PWD/elsewhere/victim")[0] | Should -Be 9
        $warnings | Should -HaveCount 1
        $warnings[0].Message | Should -BeLike "*'$PWD/elsewhere/victim'*"
        (Convert-FleeceImage ./uploads/evil.qcow2 ./new.raw -AllowOutsideDataFile -WarningAction SilentlyContinue).SizeBytes | Should -Be 1MB
        (Compare-FleeceImage ./uploads/evil.qcow2 ./new.raw -AllowOutsideDataFile -WarningAction SilentlyContinue).AreEqual | Should -BeTrue
        (New-FleeceImage ./new.qcow2 -ParentPath ./uploads/evil.qcow2 -AllowOutsideDataFile).SizeBytes | Should -Be 1MB
    }

    It 'is told by Get-FleeceImage, and neither Get- nor Test-FleeceImage needs it' {
        Remove-Item ./elsewhere -Recurse

        (Get-FleeceImage ./uploads/evil.qcow2).DataFilePath | Should -Be "$PWD/elsewhere/victim"
        (Test-FleeceImage ./uploads/evil.qcow2 -Untrusted).IsClean | Should -BeTrue
        (Test-FleeceImage ./uploads/evil.qcow2 -Repair All -Force).IsClean | Should -BeTrue
    }

    It 'is not allowed to an image that is untrusted' {
        { Mount-FleeceDisk ./uploads/evil.qcow2 -Untrusted -AllowOutsideDataFile -ErrorAction Stop } |
            Should -Throw -ErrorId 'ArgumentInvalid,Fleece.MountFleeceDiskCommand'
    }
}

Describe 'A parent in another folder' {
    BeforeEach {
        Enter-TestFolder
        $null = New-Item ./uploads, ./templates -ItemType Directory
        [IO.File]::WriteAllBytes("$PWD/templates/base.raw", (Get-RandomData 1MB))
        $null = New-FleeceImage ./templates/template.qcow2 -ParentPath ./templates/base.raw
        $null = New-FleeceImage ./uploads/vm.qcow2 -ParentPath ./templates/template.qcow2
    }
    AfterEach { Exit-TestFolder }

    It 'is listed in one warning with those behind it: <Command>' -ForEach @(
        @{ Command = 'Mount-FleeceDisk ./uploads/vm.qcow2' }
        @{ Command = 'Convert-FleeceImage ./uploads/vm.qcow2 ./new.raw' }
        @{ Command = 'Compare-FleeceImage ./uploads/vm.qcow2 ./templates/base.raw' }
    ) {
        $warnings = @(Get-Warning ([scriptblock]::Create($Command)))

        $warnings | Should -HaveCount 1
        $text = $warnings[0].Message
        [regex]::Matches($text, [regex]::Escape("'$PWD/templates/template.qcow2'")) | Should -HaveCount 1
        [regex]::Matches($text, [regex]::Escape("'$PWD/templates/base.raw'")) | Should -HaveCount 1
        $text | Should -Match 'content shows through the disk.*-Untrusted'
    }

    It 'is not warned of where all files of a chain lie together' {
        Get-Warning { Mount-FleeceDisk ./templates/template.qcow2 } | Should -BeNullOrEmpty
    }

    It 'is refused with -Untrusted: <Command>' -ForEach @(
        @{ Command = 'Mount-FleeceDisk ./uploads/vm.qcow2 -Untrusted'; Cmdlet = 'MountFleeceDisk' }
        @{ Command = 'Convert-FleeceImage ./uploads/vm.qcow2 ./new.raw -Untrusted'; Cmdlet = 'ConvertFleeceImage' }
        @{ Command = 'Compare-FleeceImage ./uploads/vm.qcow2 ./templates/base.raw -Untrusted'; Cmdlet = 'CompareFleeceImage' }
        @{ Command = 'Compare-FleeceImage ./templates/base.raw ./uploads/vm.qcow2 -Untrusted'; Cmdlet = 'CompareFleeceImage' }
    ) {
        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } |
            Should -Throw -ErrorId "ImageReferenceRefused,Fleece.${Cmdlet}Command"

        Get-ChildItem new.* | Should -BeNullOrEmpty
        Get-FleeceDisk | Should -BeNullOrEmpty
    }

    It 'does not end a comparison with an open image when warnings are errors' {
        { Compare-FleeceImage ./uploads/vm.qcow2 ./templates/base.raw -WarningAction Stop } | Should -Throw

        # Nothing holds it: it can be opened for writing.
        Mount-FleeceDisk ./uploads/vm.qcow2 -WarningAction SilentlyContinue | Dismount-FleeceDisk
    }
}

Describe 'An untrusted image' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'works as any other where it stays within its folder and its limits' {
        [IO.File]::WriteAllBytes("$PWD/base.raw", (Get-RandomData 1MB))
        $null = New-FleeceImage ./vm.qcow2 -ParentPath ./base.raw

        (Get-FleeceImage ./vm.qcow2 -Untrusted).SizeBytes | Should -Be 1MB
        (Test-FleeceImage ./vm.qcow2 -Untrusted).IsClean | Should -BeTrue
        (Convert-FleeceImage ./vm.qcow2 ./copy.vhdx -Untrusted).SizeBytes | Should -Be 1MB
        (Compare-FleeceImage ./copy.vhdx ./base.raw -Untrusted).AreEqual | Should -BeTrue
        (Mount-FleeceDisk ./vm.qcow2 -Untrusted).SizeBytes | Should -Be 1MB
    }

    It 'that claims too large a disk is refused: <Cmdlet>' -ForEach @(
        @{ Cmdlet = 'Get-FleeceImage' }
        @{ Cmdlet = 'Test-FleeceImage' }
        @{ Cmdlet = 'Mount-FleeceDisk' }
    ) {
        $null = New-FleeceImage ./large.qcow2 100TB -BlockSizeBytes 2MB

        { & $Cmdlet ./large.qcow2 -Untrusted -ErrorAction Stop } | Should -Throw -ErrorId 'ImageLimitExceeded,*'
        (Get-FleeceImage ./large.qcow2).SizeBytes | Should -Be 100TB
    }
}

Describe 'A repository from a stranger' {
    BeforeEach {
        Enter-TestFolder
        if ($IsWindows -or -not (Get-Command mkfifo -CommandType Application -ErrorAction Ignore)) {
            Set-ItResult -Skipped -Because 'mkfifo is not installed'
        }
        $null = New-FleeceImage ./vm.raw -SizeBytes 2MB
        $null = Mount-FleeceDisk ./vm.raw
        $null = Backup-FleeceDisk vm ./backups
        $null = Backup-FleeceDisk vm ./backups
    }
    AfterEach { Exit-TestFolder }

    It 'with a <Kind> in the place of <File> is refused by that name by all cmdlets' -ForEach @(
        foreach ($file in 'vm-000001.qcow2', 'vm-000001.json', 'repository.lock') {
            @{ Kind = 'link'; File = $file }
            @{ Kind = 'pipe'; File = $file }
        }
    ) {
        $path = "$PWD/backups/$File"
        Move-Item $path "$PWD/outside"
        $before = (Get-FileHash ./outside).Hash
        if ($Kind -eq 'link') { $null = New-Item $path -ItemType SymbolicLink -Target "$PWD/outside" } else { & mkfifo $path }

        $all = @(
            { Backup-FleeceDisk vm ./backups -ErrorAction Stop }
            if ($File -ne 'repository.lock') {
                { Restore-FleeceBackup ./backups/vm-000001.qcow2 ./r.raw -ErrorAction Stop }
                { Restore-FleeceBackup ./backups ./r.raw -ErrorAction Stop }
            }
            if ($File -like '*.json') {
                { Get-FleeceBackup ./backups -ErrorAction Stop }
                { Test-FleeceBackup ./backups -Deep -ErrorAction Stop }
            }
        )
        foreach ($one in $all) { $one | Should -Throw "*$File*" }
        if ($File -like '*.qcow2') {
            (Test-FleeceBackup ./backups -Deep).IsGood | Should -Be $false, $false
            (Test-FleeceBackup ./backups).Findings[0].Message | Should -BeLike "*$path*"
        }
        $null = Backup-FleeceDisk vm ./backups -Full -Keep 1 -ErrorVariable kept -ErrorAction SilentlyContinue -WarningAction Ignore
        (Get-FileHash ./outside).Hash | Should -Be $before
        './r.raw' | Should -Not -Exist
    }
}
