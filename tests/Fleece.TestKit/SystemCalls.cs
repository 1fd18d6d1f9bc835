// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Xunit;

namespace Fleece.TestKit;

/// <summary>The system calls of this process, watched with strace: nothing else shows what a crash of the system would leave.</summary>
public static class SystemCalls
{
    private const int Interrupt = 2;

    /// <summary>Notes calls while an action runs, one line each, files by their paths. Skips the test where strace can't watch.</summary>
    /// <remarks>The test's class runs alone (DisableParallelization): a process that another test starts while strace lets go is a child that
    /// strace has stopped, and both wait for ever.</remarks>
    /// <param name="folder">Where the log goes.</param>
    /// <param name="names">Names of the calls, separated by commas.</param>
    /// <param name="action">What is watched, on whatever threads it runs.</param>
    public static async Task<string[]> WatchAsync(TempFolder folder, string names, Func<Task> action)
    {
        Peer.Need("strace");
        string log = folder.NewFile(".strace");
        using Process trace = Peer.Start(
            "strace", "-f", "-y", "-e", $"trace={names}", "-o", log, "-p", Environment.ProcessId.ToString(CultureInfo.InvariantCulture));
        string? greeting = await trace.StandardError.ReadLineAsync();
        Assert.SkipUnless(greeting?.Contains("attached", StringComparison.Ordinal) == true, $"strace may not watch: {greeting}");
        try
        {
            await action();
        }
        finally
        {
            // It writes its log to the end before it lets go. A program that sent the signal would be a child that strace watches too, and
            // strace can wait for ever for one that it has stopped.
            Assert.Equal(0, SendSignal(trace.Id, Interrupt));
            await trace.WaitForExitAsync();
        }

        return await File.ReadAllLinesAsync(log);
    }

    /// <summary>The first call of a name that names a file or another argument, or -1.</summary>
    public static int Find(string[] calls, string name, string argument) => Array.FindIndex(
        calls, call => call.Contains(name, StringComparison.Ordinal) && call.Contains(argument, StringComparison.Ordinal));

    [DllImport("libc", EntryPoint = "kill")]
    private static extern int SendSignal(int processId, int signal);
}
