// SPDX-License-Identifier: MIT
using System.Collections.ObjectModel;
using System.Management.Automation;
using System.Management.Automation.Runspaces;
using Fleece.TestKit;

// Disks belong to the process, so tests that mount them take turns.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]

namespace Fleece.Tests;

/// <summary>A runspace with the module, imported by its real manifest, and a folder of its own ($folder).</summary>
internal sealed class ModuleRunspace : IDisposable
{
    public ModuleRunspace()
    {
        InitialSessionState state = InitialSessionState.CreateDefault2();
        state.ImportPSModule([Path.Combine(AppContext.BaseDirectory, "Fleece.psd1")]);
        state.Variables.Add(new SessionStateVariableEntry("folder", Folder.Path, string.Empty));
        Runspace = RunspaceFactory.CreateRunspace(state);
        Runspace.Open();
        Runspace.SessionStateProxy.Path.SetLocation(Folder.Path);
    }

    public TempFolder Folder { get; } = new();

    public Runspace Runspace { get; }

    /// <summary>Runs a script that must not fail; what it wrote, unwrapped.</summary>
    public object[] Run(string script)
    {
        using PowerShell shell = PowerShell.Create(Runspace);
        Collection<PSObject> output = shell.AddScript(script).Invoke();
        Assert.Empty(shell.Streams.Error.Select(error => error.ToString()));
        return [.. output.Select(item => item.BaseObject)];
    }

    /// <summary>Runs a script that writes one object.</summary>
    public T Run<T>(string script) => Assert.IsType<T>(Assert.Single(Run(script)), exactMatch: false);

    /// <summary>Runs a script whose last statement must report one error and go on behind it.</summary>
    public ErrorRecord Reports(string script)
    {
        using PowerShell shell = PowerShell.Create(Runspace);
        Collection<PSObject> output = shell.AddScript($"{script}\n'went on'").Invoke();
        Assert.Equal("went on", output.LastOrDefault()?.BaseObject);
        return Assert.Single(shell.Streams.Error);
    }

    /// <summary>Runs a script whose last statement must be ended by an error.</summary>
    public ErrorRecord Ends(string script)
    {
        using PowerShell shell = PowerShell.Create(Runspace);
        shell.AddScript($"$ended = $null; try {{ {script} }} catch {{ $ended = $_ }}; $ended");
        Collection<PSObject> output = shell.Invoke();
        return Assert.IsType<ErrorRecord>(output.LastOrDefault(item => item is not null)?.BaseObject);
    }

    public string File(string name) => Folder.File(name);

    public void Dispose()
    {
        using (PowerShell shell = PowerShell.Create(Runspace))
        {
            shell.AddScript("Get-FleeceDisk | Dismount-FleeceDisk -Force").Invoke();
        }

        Runspace.Dispose();
        Folder.Dispose();
    }
}
