// SPDX-License-Identifier: MIT
using System.Diagnostics;

namespace Fleece.Disks.Tests.Lives;

/// <summary>A process that lives through some steps and is killed at a fail point, or when it has done them.</summary>
internal static class LifeChild
{
    public const string Verb = "life";

    /// <summary>The child: says each step that it has done, and is killed.</summary>
    public static async Task<int> RunAsync(string folder, string[] steps)
    {
        LifeDisks disks = new(folder);
        foreach (string step in steps)
        {
            await disks.DoAsync(step);
            Console.WriteLine(step);
        }

        Process.GetCurrentProcess().Kill();
        return 1;
    }

    /// <summary>Runs a child until it is killed.</summary>
    /// <param name="folder">The folder of the life.</param>
    /// <param name="killAt">The fail point, or null to kill it behind its last step.</param>
    /// <param name="steps">The steps.</param>
    /// <returns>How many steps it has done.</returns>
    public static Task<int> LiveAsync(string folder, string? killAt, params string[] steps) =>
        LiveAsync("dotnet", [typeof(LifeChild).Assembly.Location, Verb, folder, .. steps], killAt, steps);

    /// <summary>As <see cref="LiveAsync(string, string?, string[])"/> to the last step, in a run of the system whose id a file
    /// has.</summary>
    public static Task<int> LiveInOtherBootAsync(string folder, string bootIdPath, params string[] steps) => LiveAsync(
        "unshare",
        [
            "--mount", "sh", "-c", "mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec dotnet \"$@\"",
            bootIdPath, typeof(LifeChild).Assembly.Location, Verb, folder, .. steps,
        ],
        killAt: null,
        steps);

    private static async Task<int> LiveAsync(string program, string[] arguments, string? killAt, string[] steps)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Sessions outlive their process on Linux alone.");
        ProcessStartInfo start = new(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["FLEECE_TEST_KILL_AT"] = killAt ?? string.Empty;
        start.Environment["DOTNET_TieredPGO"] = "0";
        using Process child = Process.Start(start)!;
        Task<string> output = child.StandardOutput.ReadToEndAsync();
        Task<string> errors = child.StandardError.ReadToEndAsync();
        await child.WaitForExitAsync();
        string[] done = (await output).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(child.ExitCode == 137, $"the child ended with {child.ExitCode} behind '{done.LastOrDefault()}':\n{await errors}");
        Assert.True(
            killAt is null ? done.Length == steps.Length : done.Length < steps.Length, $"the fail point '{killAt}' was not reached");
        Assert.Equal(steps[..done.Length], done);
        return done.Length;
    }
}
