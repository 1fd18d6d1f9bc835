# SPDX-License-Identifier: MIT
BeforeDiscovery {
    # Elsewhere a killed process looks like a crashed system, after which no session goes on.
    $script:missing = -not $IsLinux
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Requests.ps1"
    Import-ModuleUnderTest

    # The process that has the session, until it is killed.
    $script:serving = @'
param($Module, $Image)
$ErrorActionPreference = 'Stop'
Import-Module $Module
$null = Mount-FleeceDisk $Image -Name vm -WarningAction Ignore
$null = Start-FleeceSession vm -Name night -StatePath ./state
Write-FleeceDisk vm 0 ([byte[]]::new(1MB))
$null = New-Item ready
Start-Sleep -Seconds 600
'@

    function Start-Serving([string] $Image) { $script:process = Start-ScriptProcess $serving $Image }
}

Describe 'Resume-FleeceSession' -Skip:$missing {
    BeforeEach {
        Enter-TestFolder
        $script:instant = Get-RandomData 2MB
        [IO.File]::WriteAllBytes("$PWD/vm.raw", $instant)
    }

    AfterEach {
        if ($process -and -not $process.HasExited) { $process.Kill(); $process.WaitForExit() }
        # What is kept of a session is listed as long as its folder is there.
        Remove-Item ./state -Recurse -ErrorAction Ignore
        Exit-TestFolder
    }

    It 'goes on with a session whose process was killed' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()

        $session = Resume-FleeceSession -StatePath ./state

        $session.Id | Should -Be vm/night
        $session.State | Should -Be Active
        $session.ResumedAt | Should -Not -BeNullOrEmpty
        $null = Read-FleeceSnapshot vm/night | Export-FleeceBackup ./backup.raw -Format Raw
        [Linq.Enumerable]::SequenceEqual([IO.File]::ReadAllBytes("$PWD/backup.raw"), [byte[]] $instant) | Should -BeTrue
        Stop-FleeceSession vm/night
    }

    It 'says that another process runs the session' {
        Start-Serving ./vm.raw

        { Resume-FleeceSession vm/night -StatePath ./state -ErrorAction Stop } |
            Should -Throw '*runs in the process*' -ErrorId 'ImageInUse,Fleece.ResumeFleeceSessionCommand'
    }

    It 'names with -WhatIf the process that runs a session' {
        Start-Serving ./vm.raw
        # In a process of its own, since the output of -WhatIf goes to the host of the process.
        $program, $first = @(Get-PowerShellCommand)
        $command = "Import-Module '$(Get-ModuleUnderTest)'; Resume-FleeceSession -StatePath ./state -WhatIf"

        $what = & $program @(@($first) + '-NoProfile', '-NonInteractive', '-Command', $command | Where-Object { $_ }) | Out-String

        $what | Should -Match "'vm/night' \(runs in the process $($process.Id)\) in '.*state'"
    }

    It 'is told by a mount which command gives up the sessions of an image whose name is no name of a disk, and that runs' {
        Rename-Item ./vm.raw "v'm[1].raw"
        Start-Serving "./v'm[1].raw"
        $process.Kill()
        $process.WaitForExit()

        $refused = Get-OnlyError { Mount-FleeceDisk -LiteralPath "./v'm[1].raw" -Name other }
        ($refused.Exception.Message -match '(Mount-FleeceDisk .* -DiscardSessions), or delete') | Should -BeTrue
        $null = & ([scriptblock]::Create("$($Matches[1]) -WarningAction Ignore"))

        (Get-FleeceDisk).Name | Should -Be vm
    }

    It 'says what a session waits for, changes nothing, and goes on when it is back' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        $temp = Get-Item ./*.fleece-kept-temp
        Rename-Item $temp old.data

        { Resume-FleeceSession -StatePath ./state -ErrorAction Stop } |
            Should -Throw '*waits to be resumed*is not there*' -ErrorId 'SessionLost,Fleece.ResumeFleeceSessionCommand'
        { Mount-FleeceDisk ./vm.raw -ErrorAction Stop } | Should -Throw -ErrorId 'ImageHasSession,*'
        Rename-Item ./old.data $temp.Name

        (Resume-FleeceSession -StatePath ./state).State | Should -Be Active
    }

    It 'stops neither of a running and a lost session of one name with -Force, and the one that is piped' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        (Get-Item ./vm.raw).LastWriteTime = [datetime]::Now.AddMinutes(1)
        Resume-FleeceSession -StatePath ./state -ErrorAction Ignore -WarningAction Ignore
        $null = Start-FleeceSession vm -Name night -StatePath ./state

        { Stop-FleeceSession vm/night -Force -ErrorAction Stop } |
            Should -Throw '*running*' -ErrorId 'SessionAmbiguous,Fleece.StopFleeceSessionCommand'
        Get-FleeceSession | Should -HaveCount 2
        Get-FleeceSession | Where-Object State -EQ Lost | Stop-FleeceSession -Force

        (Get-FleeceSession).State | Should -Be Active
    }

    It 'lets a session that has come back run on when a record of it still says Lost' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        $temp = Get-Item ./*.fleece-kept-temp
        Rename-Item $temp old.data
        Resume-FleeceSession -StatePath ./state -ErrorAction Ignore
        $waiting = Get-FleeceSession
        $waiting.State | Should -Be Lost
        Rename-Item ./old.data $temp.Name
        $null = Resume-FleeceSession -StatePath ./state

        foreach ($record in $waiting, ($waiting | ConvertTo-Json | ConvertFrom-Json)) {
            { $record | Stop-FleeceSession -Force -ErrorAction Stop } |
                Should -Throw '*has come back*' -ErrorId 'RecordStale,Fleece.StopFleeceSessionCommand'
            { $record | Stop-FleeceSession -ErrorAction Stop } | Should -Throw -ErrorId 'RecordStale,*'
        }

        (Get-FleeceSession).State | Should -Be Active
        Stop-FleeceSession vm/night -Force
        Get-FleeceSession | Should -BeNullOrEmpty
    }

    It 'refuses a second state directory for a disk' {
        $null = Mount-FleeceDisk ./vm.raw
        $null = Start-FleeceSession vm -Name night -StatePath ./state

        { Start-FleeceSession vm -Name day -StatePath ./other -ErrorAction Stop } |
            Should -Throw "*-StatePath '*state'*" -ErrorId 'ArgumentInvalid,Fleece.StartFleeceSessionCommand'
        Remove-Item ./other -Recurse
    }

    It 'reports a session whose old data is gone, and -Force removes it' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        Remove-Item ./*.fleece-kept-temp

        { Resume-FleeceSession -StatePath ./state -ErrorAction Stop -WarningAction Ignore } |
            Should -Throw -ErrorId 'SessionLost,Fleece.ResumeFleeceSessionCommand'
        (Get-FleeceSession).State | Should -Be Lost
        { Stop-FleeceSession vm/night -ErrorAction Stop } | Should -Throw '*-Force*'
        Stop-FleeceSession vm/night -Force

        Get-FleeceSession | Should -BeNullOrEmpty
        Get-FleeceDisk | Should -BeNullOrEmpty
    }

    It 'says of a session that was not named, too, that another process runs it' {
        Start-Serving ./vm.raw

        { Resume-FleeceSession -StatePath ./state -ErrorAction Stop } |
            Should -Throw '*runs in the process*' -ErrorId 'ImageInUse,Fleece.ResumeFleeceSessionCommand'
    }

    It 'outputs a session that runs here once more' {
        $null = Mount-FleeceDisk ./vm.raw
        $null = Start-FleeceSession vm -Name night -StatePath ./state

        (Resume-FleeceSession -StatePath ./state).Id | Should -Be vm/night
    }

    It 'says why a session did not come back, in the same breath as it loses it' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        (Get-Item ./vm.raw).LastWriteTime = [datetime]::Now.AddMinutes(1)

        { Resume-FleeceSession -StatePath ./state -ErrorAction Stop -WarningAction Ignore } |
            Should -Throw '*was changed after its process ended*' -ErrorId 'SessionLost,Fleece.ResumeFleeceSessionCommand'
    }

    It 'leaves nothing to resume when the disk was mounted with -DiscardSessions' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()

        { Mount-FleeceDisk ./vm.raw -ErrorAction Stop } | Should -Throw '*Resume-FleeceSession*' -ErrorId 'ImageHasSession,*'
        # In a process of its own, since the output of -WhatIf goes to the host of the process.
        $program, $first = @(Get-PowerShellCommand)
        $command = "Import-Module '$(Get-ModuleUnderTest)'; Mount-FleeceDisk ./vm.raw -DiscardSessions -WhatIf; " +
            'Resume-FleeceSession -StatePath ./state -WhatIf'
        $what = & $program @(@($first) + '-NoProfile', '-NonInteractive', '-Command', $command | Where-Object { $_ }) | Out-String
        $what | Should -Match "give up the sessions 'vm/night'"
        $what | Should -Match "'vm/night' \(waits\) in '.*state'"
        $null = Mount-FleeceDisk ./vm.raw -DiscardSessions -WarningVariable given -WarningAction SilentlyContinue
        $given | Should -Match "The session 'vm/night' was given up"

        Resume-FleeceSession -StatePath ./state -WarningVariable nothing -WarningAction SilentlyContinue | Should -BeNullOrEmpty
        $nothing | Should -BeLike "There is nothing to resume in '*state'*"
        Get-ChildItem ./state/sessions, ./*.fleece-* | Should -BeNullOrEmpty
    }

    It 'says that there is nothing to resume where the logs are gone, and the mount says which way is left' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        Remove-Item ./state/sessions/*.log

        Resume-FleeceSession -StatePath ./state -WarningVariable nothing -WarningAction SilentlyContinue | Should -BeNullOrEmpty

        $nothing | Should -BeLike "There is nothing to resume in '*state'*-DiscardSessions*"
        { Mount-FleeceDisk ./vm.raw -ErrorAction Stop } | Should -Throw '*nothing to resume*-DiscardSessions.*' -ErrorId 'ImageHasSession,*'
    }

    It 'passes on what the mount has noted, such as guest writes that are lost' {
        $null = New-FleeceImage ./vm.qcow2 2MB
        Start-Serving ./vm.qcow2
        $process.Kill()
        $process.WaitForExit()
        $journal = (Get-Item ./vm.qcow2.fleece-journal).FullName
        $bytes = [IO.File]::ReadAllBytes($journal)
        $bytes[16] = $bytes[16] -bxor 255
        [IO.File]::WriteAllBytes($journal, $bytes)

        $null = Resume-FleeceSession -StatePath ./state -ErrorAction SilentlyContinue -ErrorVariable lost -WarningVariable told `
            -WarningAction SilentlyContinue

        $lost.FullyQualifiedErrorId | Should -Be 'SessionLost,Fleece.ResumeFleeceSessionCommand'
        "$told" | Should -BeLike 'vm: *Guest writes since the last flush may be lost.*'
        "$told" | Should -BeLike '*set aside as *vm.qcow2.fleece-journal.set-aside*'
        $told -join '|' | Should -Be ((Get-FleeceDisk vm).Notes.ForEach({ "vm: $_" }) -join '|')
    }

    It 'says of an image that was moved with the files beside it where to put it back' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        $null = New-Item ./moved -ItemType Directory
        $former = (Get-Item ./vm.raw).FullName
        Move-Item ./vm.raw* ./moved

        { Mount-FleeceDisk ./moved/vm.raw -ErrorAction Stop } |
            Should -Throw "*knows the image as '$former'*" -ErrorId 'ImageHasSession,*'
    }

    It 'does not advise another -Name where the name of the disk is taken' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        $null = New-FleeceImage ./other.raw 2MB | Mount-FleeceDisk -Name vm

        { Resume-FleeceSession -StatePath ./state -ErrorAction Stop } |
            Should -Throw '*Dismount that one first (Dismount-FleeceDisk vm)*' -ErrorId 'DiskNameInUse,*'
    }

    It 'says of a temp image that was cut that it was, and gives no advice for a new one' {
        Start-Serving ./vm.raw
        $process.Kill()
        $process.WaitForExit()
        $temp = [IO.File]::OpenWrite((Get-Item ./*.fleece-kept-temp).FullName)
        $temp.SetLength(4096)
        $temp.Dispose()

        { Resume-FleeceSession -StatePath ./state -ErrorAction Stop -WarningAction Ignore } | Should -Throw '*was cut or changed*4096 bytes*'
    }

    It 'refuses a name that the state directory does not have' {
        $null = Mount-FleeceDisk ./vm.raw
        $null = Start-FleeceSession vm -Name night -StatePath ./state

        { Resume-FleeceSession none -StatePath ./state -ErrorAction Stop } |
            Should -Throw "*'none' is kept in*" -ErrorId 'SessionNotFound,Fleece.ResumeFleeceSessionCommand'
    }

    It 'makes no state directory' {
        { Resume-FleeceSession -StatePath ./nowhere -ErrorAction Stop } |
            Should -Throw '*Check the path*' -ErrorId 'ImageNotFound,Fleece.ResumeFleeceSessionCommand'
        './nowhere' | Should -Not -Exist
    }

    It 'wants to know where sessions are kept' {
        { Resume-FleeceSession -ErrorAction Stop } |
            Should -Throw '*-StatePath*' -ErrorId 'ArgumentInvalid,Fleece.ResumeFleeceSessionCommand'
    }

    It 'forgets a state directory that was removed' {
        $null = Mount-FleeceDisk ./vm.raw
        $null = Start-FleeceSession vm -Name night -StatePath ./state
        Stop-FleeceSession night
        Remove-Item ./state -Recurse

        Get-FleeceSession | Should -BeNullOrEmpty
    }
}
