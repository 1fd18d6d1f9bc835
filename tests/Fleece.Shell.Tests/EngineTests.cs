// SPDX-License-Identifier: MIT
namespace Fleece.Shell.Tests;

/// <summary>Goal: what scripts take for granted in PowerShell is there. Method: small scripts that use it.</summary>
public sealed class EngineTests
{
    [Fact]
    public async Task The_module_is_loaded_by_its_manifest()
    {
        ShellResult result = await ShellProcess.RunScript("""
            #Requires -Modules Fleece
            $module = Get-Module
            "$($module.Name) $($module.Guid) $($module.ExportedFormatFiles.Count)"
            (Get-Command Export-Backup).Definition
            """);

        Assert.Equal("Fleece 6f0c3e2c-6f0b-4bb8-8a55-1d1f6a3f5b0e 1\nExport-FleeceBackup\n", result.Succeeded());
    }

    [Fact]
    public async Task Importing_the_module_by_name_works_in_the_script_and_in_its_runspaces()
    {
        ShellResult result = await ShellProcess.RunScript("""
            Import-Module Fleece -ErrorAction Stop
            $load = 'Import-Module Fleece -ErrorAction Stop; (Get-Module).Path'
            $inner = [powershell]::Create().AddScript($load).Invoke()
            "$((Get-Module).Count) $($inner[0] -eq (Get-Module).Path)"
            """);

        Assert.Equal("1 True\n", result.Succeeded());
    }

    [Fact]
    public async Task The_language_is_whole()
    {
        ShellResult result = await ShellProcess.RunScript("""
            using namespace System.IO
            class Disk {
                [string] $Name
                Disk([string] $name) { $this.Name = $name }
                [string] Upper() { return $this.Name.ToUpper() }
            }
            function Double([int] $Number) { 2 * $Number }
            filter Even { if ($_ % 2 -eq 0) { $_ } }
            [Disk]::new('vm').Upper()
            Double 21
            (1..6 | Even | ForEach-Object { $_ * 10 } | Where-Object { $_ -gt 20 }) -join ','
            [Path]::GetFileName($PSCommandPath)
            $PSScriptRoot -eq [Path]::GetDirectoryName($PSCommandPath)
            $PSVersionTable.PSVersion -ge [version]'7.6'
            """);

        Assert.Equal("VM\n42\n40,60\nscript.ps1\nTrue\nTrue\n", result.Succeeded());
    }

    [Fact]
    public async Task A_script_can_run_others_beside_itself()
    {
        ShellResult result = await ShellProcess.RunScript("""
            $shell = [powershell]::Create()
            $shell.AddScript('6 * 7').Invoke()
            $runspace = [runspacefactory]::CreateRunspace()
            $runspace.Open()
            $shell.Runspace = $runspace
            $running = $shell.BeginInvoke()
            $shell.EndInvoke($running)
            (1..3 | ForEach-Object -Parallel { $_ }).Count
            """);

        Assert.Equal("42\n42\n3\n", result.Succeeded());
    }

    [Fact]
    public async Task Relative_paths_mean_the_callers_folder()
    {
        using var shell = new ShellProcess();
        string script = shell.Save("scripts/where.ps1", """
            [IO.File]::Exists('data.txt')
            "$pwd" -eq [Environment]::CurrentDirectory
            """);
        shell.Save("data.txt", "");

        Assert.Equal("True\nTrue\n", (await shell.Run(script)).Succeeded());
    }

    [Fact]
    public async Task A_path_with_wildcard_characters_is_a_path()
    {
        using var shell = new ShellProcess();

        ShellResult result = await shell.Run(shell.Save("set [1]/a[b].ps1", "'ran'"));

        Assert.Equal("ran\n", result.Succeeded());
    }
}
