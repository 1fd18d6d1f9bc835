// SPDX-License-Identifier: MIT
using Fleece.Disks.Tests.Lives;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Fleece.Disks.Tests;

/// <summary>Without a verb of its own this is a test program like the others; with one it is the other process of a test.</summary>
internal static class Program
{
    private static readonly string[] RunnerSwitches = ["--server", "--internal-msbuild-node"];

    private static Task<int> Main(string[] args) => args switch
    {
        [LifeChild.Verb, var folder, .. var steps] => LifeChild.RunAsync(folder, steps),
        _ when args.Any(RunnerSwitches.Contains) =>
            TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions),
        _ => ConsoleRunner.Run(args),
    };
}
