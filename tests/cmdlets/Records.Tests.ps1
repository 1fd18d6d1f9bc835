# SPDX-License-Identifier: MIT
# Matter: records, and the arguments that name a disk, a session, a bitmap, an export or a backup.

BeforeDiscovery {
    # Each way an object goes out of the process and comes back.
    $script:trips = @(
        @{ Trip = 'Export-Clixml'; Go = { $_ | Export-Clixml ./trip.xml; Import-Clixml ./trip.xml } }
        @{ Trip = 'remoting'; Go = { [System.Management.Automation.PSSerializer]::Deserialize([System.Management.Automation.PSSerializer]::Serialize($_)) } }
        @{ Trip = 'Start-Job'; Go = { Start-Job { $args[0] } -ArgumentList $_ | Receive-Job -Wait -AutoRemoveJob } }
        @{ Trip = 'ConvertTo-Json'; Go = { $_ | ConvertTo-Json -Depth 4 | ConvertFrom-Json } }
        @{ Trip = 'ConvertTo-Csv'; Go = { $_ | ConvertTo-Csv | ConvertFrom-Csv } }
        @{ Trip = 'Select-Object'; Go = { $_ | Select-Object * } }
    )
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # PowerShell as a tool of .NET may have its launcher elsewhere, or not marked as a program.
    $script:hasJobs = try { (& (Join-Path $PSHOME pwsh) -NoProfile -NonInteractive -Command 1) -eq 1 } catch { $false }

    function Send-Trip($Record) {
        if ($Trip -eq 'Start-Job' -and -not $hasJobs) { Set-ItResult -Skipped -Because "Start-Job needs a $PSHOME/pwsh that runs" }
        $Record | ForEach-Object $Go
    }
}

