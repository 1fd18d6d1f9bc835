// SPDX-License-Identifier: MIT
namespace Fleece.Shell.Tests;

/// <summary>Goal: Ctrl+C stops a script but not its cleanup. Method: signals in the middle of one.</summary>
public sealed class StopTests
{
    [Theory]
    [InlineData("INT", 130)]
    [InlineData("TERM", 143)]
    public async Task A_signal_stops_the_script_runs_its_cleanup_and_is_the_exit_code(string signal, int exitCode)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no signals to send to a process.");
        using var shell = new ShellProcess();
        shell.Start(shell.Save("script.ps1", """
            try { 'ready'; while ($true) { } } finally { [IO.File]::WriteAllText('cleaned', '') }
            'after'
            """));
        await shell.WaitForLine("ready");

        await shell.Signal(signal);
        ShellResult result = await shell.End();

        Assert.Equal(exitCode, result.ExitCode);
        Assert.DoesNotContain("after", result.Output, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(shell.Folder, "cleaned")));
    }

    [Fact]
    public async Task A_second_signal_does_not_wait_for_the_cleanup()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no signals to send to a process.");
        using var shell = new ShellProcess();
        shell.Start(shell.Save("script.ps1", """
            try { 'ready'; while ($true) { } } finally { $Host.UI.WriteLine('cleaning'); [Threading.Thread]::Sleep(-1) }
            """));
        await shell.WaitForLine("ready");

        await shell.Signal("INT");
        await shell.WaitForLine("cleaning");
        await shell.Signal("INT");

        Assert.Equal(130, (await shell.End()).ExitCode);
    }
}
