# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'The metrics of a session' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -SizeBytes 4MB -Data (Get-RandomData 1MB)
        $null = Start-FleeceSession vm -Name nightly
    }
    AfterEach { Exit-TestFolder }

    It 'have the wait of a write that changes something for the first time, and no other' {
        Write-FleeceDisk vm 0 (Get-RandomData 4KB -Seed 8)
        Write-FleeceDisk vm 0 (Get-RandomData 4KB -Seed 9)

        $wait = Get-FleeceMetric fleece.session.guest.wait

        $wait | Should -HaveCount 1
        $wait.Labels.disk | Should -Be vm
        $wait.Labels['session'] | Should -Be nightly
        $wait.Kind | Should -Be Histogram
        $wait.Unit | Should -Be s
        $wait.Count | Should -Be 1
        $wait.Value | Should -Be 1
        $wait.Sum | Should -BeGreaterThan 0
        $wait.P50 | Should -BeGreaterThan 0
        $wait.P99 | Should -BeLessOrEqual $wait.Maximum
        $wait.Buckets[-1].Count | Should -Be 1
        $wait.Description | Should -Not -BeNullOrEmpty
    }

    It 'are in the session as well' {
        Write-FleeceDisk vm 0 (Get-RandomData 4KB -Seed 8)

        $session = Get-FleeceSession vm/nightly

        $session.GuestWaitCount | Should -Be 1
        $session.GuestWaitTotal | Should -BeGreaterThan ([TimeSpan]::Zero)
        $session.GuestWaitLongest | Should -Be $session.GuestWaitTotal
        $session | Format-List | Out-String | Should -Match 'GuestWaitP99 +: 00:00:'
    }

    It 'end with the session' {
        Stop-FleeceSession vm/nightly

        Get-FleeceMetric fleece.session.* | Should -BeNullOrEmpty
        (Get-FleeceMetric fleece.sessions).Value | Should -Be 0, 0
    }

    It 'fit a pattern' {
        (Get-FleeceMetric 'fleece.session.temp.*' | Select-Object -Unique Name).Name | Should -Be fleece.session.temp.usage
        (Get-FleeceMetric fleece.disks, fleece.sessions).Labels.state | Should -Be ok, failed, active, broken
    }

    It 'are rows with their labels' {
        Get-FleeceMetric fleece.session.temp.usage | Out-String -Width 300 | Should -Match 'fleece.session.temp.? *0 +bytes +disk=vm session=nightly'
        Get-FleeceMetric fleece.session.guest.wait | Out-String -Width 300 | Should -Match 'fleece.session.guest +0 +times +disk=vm session=nightly'
    }

    It 'are told apart on a terminal of <_> characters' -ForEach 80, 120 {
        $null = Publish-FleeceExport vm (Get-SocketUri)

        $text = Get-FleeceMetric fleece.nbd.server.io | Out-String -Width $_

        foreach ($part in 'direction=read', 'direction=write', 'view=disk', 'view=snapshot', 'address=', 'bytes') { $text | Should -Match $part }
        ($text -split '\n').ForEach({ $_.TrimEnd().Length }) | Measure-Object -Maximum | ForEach-Object Maximum | Should -BeLessOrEqual $_
    }

    It 'are lists whose numbers have their units' {
        Write-FleeceDisk vm 0 (Get-RandomData 4KB -Seed 8)

        $text = Get-FleeceMetric fleece.session.guest.wait | Format-List | Out-String -Width 300

        $text | Should -Match 'Value +: 1 times'
        $text | Should -Match 'P99 +: 0.\d+ s'
    }

    It 'have the bounds of their buckets in full' {
        $bound = [regex]::Escape('{0:0.000000000}' -f 1.024e-6)

        (Get-FleeceMetric fleece.session.guest.wait).Buckets | Out-String | Should -Match "$bound +0"
    }

    It 'survive JSON' {
        $metric = Get-FleeceMetric fleece.session.temp.usage | ConvertTo-Json -Depth 4 | ConvertFrom-Json

        $metric.Labels.session | Should -Be nightly
    }
}

Describe 'A request to Get-FleeceMetric' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Get-FleeceMetric fleece.nothing'; Id = 'ArgumentInvalid,Fleece.GetFleeceMetricCommand' }
        @{ Command = 'Get-FleeceMetric "a["'; Id = 'ArgumentInvalid,Fleece.GetFleeceMetricCommand' }
    ) { Assert-Refused $Command $Id }
}