Describe 'A record' {
    BeforeEach {
        Enter-TestFolder
        $null = New-FleeceImage ./vm.raw -SizeBytes 2MB
        $script:disk = Mount-FleeceDisk ./vm.raw -ListenUri 'nbd+unix:///?socket=./vm.sock'
        $script:bitmap = New-FleeceBitmap vm daily
        $script:session = Start-FleeceSession vm -Name nightly -Bitmap daily -Consumer local, offsite
        $script:export = Get-FleeceExport vm
        $script:backup = Read-FleeceSnapshot nightly | Export-FleeceBackup ./b.qcow2
        $script:point = Get-FleeceBackup ./b.qcow2
    }
    AfterEach { Exit-TestFolder }

    It 'of a <Kind> has the properties that users know' -ForEach @(
        @{ Kind = 'disk'; Names = 'Name', 'Path', 'Format', 'SizeBytes', 'IsReadOnly', 'IsShared', 'OperationalStatus', 'FailureReason', 'Sessions', 'Notes', 'MountId' }
        @{ Kind = 'session'; Names = 'Name', 'Disk', 'Id', 'State', 'BrokenBy', 'StartedAt', 'InstantId', 'SizeBytes', 'GranuleSizeBytes', 'OnCopyError', 'CopyTimeout', 'TempLimitBytes', 'TempUsedBytes', 'TempWarning', 'TempWarningPercent', 'TempFullIn', 'MaxGuestDelay', 'GuestDelay', 'GuestDelayCount', 'GuestWaitCount', 'GuestWaitTotal', 'GuestWaitP50', 'GuestWaitP99', 'GuestWaitLongest', 'CopiedBytes', 'AvoidedBytes', 'DeniedBytes', 'ConsumedBytes', 'TempPath', 'Bitmap', 'NextBitmap', 'Consumers', 'MountId', 'QmpSocketPath', 'GuestPause', 'IsQuiesced', 'CanResume', 'CannotResumeReason', 'ResumedAt', 'LogId' }
        @{ Kind = 'bitmap'; Names = 'Name', 'Disk', 'ImagePath', 'IsOfParent', 'State', 'Reason', 'GranularityBytes', 'DirtyBytes', 'SizeBytes', 'Session', 'BaselineId', 'IsPersistent', 'Ranges', 'BitmapId', 'MountId' }
        @{ Kind = 'export'; Names = 'Disk', 'Name', 'Uri', 'IsReadOnly', 'IsSnapshotOnly', 'Uris', 'ConnectionCount', 'GuestCount', 'ExportId', 'MountId' }
        @{ Kind = 'backup'; Names = 'Path', 'Format', 'Session', 'Instant', 'SizeBytes', 'DataBytes', 'ZeroBytes', 'ChunkCount', 'Duration', 'BytesPerSecond', 'IsVerified', 'Point', 'PSPath' }
        @{ Kind = 'point'; Names = 'Path', 'RepositoryPath', 'Number', 'Id', 'ParentId', 'ChainId', 'Kind', 'Instant', 'CompletedAt', 'Disk', 'SourceAddress', 'Bitmap', 'IsShared', 'Format', 'SizeBytes', 'DataBytes', 'ZeroBytes', 'IsSealed', 'FileSizeBytes', 'PSPath' }
    ) {
        (Get-Variable $Kind -ValueOnly).PSObject.Properties.Name | Sort-Object | Should -Be ($Names | Sort-Object)
    }

    It 'names other things and does not hold them' {
        $session.Disk, $session.Bitmap, $bitmap.Disk, $export.Disk, $session.Consumers[0].Session |
            Should -Be 'vm', 'daily', 'vm', 'vm', 'vm/nightly'
        (Get-FleeceDisk).Sessions | Should -BeExactly 'vm/nightly'
    }

    It 'has no way to the filter under a guest' {
        { $session.Point.Filter.Active = $null } | Should -Throw
        { $disk.Device.QuiesceAsync() } | Should -Throw
        { $disk.Name = 'other' } | Should -Throw

        Write-FleeceDisk vm 0 ([byte[]] (1, 2, 3)) -ErrorAction Stop
    }

    It 'that went through <Trip> finds its disk again' -ForEach $trips {
        $far = Send-Trip $disk

        ($far | Get-FleeceDisk).Name | Should -Be vm
        (Get-FleeceDisk $far).Name | Should -Be vm
        (Read-FleeceDisk $far 0 1).Count | Should -Be 1
        ($far | Get-FleeceBitmap).Name | Should -Be daily
        ($far | Get-FleeceExport).Name | Should -Be vm
    }

    It 'that went through <Trip> finds its session again' -ForEach $trips {
        $far = Send-Trip $session

        ($far | Get-FleeceSession).Id | Should -Be vm/nightly
        (Get-FleeceSession $far).Id | Should -Be vm/nightly
        ($far | Get-FleeceSnapshotMap).State | Should -Be Untouched
        ($far | Get-FleeceDisk).Name | Should -Be vm
        $far | Stop-FleeceSession
        Get-FleeceSession | Should -BeNullOrEmpty
    }

    It 'that went through <Trip> finds its bitmap again' -ForEach $trips {
        Stop-FleeceSession nightly
        $far = Send-Trip $bitmap

        ($far | Get-FleeceBitmap).Name | Should -Be daily
        (Get-FleeceBitmap vm $far).Name | Should -Be daily
        $null = Start-FleeceSession vm -Bitmap $far | Stop-FleeceSession
        $far | Remove-FleeceBitmap
        Get-FleeceBitmap | Should -BeNullOrEmpty
    }

    It 'that went through <Trip> finds its export again, and no other one' -ForEach $trips {
        $null = Publish-FleeceExport vm 'nbd+unix:///other?socket=./vm.sock'
        $far = Send-Trip $export

        $far | Unpublish-FleeceExport

        (Get-FleeceExport).Name | Should -Be other
    }

    It 'that went through <Trip> finds its backup again' -ForEach $trips {
        $farPoint = Send-Trip $point
        $far = Send-Trip $backup

        ($farPoint | Get-FleeceBackup).Id | Should -Be $point.Id
        (Get-FleeceBackup $farPoint).Id | Should -Be $point.Id
        ($far | Test-FleeceBackup).IsGood | Should -BeTrue
        (Restore-FleeceBackup $far ./r.raw).Path | Should -Be "$PWD/r.raw"
    }

    It 'of a consumer stands for its session' {
        ($session.Consumers[1] | Get-FleeceSession).Id | Should -Be vm/nightly
    }

    It 'is shown as before after a trip: <Kind>' -ForEach @(
        @{ Kind = 'disk'; Row = 'vm +Raw.*vm\.raw' }
        @{ Kind = 'session'; Row = 'vm/nightly +Active.*local 0 ?%, offsite 0 ?%' }
        @{ Kind = 'bitmap'; Row = 'vm +daily +Recording' }
        @{ Kind = 'export'; Row = 'vm +False +0 +nbd\+unix' }
        @{ Kind = 'backup'; Row = 'Session +: vm/nightly' }
        @{ Kind = 'point'; Row = '0 +Full .*b\.qcow2' }
    ) {
        $record = Get-Variable $Kind -ValueOnly
        $far = [System.Management.Automation.PSSerializer]::Deserialize([System.Management.Automation.PSSerializer]::Serialize($record))

        $far.PSObject.TypeNames[0] | Should -BeLike 'Deserialized.Fleece.*.Records.*Info'
        $far | Out-String -Width 400 | Should -Match $Row
        $far | Out-String -Width 400 | Should -Be ($record | Out-String -Width 400)
    }

    # A list that the C# compiler makes has no indexer that PowerShell sees: [0] gives the whole list.
    It 'has lists that are indexed' {
        $null = New-FleeceImage ./two.qcow2 -SizeBytes 1MB
        $null = Mount-FleeceDisk ./two.qcow2
        $null = New-FleeceBitmap two a
        $null = New-FleeceBitmap two b
        Dismount-FleeceDisk two

        (Get-FleeceImage ./two.qcow2).Bitmaps[1].Name | Should -Be b
        $session.Consumers[1].Name | Should -Be offsite
        $export.Uris[1].ExportName | Should -Be vm/nightly
        (Get-FleeceDisk).Sessions[0] | Should -Be vm/nightly
    }

    It 'becomes JSON with names and numbers' {
        $json = Get-FleeceSession | ConvertTo-Json -WarningVariable truncated | ConvertFrom-Json

        $truncated | Should -BeNullOrEmpty
        $json.Disk | Should -BeExactly vm
        $json.Consumers.RemainingBytes | Should -Be 2MB, 2MB
        $json.InstantId | Should -Be $session.InstantId
    }
}

