# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'A process that leaves a host' -Skip:(-not $IsLinux) {
    BeforeEach {
        Enter-TestFolder
        $script:process = Start-TestHost $PWD
    }
    AfterEach {
        Send-Signal TERM $process
        $process.WaitForExit()
        Exit-TestFolder
    }

    It 'uses what it used before' {
        $before = (Get-FleeceHost).ProcessId
        $null = Connect-FleeceHost ./host.sock

        Disconnect-FleeceHost

        (Get-FleeceHost).ProcessId | Should -Be $before
    }

    It 'is told with -Verbose where it is connected to none' {
        Disconnect-FleeceHost -Verbose 4>&1 | Should -Match 'no host'
    }
}
