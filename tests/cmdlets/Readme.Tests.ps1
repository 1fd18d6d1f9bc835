# SPDX-License-Identifier: MIT
# Goal: the README can be pasted. Method: a PowerShell of its own runs its blocks, in order, where output/ holds the module as after a
# build; any error ends it.

BeforeAll {
    . $PSScriptRoot/Setup.ps1
    Import-ModuleUnderTest
    $script:readme = (Resolve-Path "$PSScriptRoot/../../README.md").Path
}

Describe 'The blocks of the README' {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'run as pasted, one after the other' {
        $blocks = [regex]::Matches((Get-Content $readme -Raw), '(?ms)^```powershell\n(.*?)^```$') | ForEach-Object { $_.Groups[1].Value }
        $blocks.Count | Should -BeGreaterThan 3
        $null = New-Item ./output/Fleece -ItemType Directory
        $null = New-Item ./output/Fleece/current -ItemType SymbolicLink -Target (Split-Path (Get-ModuleUnderTest))
        Set-Content ./pasted.ps1 ("`$ErrorActionPreference = 'Stop'`n" + ($blocks -join "`n"))

        $program, $first = @(Get-PowerShellCommand)
        $arguments = @($first) + '-NoProfile', '-NonInteractive', '-File', './pasted.ps1' | Where-Object { $_ }
        $said = & $program @arguments 2>&1 | Out-String

        $LASTEXITCODE | Should -Be 0 -Because $said
        $said | Should -Not -MatchExactly 'WARNING'
        './restored.vhdx' | Should -Exist
        Compare-FleeceImage ./vm-nightly.qcow2 ./restored.vhdx | ForEach-Object AreEqual | Should -BeTrue
    }
}
