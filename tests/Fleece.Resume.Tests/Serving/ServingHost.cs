// SPDX-License-Identifier: MIT
using Fleece.Hosting.Host;
using Fleece.Hosting.Rpc;

namespace Fleece.Resuming.Tests.Serving;

/// <summary>A host in a process of its own, until it is killed or told to end.</summary>
/// <remarks>It waits for its first line, "STATE|SOCKET|LOG|POINT", so that the runtime has started before it is needed. It says "ready"
/// when its disks are served, and "ended" after "stop". It ends by itself when its parent has.</remarks>
internal static class ServingHost
{
    /// <summary>The only argument.</summary>
    public const string Verb = "serve-host";

    /// <summary>Serves.</summary>
    public static async Task<int> RunAsync()
    {
        // All that a host needs at once and that reaches no fail point: those read the environment the first time.
        _ = RpcLibrary.Load();
        _ = WireJson.Options;
        if (await Console.In.ReadLineAsync() is not { } line)
        {
            return 0;
        }

        string[] words = line.Split('|');
        Environment.SetEnvironmentVariable("FLEECE_TEST_KILL_AT", words[3]);
        await using StreamWriter log = new(words[2], append: true) { AutoFlush = true };
        HostProcess host = HostProcess.Start(new HostOptions
        {
            StatePath = words[0],
            SocketPath = words[1],
            Guard = () => throw new InvalidOperationException("No guard is needed here."),
            Log = log,
        });
        await host.Ready;
        Console.WriteLine("ready");
        if (await Console.In.ReadLineAsync() is null)
        {
            Environment.Exit(0); // The parent has gone, and with it the use of this process.
        }

        await host.StopAsync();
        Console.WriteLine("ended");
        return 0;
    }
}
