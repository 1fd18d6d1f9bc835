// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.Resuming.Tests.Serving;

/// <summary>The process of a host that the test kills.</summary>
/// <remarks>Ownership. The process ends with it.</remarks>
internal sealed class HostChild : IDisposable
{
    // Far beyond what a host needs on a busy machine; it turns a hang into a failure.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly Task<string> _errors;

    private HostChild(Process process)
    {
        _process = process;
        _errors = process.StandardError.ReadToEndAsync();
    }

    private static string[] Command => Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
        ? [Environment.ProcessPath!, typeof(HostChild).Assembly.Location, ServingHost.Verb]
        : [Environment.ProcessPath!, ServingHost.Verb];

    /// <summary>True once the process has ended.</summary>
    public bool HasEnded => _process.HasExited;

    /// <summary>Completes when the process has ended.</summary>
    public Task Ended => _process.WaitForExitAsync();

    /// <summary>Starts a process that waits for <see cref="ServeAsync"/>.</summary>
    public static HostChild Start() => new(Process.Start(new ProcessStartInfo(Command[0], Command[1..])
    {
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
    })!);

    /// <summary>Lets it serve.</summary>
    /// <param name="place">Where.</param>
    /// <param name="killAt">The step at which it kills itself, "NAME:COUNT"; empty for none.</param>
    /// <returns>False when it ended before it was ready.</returns>
    public async Task<bool> ServeAsync(HostPlace place, string killAt)
    {
        await _process.StandardInput.WriteLineAsync($"{place.StatePath}|{place.SocketPath}|{place.LogPath}|{killAt}");
        await _process.StandardInput.FlushAsync();
        return await _process.StandardOutput.ReadLineAsync().WaitAsync(Patience) == "ready";
    }

    /// <summary>Has the host end in order.</summary>
    /// <returns>False when the process ended in another way, as at a step.</returns>
    public async Task<bool> StopAsync()
    {
        try
        {
            await _process.StandardInput.WriteLineAsync("stop");
            await _process.StandardInput.FlushAsync();
        }
        catch (IOException)
        {
            return false; // It has killed itself before it read that.
        }

        string? said = await _process.StandardOutput.ReadLineAsync().WaitAsync(Patience);
        await _process.WaitForExitAsync().WaitAsync(Patience);
        return said == "ended";
    }

    /// <summary>SIGKILL, where it lives still.</summary>
    /// <returns>The text of its error stream.</returns>
    public async Task<string> KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync().WaitAsync(Patience);
        return await _errors;
    }

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }
}

/// <summary>The files of a host.</summary>
internal sealed record HostPlace(string StatePath, string SocketPath, string LogPath);
