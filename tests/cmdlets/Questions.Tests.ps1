# SPDX-License-Identifier: MIT
BeforeDiscovery {
    # PowerShell as a tool of .NET may have its launcher elsewhere, or not marked as a program.
    $script:noJobs = try { (& (Join-Path $PSHOME pwsh) -NoProfile -NonInteractive -Command 1) -ne 1 } catch { $true }
    $script:noTerminal = -not (Get-Command script -CommandType Application -ErrorAction Ignore)
}

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    . "$PSScriptRoot/Answers.ps1"
    Import-ModuleUnderTest

    # Cluster 10 is counted in the refcount block, which is cluster 2, and nothing uses it.
    function New-LeakyImage([string] $Path) {
        $null = New-FleeceImage $Path 8MB
        $bytes = [IO.File]::ReadAllBytes("$PWD/$Path")
        [Array]::Resize([ref] $bytes, 11 * 64KB)
        $bytes[2 * 64KB + 21] = 1
        [IO.File]::WriteAllBytes("$PWD/$Path", $bytes)
    }
}

Describe 'A question' {
    BeforeEach {
        Enter-TestFolder
        New-LeakyImage leaky.qcow2
    }
    AfterEach { Exit-TestFolder }

    It 'is an error in a job of Start-Job' -Skip:$noJobs {
        $module, $folder = (Get-ModuleUnderTest), "$PWD"
        $job = Start-Job {
            Import-Module $using:module
            try { Test-FleeceImage "$using:folder/leaky.qcow2" -Repair Leaks -ErrorAction Stop } catch { $_.FullyQualifiedErrorId }
        }
        $null = Wait-Job $job -Timeout 120

        $job.State | Should -Be Completed
        Receive-Job $job | Should -BeLike 'ConfirmationNeeded,*'
        Remove-Job $job -Force
    }

    It 'is an error where the terminal would not show it, because the output goes to a file' -Skip:$noTerminal {
        Set-Content ./job.ps1 @'
param($Module)
Import-Module $Module
try { Test-FleeceImage ./leaky.qcow2 -Repair Leaks -ErrorAction Stop } catch { Set-Content ./told $_.FullyQualifiedErrorId }
'@
        $command = (@(Get-PowerShellCommand) | ForEach-Object { "'$_'" }) -join ' '

        $null = timeout 120 script -qec "$command -NoProfile -File ./job.ps1 '$(Get-ModuleUnderTest)' > ./log" /dev/null

        Get-Content ./told | Should -BeLike 'ConfirmationNeeded,*'
    }

    It 'has No for its default answer' {
        $done = Invoke-Answering '' 'Test-FleeceImage ./leaky.qcow2 -Repair Leaks'

        $done.Output.RepairedLeakCount | Should -Be 0
    }

    It 'is not asked where there is nothing to repair' {
        $null = New-FleeceImage ./clean.qcow2 1MB

        $done = Invoke-Answering 'No' 'Test-FleeceImage ./clean.qcow2 -Repair All'

        $done.Questions | Should -BeNullOrEmpty
        $done.Output.IsClean | Should -BeTrue
    }

    It 'is not asked for an image that can not be opened' {
        $null = Mount-FleeceDisk ./leaky.qcow2

        $done = Invoke-Answering 'Yes' 'Test-FleeceImage ./leaky.qcow2 -Repair All'

        $done.Questions | Should -BeNullOrEmpty
        $done.Errors.FullyQualifiedErrorId | Should -BeLike 'ImageInUse,*'
    }

    It 'about a backup names its repository' {
        New-MountedDisk a
        $null = Backup-FleeceDisk a ./rep
        New-LeakyImage rep/leaky.qcow2
        Move-Item ./rep/leaky.qcow2 ./rep/a-000001.qcow2 -Force

        (Invoke-Answering 'No' 'Test-FleeceImage ./rep/a-000001.qcow2 -Repair Leaks').Questions |
            Should -BeLike "*in the repository '$PWD/rep'*"
    }
}
