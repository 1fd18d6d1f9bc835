# SPDX-License-Identifier: MIT
# Matter: Ctrl+C in the middle of a pipeline.

BeforeDiscovery {
    $script:noNbdkit = -not (Get-Command nbdkit -CommandType Application -ErrorAction Ignore)
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # Runs a pipeline in a runspace of its own and stops it, as Ctrl+C does, once the pipeline says that it is in the middle, or it can be
    # seen from outside.
    function Stop-InTheMiddle([string] $Pipeline, [scriptblock] $When = { $reached.IsSet }) {
        $reached = [Threading.ManualResetEventSlim]::new()
        $stopped = [Threading.ManualResetEventSlim]::new()
        $runspace = [runspacefactory]::CreateRunspace()
        $runspace.Open()
        $shell = [powershell]::Create($runspace)
        try {
            $script = 'param($Module, $Folder, $reached, $stopped) Import-Module $Module; Set-Location $Folder; ' + $Pipeline
            $null = $shell.AddScript($script).AddArgument((Get-ModuleUnderTest)).AddArgument("$PWD")
            $null = $shell.AddArgument($reached).AddArgument($stopped)
            $running = $shell.BeginInvoke()
            while (-not (& $When)) {
                $null = $reached.Wait(50)
                if ($running.IsCompleted) { throw "The pipeline ended before it could be stopped: $($shell.Streams.Error)" }
            }
            $stop = $shell.BeginStop($null, $null)
            $stopped.Set()
            $shell.EndStop($stop)
            $shell.InvocationStateInfo.State
        } finally {
            $shell.Dispose()
            $runspace.Dispose()
        }
    }
}

Describe 'Ctrl+C' {
    BeforeEach {
        Enter-TestFolder
        $script:old = Get-RandomData 4MB
        New-MountedDisk -SizeBytes 4MB -Data $old
        $script:session = Start-FleeceSession vm
        Write-FleeceDisk vm 0 ([byte[]]::new(4MB))
    }
    AfterEach { Exit-TestFolder }

    It 'in a read consumes nothing, and the snapshot can be read again' {
        Stop-InTheMiddle 'Read-FleeceSnapshot vm -DiscardConsumed | ForEach-Object { $reached.Set(); $stopped.Wait() }' |
            Should -Be 'Stopped'

        (Get-FleeceSession $session).ConsumedBytes | Should -Be 0
        $read = [byte[]]::new(4MB)
        Read-FleeceSnapshot vm | ForEach-Object { $_.Data.CopyTo($read, $_.OffsetBytes) }
        Test-SameData $read $old | Should -BeTrue
    }

    It 'in a backup that consumed nothing leaves no file' {
        Stop-InTheMiddle 'Read-FleeceSnapshot vm | ForEach-Object { $_; $reached.Set(); $stopped.Wait() } | Export-Backup ./b.raw' |
            Should -Be 'Stopped'

        Get-ChildItem b.raw* | Should -BeNullOrEmpty
    }

    It 'in a consuming backup keeps every byte, in the partial file or in the session' {
        $pipeline = 'Read-FleeceSnapshot vm -DiscardConsumed -ChunkSizeBytes 64KB |
            ForEach-Object { $_; if ($_.OffsetBytes -ge 2MB) { $reached.Set(); $stopped.Wait() } } | Export-Backup ./b.raw'
        Stop-InTheMiddle $pipeline | Should -Be 'Stopped'

        Test-Path b.raw | Should -BeFalse
        (Get-FleeceSession $session).ConsumedBytes | Should -BeGreaterThan 0
        $saved = [IO.File]::ReadAllBytes("$PWD/b.raw.partial")
        Read-FleeceSnapshot vm | ForEach-Object { $_.Data.CopyTo($saved, $_.OffsetBytes) }
        Test-SameData $saved $old | Should -BeTrue
    }

    It 'leaves files that can be opened by others, and no temp' {
        $null = Stop-InTheMiddle 'Read-FleeceSnapshot vm | ForEach-Object { $_; $reached.Set(); $stopped.Wait() } | Export-Backup ./b.raw'

        Stop-FleeceSession vm
        Dismount-FleeceDisk vm

        [IO.File]::Open("$PWD/vm.raw", 'Open', 'ReadWrite', 'None').Dispose()
        (Get-ChildItem).Name | Should -Be 'vm.raw'
    }
}

# An answer takes a minute: a thread that waited for it would hold the test up, and one that did not see the stop would send another request.
Describe 'Ctrl+C while a server is slow' -Skip:$noNbdkit {
    BeforeEach {
        Enter-TestFolder
        $script:servers = @()

        function Start-SlowServer([string] $Name, [string] $Delay) {
            $arguments = '-f', '-U', "$PWD/$Name.sock", '--filter=log', '--filter=delay', 'memory', '16M', $Delay, "logfile=$PWD/$Name.log"
            $script:servers += Start-Process nbdkit $arguments -PassThru
            while (-not (Test-Path "$Name.sock")) { Start-Sleep -Milliseconds 20 }
            "nbd+unix:///?socket=$PWD/$Name.sock"
        }

        function Measure-Request([string] $Name, [string] $Kind) { @(Get-Content "$Name.log" | Select-String " $Kind id=").Count }
    }
    AfterEach {
        Exit-TestFolder
        foreach ($server in $servers) { $server.Kill() }
    }

    It 'Backup-FleeceDisk begins no read any more' {
        # -Format Raw, so that no mount reads the head of the export.
        $null = Mount-FleeceDisk (Start-SlowServer far rdelay=60) -Name far -Format Raw
        Write-FleeceDisk far 0 (Get-RandomData 16MB)
        Dismount-FleeceDisk far
        # Read-only, so that the dismount needs no server any more: nbdkit fails an assertion of its own now and then when a client
        # leaves while it delays answers.
        $null = Mount-FleeceDisk "nbd+unix:///?socket=$PWD/far.sock" -Name far -Format Raw -ReadOnly

        # As many as are read at a time.
        $script:reads = (Test-ThroughHost) ? 4 : 2

        Stop-InTheMiddle 'Backup-FleeceDisk far ./repo -TempPath .' { (Measure-Request far Read) -eq $reads } | Should -Be 'Stopped'

        Measure-Request far Read | Should -Be $reads
        './repo' | Should -Not -Exist
        Get-FleeceSession | Should -BeNullOrEmpty
    }

    It 'Export-FleeceBackup begins no write any more' {
        New-MountedDisk -SizeBytes 16MB -Data (Get-RandomData 16MB)
        $null = Start-FleeceSession vm
        $target = Start-SlowServer target wdelay=60

        Stop-InTheMiddle "Read-FleeceSnapshot vm -ChunkSizeBytes 64KB | Export-Backup -DestinationUri '$target'" {
            (Measure-Request target Write) -eq 8
        } | Should -Be 'Stopped'

        Measure-Request target Write | Should -Be 8
    }
}
