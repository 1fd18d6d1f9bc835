// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Installing;
using Fleece.Hosting.Records;

namespace Fleece;

/// <summary>Install-FleeceHost: makes the host a service of the system.</summary>
[Cmdlet(VerbsLifecycle.Install, "FleeceHost", SupportsShouldProcess = true)]
[OutputType(typeof(HostInstallation), typeof(string))]
public sealed class InstallFleeceHostCommand : FleeceCommand
{
    private const string Manifest = "Fleece.psd1";

    /// <summary>Folders whose images the host may open and write.</summary>
    [Parameter(Position = 0)]
    [NoScriptBlock]
    [ValidateNotNullOrEmpty]
    [Alias("AllowedPath")]
    public string[] ImagePath { get; set; } = [];

    /// <summary>The PowerShell that runs the host: pwsh, or pwsh.dll; by default the one that runs this.</summary>
    [Parameter]
    [NoScriptBlock]
    [ValidateNotNullOrEmpty]
    public string? PowerShellPath { get; set; }

    /// <summary>The module that the host runs: Fleece.psd1, or its folder; by default this one.</summary>
    [Parameter]
    [NoScriptBlock]
    [ValidateNotNullOrEmpty]
    public string? ModulePath { get; set; }

    /// <summary>Replace a unit with another text, and restart its host.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <inheritdoc/>
    protected override void EndProcessing() => OrEnd(HostUnit.Name, () =>
    {
        string[] folders = [.. ImagePath.Select(ResolveLiteral).Select(folder => folder.TrimEnd('/')).Select(folder => folder.Length == 0 ? "/" : folder)];
        PowerShellProgram powerShell = FindPowerShell();
        string module = FindModule();
        if (OperatingSystem.IsWindows())
        {
            ShowStartupTask(StartupTask.Commands(powerShell, module, folders));
            return;
        }

        Array.ForEach(folders, ServicePlaces.CheckImageFolder);
        HostInstaller installer = new("/", SystemPrograms.Default);
        HostUnit unit = new()
        {
            PowerShell = powerShell,
            ModulePath = module,
            ImageFolders = folders,
            SystemdVersion = Wait(installer.FindSystemdVersionAsync(StopToken)),
        };
        unit.Check();
        string action = $"Make the user '{HostUnit.User}', write the unit, enable it and start the host";
        if (Decides(HostUnit.Path, action, out bool isWhatIf))
        {
            WriteObject(Wait(installer.InstallAsync(unit, Force, StopToken)));
        }
        else if (isWhatIf)
        {
            WriteObject(unit.ToString());
        }
    });

    private bool Decides(string target, string action, out bool isWhatIf)
    {
        bool goesOn = ShouldProcess(
            $"Performing the operation \"{action}\" on target \"{target}\".", $"{action}: {target}?", "Confirm", out ShouldProcessReason reason);
        isWhatIf = reason == ShouldProcessReason.WhatIf;
        return goesOn;
    }

    private void ShowStartupTask(string commands)
    {
        if (Decides("Task Scheduler", "Register the start-up task 'Fleece host'", out bool isWhatIf))
        {
            throw new BlockException(
                HostErrors.NotHere,
                "Install-FleeceHost does not register the start-up task by itself on Windows. Run the commands that -WhatIf shows in an " +
                "elevated PowerShell.");
        }

        if (isWhatIf)
        {
            WriteObject(commands);
        }
    }

    private PowerShellProgram FindPowerShell()
    {
        if (PowerShellPath is not null)
        {
            return PowerShellProgram.Find(ResolveLiteral(PowerShellPath), Environment.ProcessPath);
        }

        PowerShellProgram found = PowerShellProgram.Find((string)SessionState.PSVariable.GetValue("PSHOME"), Environment.ProcessPath);
        const string advice = "Install PowerShell for the machine, or name this one with -PowerShellPath if it stays where it is.";
        ServicePlaces.Check(found.ShownPath, "The PowerShell", advice);
        ServicePlaces.Check(found.Path, "The program", advice);
        return found;
    }

    private string FindModule()
    {
        string path = ModulePath is not null
            ? ResolveLiteral(ModulePath)
            : MyInvocation.MyCommand.Module?.ModuleBase ?? System.IO.Path.GetDirectoryName(typeof(FleeceCommand).Assembly.Location)!;
        string manifest = System.IO.Directory.Exists(path) ? System.IO.Path.Combine(path, Manifest) : path;
        if (System.IO.Path.GetFileName(manifest) != Manifest || !System.IO.File.Exists(manifest))
        {
            throw new BlockException(
                BlockErrors.NotFound, $"There is no '{Manifest}' at '{path}'. Name the module's manifest or its folder with -ModulePath.", path);
        }

        if (ModulePath is null)
        {
            ServicePlaces.Check(
                manifest,
                "The module",
                "Install the module for all users (Install-PSResource Fleece -Scope AllUsers), or name this one with -ModulePath if it stays " +
                "where it is.");
        }

        return manifest;
    }
}
