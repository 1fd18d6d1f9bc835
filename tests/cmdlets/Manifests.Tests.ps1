# SPDX-License-Identifier: MIT
# Matter: the manifest beside a backup that is one file.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'The manifest beside a backup' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 1MB)
        $null = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'goes with the image that is replaced: <Command>' -ForEach @(
        @{ Command = 'Read-FleeceSnapshot | Export-Backup ./b.raw -Force -NoManifest' }
        @{ Command = 'Convert-FleeceImage ./source.raw ./b.raw -Force' }
        @{ Command = 'Restore-FleeceBackup ./old.qcow2 ./b.raw -Force' }
    ) {
        $null = Read-FleeceSnapshot | Export-Backup ./b.raw
        $null = Read-FleeceSnapshot | Export-Backup ./old.qcow2
        $null = New-FleeceImage ./source.raw 1MB

        $null = & ([scriptblock]::Create($Command))

        './b.raw.json' | Should -Not -Exist
    }

    It 'is replaced with its image' {
        $null = Read-FleeceSnapshot | Export-Backup ./b.raw
        $before = Get-Content ./b.raw.json -Raw
        Stop-FleeceSession vm
        Write-FleeceDisk vm 0 1
        $null = Start-FleeceSession vm

        $null = Read-FleeceSnapshot | Export-Backup ./b.raw -Force

        Get-Content ./b.raw.json -Raw | Should -Not -Be $before
        (Test-FleeceBackup ./b.raw -Deep).IsGood | Should -BeTrue
    }

    It 'that lies there without its image is not replaced unasked: <_>' -ForEach @(
        'Read-FleeceSnapshot | Export-Backup ./b.raw'
        'Read-FleeceSnapshot | Export-Backup ./b.raw -NoManifest'
    ) {
        $null = Read-FleeceSnapshot | Export-Backup ./b.raw
        Remove-Item ./b.raw

        { & ([scriptblock]::Create($_)) } | Should -Throw '*b.raw.json*' -ErrorId 'ImageAlreadyExists,Fleece.ExportFleeceBackupCommand'
    }

    It 'does not take the place of a file that is none' {
        Set-Content ./b.raw.json '{ "mine": 1 }'

        { Read-FleeceSnapshot | Export-Backup ./b.raw -Force } |
            Should -Throw -ErrorId 'ImageAlreadyExists,Fleece.ExportFleeceBackupCommand'
        $null = Read-FleeceSnapshot | Export-Backup ./b.raw -Force -NoManifest

        Get-Content ./b.raw.json | Should -Be '{ "mine": 1 }'
    }
}

Describe 'A manifest in which <Text> became <Other>' -ForEach @(
    @{ Text = 'fleeceManifest": 2'; Other = 'fleeceManifest": 3' }
    @{ Text = 'fleeceManifest": 2'; Other = 'fleeceManifest": 1' }
    @{ Text = '"number": 0'; Other = '"number": 3' }
    @{ Text = '"state": "Kept"'; Other = '"state": "Merged"' }
    @{ Text = '"sizeBytes"'; Other = '"size"' }
    @{ Text = '[1048576,1048576'; Other = '[9048576,1048576' }
) {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'restores nothing' {
        New-MountedDisk -SizeBytes 4MB
        Write-FleeceDisk vm 1MB (Get-RandomData 1MB)
        $null = Start-FleeceSession vm
        $null = Read-FleeceSnapshot | Export-Backup ./b.raw
        $manifest = [IO.File]::ReadAllText("$PWD/b.raw.json")
        $manifest.Contains($Text) | Should -BeTrue
        [IO.File]::WriteAllText("$PWD/b.raw.json", $manifest.Replace($Text, $Other))

        { Restore-FleeceBackup ./b.raw ./r.raw -ErrorAction Stop } |
            Should -Throw -ErrorId 'BackupManifestInvalid,Fleece.RestoreFleeceBackupCommand'
        './r.raw' | Should -Not -Exist
    }
}
