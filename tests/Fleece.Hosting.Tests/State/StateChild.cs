// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Fleece.Block;
using Fleece.Hosting.State;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.State;

/// <summary>A host's state in a process of its own, which can be killed, or watched with strace.</summary>
internal static class StateChild
{
    public const string Hold = "state-hold";
    public const string Count = "state-count";
    public const string Put = "state-put";

    /// <summary>The first line of a child that has the state.</summary>
    public const string Opened = "open";

    private const string DiskName = "counter";

    /// <summary>The number that the state has stored; 0 for none.</summary>
    public static long NumberIn(HostState state) => state.Disks.Count == 0 ? 0 : state.Disks.Single().Mount.MetadataCacheBytes!.Value;

    /// <summary>Stores a number.</summary>
    public static void PutNumber(HostState state, long number) => state.Put(StateSamples.Plain(DiskName, number));

    /// <summary>Starts this program as another process.</summary>
    public static Process Start(params string[] arguments) => Peer.Start("dotnet", [typeof(StateChild).Assembly.Location, .. arguments]);

    /// <summary>Holds a state until its input ends.</summary>
    public static int RunHold(string folder)
    {
        using HostState state = HostState.Open(folder);
        Console.WriteLine(Opened);
        Console.ReadLine();
        return 0;
    }

    /// <summary>Stores one number after the other, and says each when it is durable.</summary>
    public static int RunCount(string folder)
    {
        using HostState state = HostState.Open(folder);
        for (long number = NumberIn(state) + 1; ; number++)
        {
            PutNumber(state, number);
            Console.WriteLine(number);
        }
    }

    /// <summary>Stores one number, and says "stored", or the kind of the error, whether the state in memory is the old one, and the message.
    /// </summary>
    public static int RunPut(string folder, string number)
    {
        HostState? state = null;
        long before = 0;
        try
        {
            state = HostState.Open(folder);
            Console.WriteLine(Opened);
            before = NumberIn(state);
            PutNumber(state, long.Parse(number, CultureInfo.InvariantCulture));
            Console.WriteLine("stored");
        }
        catch (BlockException e)
        {
            Console.WriteLine($"{e.Kind} {state is not null && NumberIn(state) == before} {e.Message}");
        }

        state?.Dispose();
        return 0;
    }
}
