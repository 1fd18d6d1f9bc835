// SPDX-License-Identifier: MIT
using Fleece.Resuming.Tests.Serving;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Fleece.Resuming.Tests;

/// <summary>Without a verb of its own this is a test program like the others; with one, the host that the tests kill, or a client of it.
/// </summary>
internal static class Program
{
    private static readonly string[] RunnerSwitches = ["--server", "--internal-msbuild-node"];

    private static Task<int> Main(string[] args) => args switch
    {
        [ServingHost.Verb] => ServingHost.RunAsync(),
        [ControlVerb.Verb, var socketPath, .. var request] => ControlVerb.RunAsync(socketPath, request),
        _ when args.Any(RunnerSwitches.Contains) =>
            TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions),
        _ => ConsoleRunner.Run(args),
    };
}
