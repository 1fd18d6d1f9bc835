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

Describe 'A host that is named and is not there' {
    BeforeEach { $script:before = $env:FLEECE_HOST }
    AfterEach { $env:FLEECE_HOST = $before }

    It 'is an error, and never this process' {
        $env:FLEECE_HOST = "$TestDrive/none.sock"

        { Get-FleeceHost -ErrorAction Stop } | Should -Throw -ErrorId 'HostNotRunning,Fleece.GetFleeceHostCommand'
        Get-FleeceHost -ErrorAction Ignore | Should -BeNullOrEmpty
        { Get-FleeceDisk -ErrorAction Stop } | Should -Throw -ErrorId 'HostNotRunning,Fleece.GetFleeceDiskCommand'
    }
}
