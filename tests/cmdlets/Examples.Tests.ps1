# SPDX-License-Identifier: MIT
# Goal: the examples prove what they say. Method: each runs in a PowerShell of its own, which throws where its proof fails.

BeforeAll {
    . $PSScriptRoot/Setup.ps1
    Import-ModuleUnderTest
}

Describe 'The example <_>' -ForEach 'first-backup', 'serve-a-disk' {
    It 'runs to its end and proves its backup' {
        $example = (Resolve-Path "$PSScriptRoot/../../docs/examples/$_.ps1").Path
        $program, $first = @(Get-PowerShellCommand)
        $arguments = @($first) + '-NoProfile', '-NonInteractive', '-Command', "Import-Module '$(Get-ModuleUnderTest)'; & '$example'"
        $said = & $program @($arguments | Where-Object { $_ }) 2>&1 | Out-String

        $LASTEXITCODE | Should -Be 0 -Because $said
        $said | Should -Match '(?m)^Proved '
    }
}
