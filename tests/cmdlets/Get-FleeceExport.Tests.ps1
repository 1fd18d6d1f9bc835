# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'An export' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 1MB
        New-MountedDisk -SizeBytes 4MB -Data $old
    }
    AfterEach { Exit-TestFolder }

    It 'is a table row with its clients' {
        $null = Publish-FleeceExport vm (Get-SocketUri)

        $text = Get-FleeceExport | Out-String -Width 400

        $text | Should -Match 'Disk +ReadOnly +Clients +Uris'
        $text | Should -Match 'vm +False +0 nbd\+unix:///vm\?socket='
    }
}

Describe 'A request to Get-FleeceExport' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceExport nobody'; Id = 'DiskNotFound,Fleece.GetFleeceExportCommand' }
    ) { Assert-Refused $Command $Id }
}
