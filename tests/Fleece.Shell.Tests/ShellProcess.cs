// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;

namespace Fleece.Shell.Tests;

/// <summary>The built host, run as a process in a folder of its own that goes away with it.</summary>
internal sealed class ShellProcess : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private Process? _process;
    private Task<string>? _error;

    /// <summary>The working directory of the host.</summary>
    public string Folder { get; } = Directory.CreateTempSubdirectory("fleece-shell-").FullName;

    /// <summary>Runs a script to its end.</summary>
    public static async Task<ShellResult> RunScript(string script, params string[] arguments)
    {
        using var shell = new ShellProcess();
        return await shell.Run(shell.Save("script.ps1", script), arguments);
    }

    /// <summary>Runs the host with words as they are.</summary>
    public static async Task<ShellResult> RunWords(params string[] words)
    {
        using var shell = new ShellProcess();
        shell.Start(words);
        return await shell.End();
    }

    /// <summary>Writes a file into the folder and returns its name there.</summary>
    public string Save(string name, string text)
    {
        string path = Path.Combine(Folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return name;
    }

    /// <summary>Runs a saved script to its end.</summary>
    public async Task<ShellResult> Run(string scriptName, params string[] arguments)
    {
        Start([scriptName, .. arguments]);
        return await End();
    }

    /// <summary>Starts the host; its standard input is at its end from the beginning.</summary>
    public void Start(params string[] words)
    {
        var start = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet")
        {
            WorkingDirectory = Folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.ArgumentList.Add(FindShell());
        foreach (string word in words)
        {
            start.ArgumentList.Add(word);
        }

        _process = Process.Start(start)!;
        _process.StandardInput.Close();
        _error = _process.StandardError.ReadToEndAsync();
    }

    /// <summary>Waits for a line of output, by which a script tells how far it is.</summary>
    public async Task WaitForLine(string expected)
    {
        using var patience = new CancellationTokenSource(Patience);
        string? line;
        do
        {
            line = await _process!.StandardOutput.ReadLineAsync(patience.Token);
            Assert.NotNull(line);
        }
        while (line != expected);
    }

    /// <summary>Sends a signal to the host alone.</summary>
    public async Task Signal(string name)
    {
        string id = _process!.Id.ToString(CultureInfo.InvariantCulture);
        using Process kill = Process.Start("kill", ["-s", name, id]);
        await kill.WaitForExitAsync();
        Assert.Equal(0, kill.ExitCode);
    }

    /// <summary>Waits until the host has ended and returns what it said.</summary>
    public async Task<ShellResult> End()
    {
        using var patience = new CancellationTokenSource(Patience);
        string output = await _process!.StandardOutput.ReadToEndAsync(patience.Token);
        string error = await _error!.WaitAsync(patience.Token);
        await _process.WaitForExitAsync(patience.Token);
        return new ShellResult(_process.ExitCode, output.ReplaceLineEndings("\n"), error.ReplaceLineEndings("\n"));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_process is { HasExited: false })
        {
            _process.Kill(entireProcessTree: true);
            _process.WaitForExit();
        }

        _process?.Dispose();
        Directory.Delete(Folder, recursive: true);
    }

    // The tests lie in tests/Fleece.Shell.Tests/bin/Debug/net10.0; the host of the same configuration is wanted.
    private static string FindShell()
    {
        var framework = new DirectoryInfo(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory));
        DirectoryInfo configuration = framework.Parent!;
        string root = configuration.Parent!.Parent!.Parent!.Parent!.FullName;
        return Path.Combine(root, "src", "Fleece.Shell", "bin", configuration.Name, "Fleece", "Fleece.Shell.dll");
    }
}
