# SPDX-License-Identifier: MIT
# Matter: rules that the parameters of all cmdlets keep.

BeforeDiscovery {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
    $script:parameters = foreach ($cmdlet in Get-Command -Module Fleece -CommandType Cmdlet) {
        foreach ($parameter in $cmdlet.Parameters.Values) {
            $isPiped = $parameter.Attributes | Where-Object { $_.ValueFromPipeline -or $_.ValueFromPipelineByPropertyName }
            @{ Cmdlet = $cmdlet.Name; Name = $parameter.Name; Type = $parameter.ParameterType; IsPiped = [bool] $isPiped
                Attributes = @($parameter.Attributes) }
        }
    }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'The parameter <Name> of <Cmdlet>' {
    # PowerShell runs a script block for each piped object where a parameter takes pipeline input; elsewhere its text would name a file.
    It 'can''t take a script block for text' -ForEach ($parameters | Where-Object {
            $_.Name -match 'Path$' -and $_.Type -in [string], [string[]] }) {
        $IsPiped -or $Attributes.TypeId.Name -contains 'NoScriptBlockAttribute' | Should -BeTrue
    }

    It 'has its bounds where PowerShell shows them' -ForEach ($parameters | Where-Object { $_.Name -match 'Bytes$|Bits$|^Keep$|^FormatVersion$' }) {
        $Attributes | Where-Object { $_ -is [System.Management.Automation.ValidateArgumentsAttribute] } | Should -Not -BeNullOrEmpty
    }

    It 'offers the formats that can be written' -ForEach ($parameters | Where-Object {
            $_.Name -eq 'Format' -and $_.Cmdlet -match '^(New|Convert|Restore|Export|Backup)-' }) {
        ($Attributes | Where-Object { $_ -is [ValidateSet] }).ValidValues | Should -Be 'Raw', 'Qcow2', 'Vhd', 'Vhdx'
    }

    It 'is typed' -ForEach ($parameters | Where-Object Name -In TlsCertificate, TlsAuthority, Range) {
        $Type | Should -Not -BeIn ([object], [object[]])
    }
}

Describe 'Sizes' {
    It 'are offered as PowerShell writes them: <Line>' -ForEach @(
        @{ Line = 'Read-FleeceSnapshot -ChunkSizeBytes 1'; Offered = '128KB', '1MB', '16MB' }
        @{ Line = 'New-FleeceBitmap -GranularityBytes 2'; Offered = '2KB', '256KB', '2MB', '256MB', '2GB' }
        @{ Line = 'Start-FleeceSession -GranuleSizeBytes 5'; Offered = '512', '512KB' }
        @{ Line = 'New-FleeceImage x -LogicalSectorSizeBytes '; Offered = '4096', '512' }
    ) {
        (TabExpansion2 $Line $Line.Length).CompletionMatches.CompletionText | Sort-Object | Should -Be ($Offered | Sort-Object)
    }
}

Describe 'WhatIf' {
    It 'is offered by every cmdlet that changes what others rely on' {
        (Get-Command -Module Fleece -CommandType Cmdlet | Where-Object { $_.Parameters.ContainsKey('WhatIf') }).Name | Sort-Object |
            Should -Be @(
                'Backup-FleeceDisk', 'Clear-FleeceBitmap', 'Clear-FleeceSnapshot', 'Convert-FleeceImage', 'Disable-FleeceBitmap'
                'Dismount-FleeceDisk', 'Enable-FleeceBitmap', 'Export-FleeceBackup', 'Export-FleeceMetric', 'Install-FleeceHost', 'Merge-FleeceBitmap'
                'Mount-FleeceDisk', 'New-FleeceBitmap', 'New-FleeceImage', 'Publish-FleeceExport', 'Remove-FleeceBitmap'
                'Restore-FleeceBackup', 'Resume-FleeceSession', 'Start-FleeceHost', 'Start-FleeceSession', 'Stop-FleeceSession'
                'Test-FleeceImage', 'Uninstall-FleeceHost', 'Unpublish-FleeceExport', 'Write-FleeceDisk'
            )
    }
}
