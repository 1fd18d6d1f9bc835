# SPDX-License-Identifier: MIT
BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest

    # Runs a pipeline in a runspace of its own and stops it, as Ctrl+C does, once the pipeline says that it is in the middle.
    function Stop-InTheMiddle([string] $Pipeline) {
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
            while (-not $reached.Wait(100)) {
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

        $session.ConsumedBytes | Should -Be 0
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
        $session.ConsumedBytes | Should -BeGreaterThan 0
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