Describe 'A record of something that is gone' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        $script:disk = Get-FleeceDisk vm
        $script:bitmap = New-FleeceBitmap vm daily
        $script:export = Publish-FleeceExport vm 'nbd+unix:///?socket=./vm.sock'
        $script:session = Start-FleeceSession vm -Name nightly
        $script:backup = Read-FleeceSnapshot nightly | Export-FleeceBackup ./b.raw
        Stop-FleeceSession nightly
    }
    AfterEach { Exit-TestFolder }

    It 'is of no name, while nothing has the name' {
        Dismount-FleeceDisk vm

        { $disk | Get-FleeceDisk -ErrorAction Stop } | Should -Throw -ErrorId 'DiskNotFound,*'
        { $session | Stop-FleeceSession -ErrorAction Stop } | Should -Throw -ErrorId 'SessionNotFound,*'
        { $export | Unpublish-FleeceExport -ErrorAction Stop } | Should -Throw -ErrorId 'ExportNotFound,*'
    }

    It 'of a disk does not stand for one that was mounted since: <Command>' -ForEach @(
        @{ Command = '$disk | Get-FleeceDisk' }
        @{ Command = 'Write-FleeceDisk $disk 0 1' }
        @{ Command = '$disk | Dismount-FleeceDisk -Force' }
        @{ Command = '$disk | ConvertTo-Json | ConvertFrom-Json | Dismount-FleeceDisk -Force' }
        @{ Command = '$disk, $disk | Start-FleeceSession' }
        @{ Command = '$bitmap | Remove-FleeceBitmap' }
        @{ Command = 'Remove-FleeceBitmap vm $bitmap' }
        @{ Command = 'Merge-FleeceBitmap vm daily $bitmap' }
        @{ Command = 'Start-FleeceSession vm -Bitmap $bitmap' }
        @{ Command = 'Backup-FleeceDisk vm ./repo -Bitmap $bitmap' }
    ) {
        Dismount-FleeceDisk vm
        $null = Mount-FleeceDisk ./vm.raw

        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -ErrorId 'RecordStale,*'

        (Get-FleeceDisk).Name | Should -Be vm
        (Get-FleeceBitmap).Name | Should -Be daily
        Get-FleeceSession | Should -BeNullOrEmpty
    }

    It 'of a session does not stand for a newer one of its name: <Command>' -ForEach @(
        @{ Command = '$session | Get-FleeceSession' }
        @{ Command = '$session | Stop-FleeceSession' }
        @{ Command = 'Read-FleeceSnapshot $session' }
        @{ Command = 'Get-FleeceSnapshotMap $session' }
        @{ Command = '$session | Clear-FleeceSnapshot -OffsetBytes 0 -LengthBytes 1MB' }
    ) {
        $null = Start-FleeceSession vm -Name nightly

        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -ErrorId 'RecordStale,*'

        (Get-FleeceSession).ConsumedBytes | Should -Be 0
    }

    It 'of an export does not stand for a newer one of its name' {
        Unpublish-FleeceExport vm
        $null = Publish-FleeceExport vm 'nbd+unix:///?socket=./vm.sock'

        { $export | Unpublish-FleeceExport -ErrorAction Stop } | Should -Throw -ErrorId 'RecordStale,*'

        (Get-FleeceExport).Name | Should -Be vm
    }

    It 'of a backup does not stand for one that has replaced it: <Command>' -ForEach @(
        @{ Command = '$backup | Test-FleeceBackup' }
        @{ Command = 'Get-FleeceBackup $backup.Point' }
        @{ Command = 'Restore-FleeceBackup $backup ./r.raw' }
    ) {
        $null = Start-FleeceSession vm
        $null = Read-FleeceSnapshot vm | Export-FleeceBackup ./b.raw -Force

        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -ErrorId 'RecordStale,*'

        Test-Path ./r.raw | Should -BeFalse
    }
}

