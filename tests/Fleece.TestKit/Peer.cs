// SPDX-License-Identifier: MIT
using System.ComponentModel;
using System.Diagnostics;
using Xunit;

namespace Fleece.TestKit;

/// <summary>What a peer's program said and how it ended; standard error stands behind standard output.</summary>
public sealed record PeerResult(int ExitCode, string Output);

/// <summary>Runs the programs of others, the other party of a test.</summary>
public static class Peer
{
    // Far beyond what any of them needs. It only turns a hang into a failure that says who hung.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    // System programs lie where an ordinary user's PATH may not reach.
    private static readonly string[] Folders =
    [
        .. (Environment.GetEnvironmentVariable("PATH") ?? string.Empty).Split(Path.PathSeparator),
        "/usr/sbin",
        "/sbin",
        "/usr/bin",
        "/usr/local/sbin",
        "/opt/homebrew/opt/e2fsprogs/sbin",
    ];

    /// <summary>Skips the test unless all the programs are installed.</summary>
    public static void Need(params string[] programs)
    {
        string[] missing = [.. programs.Where(program => !Has(program))];
        Assert.SkipWhen(missing.Length != 0, $"not installed here: {string.Join(", ", missing)}");
    }

    /// <summary>True when the program is installed.</summary>
    public static bool Has(string program) => Find(program) is not null;

    /// <summary>Runs a program to its end, whatever that is.</summary>
    public static async Task<PeerResult> TryRunAsync(string program, params string[] arguments)
    {
        using Process process = Start(program, arguments);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        try
        {
            using CancellationTokenSource patience = new(Patience);
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            Assert.Fail($"{program} {string.Join(' ', arguments)} did not end within {Patience.TotalSeconds} s");
        }

        PeerResult result = new(process.ExitCode, await output + await error);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{program} {string.Join(' ', arguments)}: {result.ExitCode}\n{result.Output}");
        return result;
    }

    /// <summary>Runs a program and fails the test when it fails.</summary>
    public static async Task<string> RunAsync(string program, params string[] arguments)
    {
        PeerResult result = await TryRunAsync(program, arguments);
        Assert.True(result.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {result.ExitCode}\n{result.Output}");
        return result.Output;
    }

    /// <summary>Starts a program that the test talks to.</summary>
    public static Process Start(string program, params string[] arguments)
    {
        ProcessStartInfo start = new(Find(program)!, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["LC_ALL"] = "C";
        return Process.Start(start) ?? throw new Win32Exception($"{program} does not start");
    }

    private static string? Find(string program) =>
        Folders.Where(folder => folder.Length != 0).Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);
}
