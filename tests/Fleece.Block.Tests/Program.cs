// SPDX-License-Identifier: MIT
using Fleece.Block.Tests.Logs;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Fleece.Block.Tests;

/// <summary>Without a verb of its own this is a test program like the others; with one it is the other process of a test.</summary>
internal static class Program
{
    private static readonly string[] RunnerSwitches = ["--server", "--internal-msbuild-node"];

    private static Task<int> Main(string[] args) => args switch
    {
        [LogChild.CountVerb, var path, var mayMap] => Task.FromResult(LogChild.Count(path, bool.Parse(mayMap))),
        [LogChild.GrowVerb, var path] => Task.FromResult(LogChild.Grow(path)),
        [LogChild.StepVerb] => Task.FromResult(LogChild.Step()),
        _ => args.Any(RunnerSwitches.Contains)
            ? TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
            : ConsoleRunner.Run(args),
    };
}