Describe 'An argument that names something' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk
        New-MountedDisk -Name 7
        $null = Start-FleeceSession vm
    }
    AfterEach { Exit-TestFolder }

    It 'comes from a property: <Command>' -ForEach @(
        @{ Command = "[pscustomobject]@{ Name = 'vm' } | Get-FleeceDisk"; Name = 'vm' }
        @{ Command = "[pscustomobject]@{ Name = 'v*' } | Get-FleeceDisk"; Name = 'vm' }
        @{ Command = "[pscustomobject]@{ Name = 'vm' } | Get-FleeceSession"; Name = 'vm' }
        @{ Command = "[pscustomobject]@{ Disk = 'vm' } | New-FleeceBitmap -Name daily"; Name = 'daily' }
    ) {
        (& ([scriptblock]::Create($Command))).Name | Should -Be $Name
    }

    It 'may be a number, for a disk may be called so' {
        (Get-FleeceDisk 7).Name | Should -Be 7
        (Get-FleeceDisk vm, 7).Name | Should -Be vm, 7
        (7 | Get-FleeceDisk).Name | Should -Be 7
    }

    It 'is refused by parameter binding when it is null: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceDisk $null' }
        @{ Command = 'Get-FleeceDisk vm, $null' }
        @{ Command = '$null | Get-FleeceDisk' }
        @{ Command = 'Dismount-FleeceDisk $null' }
        @{ Command = 'Get-FleeceSession $null' }
        @{ Command = 'Get-FleeceSession -Disk $null' }
        @{ Command = 'Get-FleeceBitmap $null' }
        @{ Command = 'Get-FleeceBitmap vm $null' }
        @{ Command = 'Get-FleeceExport $null' }
        @{ Command = 'Read-FleeceSnapshot $null' }
        @{ Command = 'Read-FleeceSnapshot -Session $null' }
        @{ Command = 'Get-FleeceSnapshotMap $null' }
        @{ Command = 'Clear-FleeceSnapshot $null -OffsetBytes 0 -LengthBytes 1MB' }
        @{ Command = 'Stop-FleeceSession $null' }
        @{ Command = 'Start-FleeceSession vm -Bitmap $null' }
        @{ Command = 'Unpublish-FleeceExport -InputObject $null' }
        @{ Command = 'Get-FleeceBackup $null' }
        @{ Command = 'Get-FleeceDisk ([datetime]::Now, @{})' }
    ) {
        $failure = { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -PassThru

        $failure.Exception | Should -BeOfType System.Management.Automation.ParameterBindingException
    }

    It 'is what a script block makes of the piped object' {
        $null = New-FleeceBitmap vm daily

        Get-FleeceDisk vm | Remove-FleeceBitmap -Name { 'daily' }

        Get-FleeceBitmap | Should -BeNullOrEmpty
    }

    It 'may be a string in the pipeline' {
        ('vm' | Start-FleeceSession -Name n).Id | Should -Be vm/n
        ('vm/n' | Get-FleeceSnapshotMap).State | Should -Be Untouched
        'n' | Stop-FleeceSession
        (Get-FleeceSession).Id | Should -Be vm/vm
        '7' | Dismount-FleeceDisk
        (Get-FleeceDisk).Name | Should -Be vm
    }

    It 'is the target of its error, as a name: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceDisk nobody'; Target = 'nobody' }
        @{ Command = 'Get-FleeceDisk vm | Dismount-FleeceDisk'; Target = 'vm' }
        @{ Command = 'Get-FleeceExport | Unpublish-FleeceExport'; Target = 'vm' }
        @{ Command = 'Stop-FleeceSession nobody'; Target = 'nobody' }
    ) {
        $null = Publish-FleeceExport vm (Get-SocketUri)
        $null = Mount-FleeceDisk (Get-SocketUri vm) -Name guest

        $failure = { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'; $Command")) } | Should -Throw -PassThru

        $failure.TargetObject | Should -BeExactly $Target
        Dismount-FleeceDisk guest
    }
}

Describe 'Objects in the pipeline' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'disks and sessions stand where their names are wanted' {
        New-MountedDisk -Name a
        New-MountedDisk -Name b

        $sessions = Get-FleeceDisk | Start-FleeceSession -Name nightly
        $read = $sessions | Read-FleeceSnapshot

        $sessions.Id | Should -Be 'a/nightly', 'b/nightly'
        $read.Session | Should -Be 'a/nightly', 'b/nightly'
        $sessions | Stop-FleeceSession
        Get-FleeceDisk | Dismount-FleeceDisk
        Get-FleeceDisk | Should -BeNullOrEmpty
    }
}
