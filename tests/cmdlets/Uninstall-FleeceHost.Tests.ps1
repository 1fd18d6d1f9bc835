# SPDX-License-Identifier: MIT
BeforeDiscovery {
    $script:isInstalled = Test-Path /etc/systemd/system/fleece.service
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'Uninstall-FleeceHost' -Skip:(-not $IsLinux -or $isInstalled) {
    It 'says that no host is installed: <_>' -ForEach 'Uninstall-FleeceHost -Force', 'Uninstall-FleeceHost -WhatIf', 'Uninstall-FleeceHost -RemoveState' {
        { & ([scriptblock]::Create($_)) } | Should -Throw '*No host is installed here*' -ErrorId 'NotFound,*'
    }
}
