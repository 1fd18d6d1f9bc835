# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest
}

Describe 'The file for Prometheus' {
    BeforeEach {
        Enter-TestFolder
        New-MountedDisk -Name 'a "strange" name' -SizeBytes 4MB -Data (Get-RandomData 1MB)
        $null = Start-FleeceSession 'a "strange" name' -Name nightly
        $null = Publish-FleeceExport 'a "strange" name' (Get-SocketUri)
        Write-FleeceDisk 'a "strange" name' 0 (Get-RandomData 4KB -Seed 8)
    }
    AfterEach { Exit-TestFolder }

    It 'is what promtool takes' {
        if (-not (Get-Command promtool -ErrorAction Ignore)) {
            Set-ItResult -Skipped -Because 'promtool is not installed'
            return
        }

        Export-FleeceMetric ./fleece.prom

        sh -c 'promtool check metrics < fleece.prom 2>&1' | Should -BeNullOrEmpty
        $LASTEXITCODE | Should -Be 0
    }

    It 'has each value with its labels' {
        Export-FleeceMetric ./fleece.prom

        $lines = Get-Content ./fleece.prom
        $lines | Should -Contain '# TYPE fleece_session_guest_wait_seconds histogram'
        $lines | Should -Contain 'fleece_session_guest_wait_seconds_count{disk="a \"strange\" name",session="nightly"} 1'
        $lines | Should -Contain 'fleece_session_copied_bytes_total{disk="a \"strange\" name",session="nightly"} 4096'
    }

    It 'is read by all, replaces the one before, and leaves nothing beside it' {
        Set-Content ./fleece.prom old

        Export-FleeceMetric ./fleece.prom

        Get-ChildItem ./*prom* | Should -HaveCount 1
        Get-Content ./fleece.prom | Should -Not -Contain old
        if (-not $IsWindows) { (Get-Item ./fleece.prom).UnixMode | Should -Be '-rw-r--r--' }
    }

    It 'is silent, and with -PassThru outputs what it wrote' {
        Export-FleeceMetric ./fleece.prom 3>&1 | Should -BeNullOrEmpty
        (Export-FleeceMetric ./fleece.prom -PassThru | Where-Object Name -EQ fleece.disks).Value | Should -Be 1, 0
    }
}

Describe 'A shell without disks' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'is told that its file says nothing of a host' {
        Skip-ThroughHost 'there the disks are the host''s'

        Export-FleeceMetric ./fleece.prom -WarningVariable warned 3>$null

        "$warned" | Should -BeLike "*fleece.prom' tells of this process*Connect-FleeceHost*"
        Get-Content ./fleece.prom | Should -Contain 'fleece_disks{state="ok"} 0'
    }
}

Describe 'A request to Export-FleeceMetric' {
    BeforeEach { Enter-RequestFolder }
    AfterEach { Exit-TestFolder }

    It 'is refused with an error id of its own: <Command>' -ForEach @(
        @{ Command = 'Export-FleeceMetric ./nowhere/fleece.prom'; Id = 'ImageNotFound,Fleece.ExportFleeceMetricCommand' }
        @{ Command = 'Export-FleeceMetric ./repo'; Id = 'ImageNotAFile,Fleece.ExportFleeceMetricCommand' }
        @{ Command = 'Export-FleeceMetric ./repo/'; Id = 'ImageNotAFile,Fleece.ExportFleeceMetricCommand' }
        @{ Command = "Export-FleeceMetric ./$('n' * 300)"; Id = 'ArgumentInvalid,Fleece.ExportFleeceMetricCommand' }
        @{ Command = 'Export-FleeceMetric nbd://localhost/x'; Id = 'ArgumentInvalid,Fleece.ExportFleeceMetricCommand' }
    ) { Assert-Refused $Command $Id }

    It 'that fails names the file that was meant' {
        (Get-OnlyError { Export-FleeceMetric ./nowhere/fleece.prom }).Exception.Message | Should -BeLike "Cannot write '*fleece.prom': *Check the path."
    }

    It 'writes nothing with -WhatIf' {
        Assert-ChangesNothing 'Export-FleeceMetric ./fleece.prom -WhatIf'
    }
}
