// SPDX-License-Identifier: MIT
using Fleece.Hosting.Tests.Host;
using Fleece.Hosting.Tests.State;
using Fleece.Hosting.Tests.Systemd;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Fleece.Hosting.Tests;

/// <summary>Without a verb of its own this is a test program like the others; with one it is the other process of a test.</summary>
internal static class Program
{
    private static readonly string[] RunnerSwitches = ["--server", "--internal-msbuild-node"];

    private static Task<int> Main(string[] args) => args switch
    {
        [ServingChild.Verb, var path] => Task.FromResult(ServingChild.Run(path)),
        [HostChild.Verb, var folder] => HostChild.RunAsync(folder),
        [StateChild.Hold, var folder] => Task.FromResult(StateChild.RunHold(folder)),
        [StateChild.Count, var folder] => Task.FromResult(StateChild.RunCount(folder)),
        [StateChild.Put, var folder, var number] => Task.FromResult(StateChild.RunPut(folder, number)),
        _ when args.Any(RunnerSwitches.Contains) =>
            TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions),
        _ => ConsoleRunner.Run(args),
    };
}
