# SPDX-License-Identifier: MIT
# Matter: the module as a whole: what it exports, what its import and its removal do.

BeforeAll {
    . "$PSScriptRoot/Setup.ps1"
    Import-ModuleUnderTest
}

Describe 'The module' {
    BeforeEach { Enter-TestFolder }
    AfterEach {
        Import-ModuleUnderTest
        Exit-TestFolder
    }

    It 'exports its cmdlets and the alias, and no function or variable' {
        $module = Get-Module Fleece

        $named = (Import-PowerShellDataFile (Join-Path $module.ModuleBase Fleece.psd1)).CmdletsToExport
        $module.ExportedCmdlets.Keys | Sort-Object | Should -Be ($named | Sort-Object)
        $module.ExportedAliases.Keys | Should -Be 'Export-Backup'
        $module.ExportedFunctions.Count | Should -Be 0
        $module.ExportedVariables.Count | Should -Be 0
    }

    It 'uses approved verbs only' {
        Get-Command -Module Fleece -CommandType Cmdlet | Where-Object Verb -NotIn (Get-Verb).Verb | Should -BeNullOrEmpty
    }

    It 'brings no assembly that PowerShell has itself' {
        Get-ChildItem (Get-Module Fleece).ModuleBase -Filter System.Management.Automation* | Should -BeNullOrEmpty
    }

    It 'closes its disks when it is removed, and deletes temp' {
        New-MountedDisk
        $null = Start-FleeceSession vm
        { [IO.File]::Open("$PWD/vm.raw", 'Open', 'ReadWrite', 'None') } | Should -Throw

        Remove-Module Fleece

        [IO.File]::Open("$PWD/vm.raw", 'Open', 'ReadWrite', 'None').Dispose()
        (Get-ChildItem).Name | Should -Be 'vm.raw'
    }

    It 'keeps what guests wrote when it is removed without a dismount' {
        $data = Get-RandomData 64KB
        New-MountedDisk -Extension qcow2 -Data $data

        Remove-Module Fleece
        Import-ModuleUnderTest

        $null = Mount-FleeceDisk ./vm.qcow2 -ReadOnly
        Test-SameData (Read-FleeceDisk vm 0 64KB) $data | Should -BeTrue
    }

    It 'starts with no disks after Import-Module -Force, and works' {
        New-MountedDisk

        Import-Module (Get-ModuleUnderTest) -Global -Force

        Get-FleeceDisk | Should -BeNullOrEmpty
        (Mount-FleeceDisk ./vm.raw).Name | Should -Be 'vm'
    }

    It 'shares its disks between runspaces, and keeps them while one of those still uses it' {
        New-MountedDisk
        $other = [powershell]::Create()
        try {
            $script = 'param($Module) Import-Module $Module; (Get-FleeceDisk).Name; Remove-Module Fleece'
            $names = $other.AddScript($script).AddArgument((Get-ModuleUnderTest)).Invoke()
        } finally {
            $other.Dispose()
        }

        $names | Should -Be 'vm'
        (Get-FleeceDisk).Name | Should -Be 'vm'
    }
}
