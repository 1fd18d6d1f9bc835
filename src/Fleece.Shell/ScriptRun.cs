// SPDX-License-Identifier: MIT
using System.Management.Automation;
using System.Management.Automation.Runspaces;

namespace Fleece.Shell;

/// <summary>
/// One script in one runspace, from loading the module to removing it. Removing matters as much as loading: that is
/// when the module closes the disks and exports a script leaves open, and neither closing a runspace nor ending a
/// process does it.
/// </summary>
internal sealed class ScriptRun : IDisposable
{
    private readonly ShellHost _host = new();
    private readonly Runspace _runspace;
    private readonly Lock _gate = new();
    private PowerShell? _script;
    private int? _signalExitCode;

    public ScriptRun()
    {
        EngineInternals.DropAbsentParts();
        OfferModule();
        InitialSessionState state = InitialSessionState.CreateDefault2();

        // Whoever starts this program names the script to run: an execution policy has nothing to add. The first line
        // covers this runspace everywhere, the second the runspaces and child processes of a script on Windows.
        state.AuthorizationManager = new AuthorizationManager(ShellHost.ProgramName);
        if (OperatingSystem.IsWindows())
        {
            state.ExecutionPolicy = Microsoft.PowerShell.ExecutionPolicy.Bypass;
        }

        _runspace = RunspaceFactory.CreateRunspace(_host, state);
        _runspace.ThreadOptions = PSThreadOptions.ReuseThread;
    }

    /// <summary>Runs the script and everything around it; returns the exit code of the process.</summary>
    public int Execute(string scriptPath, IEnumerable<CommandParameter> arguments)
    {
        using var signals = new StopSignals(Stop);
        _runspace.Open();
        int exitCode = ExitCode.Failure;
        if (Attempt(shell => ImportModule(shell)))
        {
            bool ended = Attempt(shell => RunScript(shell, scriptPath, arguments));
            exitCode = _host.ExitCode ?? (ended ? ExitCode.Success : ExitCode.Failure);
            if (!Attempt(shell => RemoveModule(shell)) && exitCode == ExitCode.Success)
            {
                exitCode = ExitCode.Failure;
            }
        }

        _host.Screen.EraseProgress();
        return _signalExitCode ?? exitCode;
    }

    /// <inheritdoc/>
    public void Dispose() => _runspace.Dispose();

    private static string ModulePath => Path.Combine(AppContext.BaseDirectory, "Fleece.psd1");

    /// <summary>
    /// Makes <c>Import-Module Fleece</c> work here and in the runspaces of a script: the program's folder bears the
    /// module's name, so the folder above it is a place to look for modules.
    /// </summary>
    private static void OfferModule()
    {
        const string variable = "PSModulePath";
        string home = Path.GetDirectoryName(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory))!;
        string? others = Environment.GetEnvironmentVariable(variable);
        Environment.SetEnvironmentVariable(
            variable, string.IsNullOrEmpty(others) ? home : home + Path.PathSeparator + others);
    }

    private static void ImportModule(PowerShell shell) =>
        shell.AddCommand("Import-Module")
            .AddParameter("Name", WildcardPattern.Escape(ModulePath))
            .AddParameter("ErrorAction", ActionPreference.Stop)
            .Invoke();

    private static void RemoveModule(PowerShell shell) =>
        shell.AddCommand("Get-Module").AddParameter("Name", "Fleece")
            .AddCommand("Remove-Module").AddParameter("Force").AddParameter("ErrorAction", ActionPreference.Stop)
            .Invoke();

    private void RunScript(PowerShell shell, string scriptPath, IEnumerable<CommandParameter> arguments)
    {
        var script = new Command(scriptPath, isScript: false, useLocalScope: false);
        foreach (CommandParameter argument in arguments)
        {
            script.Parameters.Add(argument);
        }

        // Errors take their place among the output here and leave for stderr in Out-Default, which knows their view.
        script.MergeMyResults(PipelineResultTypes.Error, PipelineResultTypes.Output);
        shell.Commands.AddCommand(script).AddCommand("Out-Default");
        lock (_gate)
        {
            if (_signalExitCode is not null)
            {
                return;
            }

            _script = shell;
        }

        try
        {
            EngineInternals.LetExitReachHost(_runspace);
            shell.Invoke();
        }
        finally
        {
            lock (_gate)
            {
                _script = null;
            }
        }
    }

    /// <summary>Runs one step and shows the error that ends it; false when one did.</summary>
    private bool Attempt(Action<PowerShell> step)
    {
        using var shell = PowerShell.Create(_runspace);
        try
        {
            step(shell);
            return true;
        }
        catch (PipelineStoppedException)
        {
            return false;
        }
        catch (RuntimeException e)
        {
            Show(e.ErrorRecord);
            return false;
        }
    }

    /// <summary>Prints a terminating error with the view the engine has for errors, position included.</summary>
    private void Show(ErrorRecord error)
    {
        using IDisposable asMessages = _host.OutputAsMessages();
        using var shell = PowerShell.Create(_runspace);
        shell.AddCommand("Out-Default").AddParameter("InputObject", error).Invoke();
    }

    /// <summary>The first signal stops the script and lets it clean up; the second does not wait for that.</summary>
    private void Stop(int exitCode)
    {
        lock (_gate)
        {
            if (_signalExitCode is not null)
            {
                Environment.Exit(exitCode);
            }

            _signalExitCode = exitCode;
            _script?.BeginStop(null, null);
        }
    }
}
