# SPDX-License-Identifier: MIT
# Matter: the help pages of all cmdlets, and the examples in them.

BeforeDiscovery {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
    # Help is built only where PlatyPS is installed; build.ps1 says so when it is not.
    $script:hasHelp = Test-Path (Join-Path (Get-Module Fleece).ModuleBase 'en-US/Fleece.dll-Help.xml')
    $script:cmdlets = (Get-Command -Module Fleece -CommandType Cmdlet).Name | ForEach-Object { @{ Name = $_ } }
    $script:examples = Get-ChildItem (Join-Path $PSScriptRoot '../../docs/en-US') -Filter *-*.md | ForEach-Object {
        $page = $_.BaseName
        $number = 0
        foreach ($match in [regex]::Matches((Get-Content $_ -Raw), '(?s)```powershell\r?\n(.*?)```')) {
            @{ Page = $page; Number = ++$number; Code = $match.Groups[1].Value }
        }
    }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/QemuGuests.ps1"
    Import-ModuleUnderTest
}

Describe 'The help of <Name>' -ForEach $cmdlets -Skip:(-not $hasHelp) {
    It 'has a synopsis, a description, examples and a text for each parameter' {
        $help = Get-Help $Name -Full

        # Without help PowerShell shows the syntax in place of the synopsis.
        $help.Synopsis | Should -Match '^[A-Z].*\.$'
        ($help.Description | Out-String).Trim() | Should -Not -BeNullOrEmpty
        @($help.Examples.Example).Count | Should -BeGreaterThan 0
        foreach ($parameter in $help.Parameters.Parameter) {
            ($parameter.Description | Out-String).Trim() | Should -Not -BeNullOrEmpty -Because $parameter.Name
        }
    }

    It 'names every parameter' {
        $common = [System.Management.Automation.PSCmdlet]::CommonParameters + [System.Management.Automation.PSCmdlet]::OptionalCommonParameters
        $expected = (Get-Command $Name).Parameters.Keys | Where-Object { $_ -notin $common } | Sort-Object

        (Get-Help $Name -Full).Parameters.Parameter.Name | Where-Object { $_ -notin $common } | Sort-Object | Should -Be $expected
    }
}

Describe 'The help of the module' -Skip:(-not $hasHelp) {
    It 'explains the words in about_Fleece' {
        $text = Get-Help about_Fleece | Out-String

        foreach ($word in 'active disk', 'session', 'snapshot', 'temp', 'granule', 'consume') {
            $text | Should -BeLike "*$word*"
        }
    }

    It 'is found through the alias too' {
        (Get-Help Export-Backup).Name | Should -Be 'Export-FleeceBackup'
    }
}

Describe 'The examples' {
    BeforeEach {
        Enter-TestFolder
        $script:testHost = $script:guest = $null
        $script:hostBefore = $env:FLEECE_HOST
        $script:modulesBefore = $env:PSModulePath

        # Threads of jobs find the module as installed modules are found: MODULES/Fleece/VERSION/Fleece.psd1.
        $modules = Split-Path (Split-Path (Split-Path $env:FLEECE_MODULE))
        $env:PSModulePath = "$modules$([IO.Path]::PathSeparator)$env:PSModulePath"
    }
    AfterEach {
        $env:FLEECE_HOST = $hostBefore
        $env:PSModulePath = $modulesBefore
        $null = Disconnect-FleeceHost
        if ($testHost) { $testHost.Kill() }
        Stop-TestGuest $guest
        Exit-TestFolder
    }

    It 'run as they stand: <Page>, example <Number>' -ForEach $examples {
        if ($Code.Trim() -eq 'Connect-FleeceHost') { Set-ItResult -Skipped -Because 'it is about the host that is installed' }
        if ($Code -match 'qmp\.sock') {
            if (-not (Test-HasQemu)) { Skip-WithoutQemu; return }
            $script:guest = Start-TestGuest "$PWD"
        }
        if ($Page -match '^(Connect|Disconnect)-' -and $IsLinux) { $script:testHost = Start-TestHost "$PWD" }
        { & ([scriptblock]::Create("`$ErrorActionPreference = 'Stop'`n$Code")) | Out-String } | Should -Not -Throw
    }
}
