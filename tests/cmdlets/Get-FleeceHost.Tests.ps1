# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'The owner of the disks' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is the process that Get-FleeceHost shows, with its disks' {
        New-MountedDisk

        $owner = Get-FleeceHost

        $owner.DiskCount | Should -Be 1
        $owner.IsThisProcess | Should -Be (-not (Test-ThroughHost))
        ($owner.ProcessId -eq $PID) | Should -Be (-not (Test-ThroughHost))
        $owner.Uptime | Should -BeGreaterThan ([timespan]::Zero)
        $owner | Out-String -Width 200 | Should -Match 'SocketPath'
    }
}

Describe 'A request to Get-FleeceHost' {
    BeforeEach {
        Enter-RequestFolder
        $script:before = $env:FLEECE_HOST
    }
    AfterEach {
        $env:FLEECE_HOST = $before
        Exit-TestFolder
    }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = '$env:FLEECE_HOST = "./none.sock"; Get-FleeceHost'; Id = 'HostNotRunning,Fleece.GetFleeceHostCommand' }
    ) { Assert-Refused $Command $Id }
}
