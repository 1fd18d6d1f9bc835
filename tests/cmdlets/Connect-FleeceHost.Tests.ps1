# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'A connection to a host' -Skip:(-not $IsLinux) {
    BeforeEach {
        Enter-TestFolder
        $script:process = Start-TestHost $PWD
    }
    AfterEach {
        Disconnect-FleeceHost
        Send-Signal TERM $process
        $process.WaitForExit()
        Exit-TestFolder
    }

    It 'is used by all cmdlets, whatever the environment says' {
        (Connect-FleeceHost ./host.sock).SocketPath | Should -Be "$PWD/host.sock"

        New-MountedDisk

        (Get-FleeceHost).ProcessId | Should -Be $process.Id
        (Get-FleeceHost).DiskCount | Should -Be 1
        Get-FleeceDisk | Dismount-FleeceDisk
    }
}

Describe 'A request to Connect-FleeceHost' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Connect-FleeceHost ./none.sock'; Id = 'HostNotRunning,Fleece.ConnectFleeceHostCommand' }
        @{ Command = 'Connect-FleeceHost env:PATH'; Id = 'ImageNotAFile,Fleece.ConnectFleeceHostCommand' }
    ) { Assert-Refused $Command $Id }
}
