# SPDX-License-Identifier: MIT
# Matter: pipelines that are cut or fail half-way.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    Import-ModuleUnderTest
}

Describe 'A pipeline that is cut' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 4MB
        New-MountedDisk -SizeBytes 4MB -Data $old
        $null = Start-FleeceSession vm
        Write-FleeceDisk vm 0 ([byte[]]::new(4MB))
    }
    AfterEach { Exit-TestFolder }

    It 'makes no backup and leaves no file' {
        { Read-FleeceSnapshot vm -ChunkSizeBytes 64KB | Select-Object -First 2 | Export-Backup ./b.raw } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
        (Get-FleeceSession vm).ConsumedBytes | Should -Be 0
    }

    It 'makes no backup when chunks are dropped on the way' {
        { Read-FleeceSnapshot vm -ChunkSizeBytes 64KB | Select-Object -Skip 1 | Export-Backup ./b.raw } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }

    It 'keeps what it consumed, and says where' {
        $failure = { Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB | Select-Object -First 2 | Export-Backup ./b.raw } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand' -PassThru

        (Get-ChildItem b.raw*).Name | Should -Be 'b.raw.partial'
        $failure.Exception.Message | Should -BeLike '*b.raw.partial*'
        (Get-FleeceSession vm).ConsumedBytes | Should -Be 128KB
        Test-SameData ([IO.File]::ReadAllBytes("$PWD/b.raw.partial")[0..(128KB - 1)]) $old[0..(128KB - 1)] | Should -BeTrue
    }

    It 'consumes nothing that was only looked at' {
        $chunks = Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB | Select-Object -First 2

        $chunks.OffsetBytes | Should -Be 0, 64KB
        (Get-FleeceSession vm).ConsumedBytes | Should -Be 0
        Test-SameData $chunks[1].Data $old[64KB..(128KB - 1)] | Should -BeTrue
    }

    It 'consumes what its consumer disposed, and nothing else' {
        Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB | Select-Object -First 3 | ForEach-Object { $_.Dispose() }

        (Get-FleeceSession vm).ConsumedBytes | Should -Be 192KB
        (Read-FleeceSnapshot vm | Select-Object -First 1).OffsetBytes | Should -Be 192KB
    }

    It 'ends with the error of a consumer that throws, and the session can be read again' {
        { Read-FleeceSnapshot vm -DiscardConsumed | ForEach-Object { throw 'full' } } | Should -Throw 'full'

        $read = [byte[]]::new(4MB)
        Read-FleeceSnapshot vm | ForEach-Object { $_.Data.CopyTo($read, $_.OffsetBytes) }
        Test-SameData $read $old | Should -BeTrue
    }

    It 'ends with the error of a consumer and makes no backup' {
        { Read-FleeceSnapshot vm -ChunkSizeBytes 64KB | ForEach-Object { if ($_.OffsetBytes) { throw 'full' }; $_ } | Export-Backup ./b.raw } |
            Should -Throw 'full'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }

    It 'makes no backup when its session is stopped meanwhile' {
        {
            Read-FleeceSnapshot vm -ChunkSizeBytes 64KB | ForEach-Object { if ($_.OffsetBytes -eq 128KB) { Stop-FleeceSession vm }; $_ } |
                Export-Backup ./b.raw
        } | Should -Throw -ErrorId 'SessionStopped,Fleece.ReadFleeceSnapshotCommand'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }

    It 'ends the progress of its backup' {
        $done = Invoke-Answering 'No' 'try { @(Read-FleeceSnapshot vm)[0..2] | Export-Backup ./b.raw } catch { }'

        $done.Progress[-1].RecordType | Should -Be Completed
    }
}

Describe 'Backup repositories' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        Write-FleeceDisk vm 1MB ([byte[]] (1..255))
    }
    AfterEach { Exit-TestFolder }

    It 'go on after a pipeline that was cut' {
        $null = New-FleeceBitmap vm daily
        $session = Start-FleeceSession vm -Bitmap daily
        { Read-FleeceSnapshot vm -DiscardConsumed | Select-Object -First 1 | Export-Backup ./backups/ } |
            Should -Throw -ErrorId 'BackupIncomplete,Fleece.ExportFleeceBackupCommand'
        Stop-FleeceSession $session
        './backups' | Should -Not -Exist

        $session = Start-FleeceSession vm -Bitmap daily
        $backup = Read-FleeceSnapshot vm -DiscardConsumed | Export-Backup ./backups/
        Stop-FleeceSession $session -Success
        $backup.Point.Kind | Should -Be Full
        (Get-FleeceBitmap vm daily).BaselineId | Should -Be $backup.Point.Id
    }
}
