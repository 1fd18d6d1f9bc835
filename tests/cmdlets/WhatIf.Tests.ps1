# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'WhatIf' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Data (Get-RandomData 64KB)
        $null = Start-FleeceSession vm
        $null = New-FleeceImage ./other.raw 1MB
        $script:files = (Get-ChildItem).Name
    }
    AfterEach { Exit-TestFolder }

    It 'changes nothing: <Command>' -ForEach @(
        @{ Command = 'New-FleeceImage ./new.raw 1MB -WhatIf' }
        @{ Command = 'Convert-FleeceImage ./other.raw ./new.qcow2 -WhatIf' }
        @{ Command = 'Mount-FleeceDisk ./vm.raw -Name other -WhatIf' }
        @{ Command = 'Start-FleeceSession vm -Name other -WhatIf' }
        @{ Command = 'Clear-FleeceSnapshot vm -OffsetBytes 0 -LengthBytes 1MB -WhatIf' }
        @{ Command = 'Read-FleeceSnapshot vm -DiscardConsumed | Export-Backup ./b.raw -WhatIf' }
        @{ Command = 'New-FleeceBitmap vm daily -WhatIf' }
        @{ Command = 'Stop-FleeceSession vm -Success -WhatIf' }
        @{ Command = 'Dismount-FleeceDisk vm -Force -WhatIf' }
        @{ Command = 'Mount-FleeceDisk ./vm.raw -Name other -ListenUri "nbd+unix:///?socket=w.sock" -WhatIf' }
        @{ Command = 'Publish-FleeceExport vm "nbd+unix:///?socket=w.sock" -WhatIf' }
        @{ Command = 'Read-FleeceSnapshot vm -DiscardConsumed | Export-Backup -DestinationUri "nbd://localhost:1/b" -WhatIf' }
    ) {
        & ([scriptblock]::Create($Command)) | Should -BeNullOrEmpty

        (Get-ChildItem).Name | Should -Be $files
        (Get-FleeceDisk).Name | Should -Be 'vm'
        (Get-FleeceSession).Id | Should -Be 'vm/vm'
        (Get-FleeceSession).ConsumedBytes | Should -Be 0
        Get-FleeceExport | Should -BeNullOrEmpty
        Get-FleeceBitmap | Should -BeNullOrEmpty
    }

    It 'is offered by every cmdlet that changes what others rely on' {
        (Get-Command -Module Fleece -CommandType Cmdlet | Where-Object { $_.Parameters.ContainsKey('WhatIf') }).Name | Sort-Object |
            Should -Be @(
                'Backup-FleeceDisk', 'Clear-FleeceBitmap', 'Clear-FleeceSnapshot', 'Convert-FleeceImage', 'Disable-FleeceBitmap'
                'Dismount-FleeceDisk', 'Enable-FleeceBitmap', 'Export-FleeceBackup', 'Merge-FleeceBitmap', 'Mount-FleeceDisk'
                'New-FleeceBitmap', 'New-FleeceImage', 'Publish-FleeceExport', 'Remove-FleeceBitmap', 'Restore-FleeceBackup'
                'Start-FleeceSession', 'Stop-FleeceSession', 'Test-FleeceImage', 'Unpublish-FleeceExport', 'Write-FleeceDisk'
            )
    }
}
