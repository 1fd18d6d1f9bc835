# SPDX-License-Identifier: MIT
BeforeDiscovery {
    . "$PSScriptRoot/Setup.ps1"
    $script:isSystemd = Test-Path /run/systemd/system
    $script:hasAnalyze = [bool] (Get-Command systemd-analyze -ErrorAction Ignore)
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # This PowerShell and this module lie where a test runs, and so they are named.
    $script:named = @{ PowerShellPath = $PSHOME; ModulePath = (Get-ModuleUnderTest) }
}

Describe 'Install-FleeceHost -WhatIf' -Skip:(-not $IsLinux) {
    BeforeEach { Enter-TestFolder }
    AfterEach { Exit-TestFolder }

    It 'shows the whole unit and writes nothing' {
        $unit = Install-FleeceHost -ImagePath /srv @named -WhatIf

        $unit | Should -BeOfType string
        $unit | Should -Match '(?m)^Type=notify$'
        $unit | Should -Match '(?m)^ReadWritePaths="-/srv"$'
        $unit | Should -Match '(?m)^WantedBy=multi-user.target$'
        if (-not $isSystemd) { '/etc/systemd/system/fleece.service' | Should -Not -Exist }
    }

    It 'starts the process of PowerShell itself, and no launcher of it' {
        $first = [regex]::Match((Install-FleeceHost @named -WhatIf), '(?m)^ExecStart="([^"]+)"').Groups[1].Value

        (Get-Item $first).Name | Should -BeIn 'dotnet', 'pwsh'
        (Get-Content $first -AsByteStream -TotalCount 4) | Should -Be 0x7f, 0x45, 0x4c, 0x46 -Because 'a script starts another process'
    }

    It 'shows a unit that systemd finds nothing wrong with' -Skip:(-not $hasAnalyze) {
        Install-FleeceHost -ImagePath /srv @named -WhatIf | Set-Content ./fleece.service

        systemd-analyze verify --man=no ./fleece.service 2>&1 | Should -BeNullOrEmpty
        $LASTEXITCODE | Should -Be 0
    }

    It 'has a command that PowerShell reads as it is meant: <_>' -ForEach "it's", 'a b', 'x$HOME', 'p%h', '[1]', 'a"b', ([string][char]0x2019) {
        $folder = (New-Item -ItemType Directory (Join-Path $PWD $_)).FullName
        Set-Content -LiteralPath "$folder/Fleece.psd1" "@{ ModuleVersion = '1.0'; RootModule = 'M.psm1'; GUID = '$(New-Guid)' }"
        Set-Content -LiteralPath "$folder/M.psm1" 'function Start-FleeceHost { $args -join "|" }; Export-ModuleMember Start-FleeceHost'
        $images = (New-Item -ItemType Directory "/srv/fleece-test-$(New-Guid) $_").FullName
        try {
            $unit = Install-FleeceHost -ImagePath $images -PowerShellPath $PSHOME -ModulePath $folder -WhatIf
        } finally {
            Remove-Item -LiteralPath $images
        }

        # systemd.service(5), "Command lines": what systemd makes of the quoted words.
        $words = [regex]::Matches([regex]::Match($unit, '(?m)^ExecStart=(.*)$').Groups[1].Value, '"((?:[^"\\]|\\.)*)"').ForEach{
            $_.Groups[1].Value -replace '\\(.)', '$1' -replace '\$\$', '$' -replace '%%', '%' }
        $said = & $words[0] $words[1..($words.Count - 1)]

        $said | Should -Be "-StatePath|/var/lib/fleece|-SocketPath|/run/fleece/host.sock|-SocketGroup|fleece|-AllowedPath|$images"
    }
}

Describe 'Install-FleeceHost' -Skip:(-not $IsLinux) {
    It 'refuses a module and a PowerShell that lie where they may go any day' {
        $module = (New-Item -ItemType Directory "$TestDrive/Fleece").FullName
        Copy-Item "$(Split-Path (Get-ModuleUnderTest))/*" $module -Recurse
        $program, $first = @(Get-PowerShellCommand)
        $command = "Import-Module '$module/Fleece.psd1'; try { Install-FleeceHost -PowerShellPath `$PSHOME -WhatIf } " +
            'catch { $_.FullyQualifiedErrorId, $_.Exception.Message }'

        $said = & $program @(@($first) + '-NoProfile', '-NonInteractive', '-Command', $command | Where-Object { $_ })

        $said[0] | Should -Be 'HostPathRefused,Fleece.InstallFleeceHostCommand'
        $said[1] | Should -BeLike "The module '$module/Fleece.psd1' lies in a folder for temporary files.*-ModulePath*"
    }

    It 'refuses <Path> as a folder of images with <Id>' -ForEach @(
        @{ Path = '/'; Id = 'InvalidArgument' }
        @{ Path = '/tmp'; Id = 'InvalidArgument' }
        @{ Path = '/no/such/folder'; Id = 'NotFound' }
    ) {
        { Install-FleeceHost -ImagePath $Path @named -WhatIf } | Should -Throw -ErrorId "$Id,*"
    }

    It 'refuses a <Parameter> that is not there' -ForEach @{ Parameter = 'ModulePath' }, @{ Parameter = 'PowerShellPath' } {
        $given = $named.Clone()
        $given.$Parameter = '/no/such/file'

        { Install-FleeceHost @given -WhatIf } | Should -Throw -ErrorId 'NotFound,*'
    }

    It 'says what to run instead where systemd is not process 1' -Skip:$isSystemd {
        { Install-FleeceHost @named } | Should -Throw '*Start-FleeceHost -StatePath*' -ErrorId 'HostNotHere,*'

        '/etc/systemd/system/fleece.service' | Should -Not -Exist
    }
}
