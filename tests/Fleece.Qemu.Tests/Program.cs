// SPDX-License-Identifier: MIT
using Fleece.Qemu.Guard;
using Fleece.Qemu.Tests.Guard;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Fleece.Qemu.Tests;

/// <summary>Without a verb of its own this is a test program like the others; with one it is the other process of a test.</summary>
internal static class Program
{
    private static readonly string[] RunnerSwitches = ["--server", "--internal-msbuild-node"];

    private static async Task<int> Main(string[] args)
    {
        switch (args)
        {
            case [GuardedChild.GuardVerb]:
                await GuardProcess.RunAsync();
                return 0;
            case [GuardedChild.FreezingVerb, var socketPath]:
                await GuardedChild.RunFreezingAsync(socketPath);
                return 0;
            case [GuardedChild.PausingVerb, var socketPath]:
                await GuardedChild.RunPausingAsync(socketPath);
                return 0;
            default:
                return args.Any(RunnerSwitches.Contains)
                    ? await TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
                    : await ConsoleRunner.Run(args);
        }
    }
}
