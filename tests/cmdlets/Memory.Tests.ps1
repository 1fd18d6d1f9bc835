# SPDX-License-Identifier: MIT
# Matter: the memory of a process that serves disks.

BeforeDiscovery {
    . "$PSScriptRoot/../peers/memory/clients.ps1"
    $script:sorts = $ClientSorts.Keys | ForEach-Object { @{ Sort = $_; Count = $_ -match 'is idle' ? 150 : 300 } }
    if (-not $IsLinux) { Write-Warning 'Resident memory is read from /proc: what needs it is skipped.' }
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/../peers/memory/clients.ps1"

    # docs/nbd.md, "Limits": what a listener takes for all its connections, and for each; a connection's thread comes on top.
    $script:sharedBytes = 256MB
    $script:connectionBytes = 128KB
    $script:threadBytes = 128KB

    # Beyond what the base was measured with: code that was compiled since, and what the collector has not given back.
    $script:slackBytes = 48MB
}

Describe 'The memory of a served disk' -Skip:(-not $IsLinux) {
    BeforeAll {
        $script:folder = (New-Item (Join-Path $TestDrive ([guid]::NewGuid())) -ItemType Directory).FullName
        $file = [IO.File]::Create((Join-Path $folder vm.raw))
        $file.SetLength(64MB)
        $file.Write((Get-RandomData 32MB))
        $file.Dispose()
        $script:server = Start-Server (Get-ModuleUnderTest) $folder

        function Connect-Crowd([string] $Sort, [int] $Count) {
            for ($i = 0; $i -lt $Count; $i++) {
                $socket = Connect-Client "$folder/vm.sock"
                $null = & $ClientSorts[$Sort] $socket
                $socket
            }
        }

        # Every way has been gone once, so what comes later is not the code that is compiled for it.
        foreach ($sort in $ClientSorts.Keys) { Connect-Crowd $sort 2 | ForEach-Object Dispose }
        $script:base = Measure-Server $server
    }
    AfterAll { Stop-Server $server }

    It 'stays within the bound with <Count> clients of which each <Sort>, and comes back when they leave' -ForEach $sorts {
        $clients = Connect-Crowd $Sort $Count
        $most = Measure-Server $server

        # Another one is served all the while.
        $honest = Connect-Client "$folder/vm.sock"
        & $ClientSorts['writes much and is idle'] $honest
        & $ClientSorts['reads much and is idle'] $honest
        @($clients; $honest) | ForEach-Object Dispose

        $allowed = $sharedBytes + $clients.Count * $connectionBytes + $slackBytes
        $most.LiveBytes - $base.LiveBytes | Should -BeLessThan $allowed
        $most.ResidentBytes - $base.ResidentBytes | Should -BeLessThan ($allowed + $clients.Count * $threadBytes)

        # The threads of clients that left wait ten seconds for others.
        $patience = [Diagnostics.Stopwatch]::StartNew()
        do {
            Start-Sleep -Milliseconds 500
            $last = Measure-Server $server
        } while ($last.ResidentBytes - $base.ResidentBytes -ge $slackBytes -and $patience.Elapsed.TotalMinutes -lt 2)
        $last.LiveBytes - $base.LiveBytes | Should -BeLessThan $slackBytes
        $last.ResidentBytes - $base.ResidentBytes | Should -BeLessThan $slackBytes
    }
}
