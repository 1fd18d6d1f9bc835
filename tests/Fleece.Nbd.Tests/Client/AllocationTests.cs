// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Reflection;
using Fleece.Block;
using Fleece.Nbd.Client;

namespace Fleece.Nbd.Tests.Client;

/// <summary>What a request of the client allocates. The whole process is counted, so nothing else may run.</summary>
[Collection(nameof(AllocationTests))]
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
public sealed class AllocationTests
{
    [Fact]
    public async Task A_busy_node_allocates_no_memory_per_request()
    {
        // Without optimization the compiler makes every state machine an object.
        Assert.SkipWhen(
            typeof(NbdNode).Assembly.GetCustomAttribute<DebuggableAttribute>() is { IsJITOptimizerDisabled: true },
            "Allocations of asynchronous methods are counted in Release builds.");
        using PeerServer server = PeerServer.Nbdkit("memory", "64M");
        await using NbdNode node = await server.ConnectAsync();
        byte[] buffer = new byte[4096];
        const int Requests = 2000;
        await RunAsync();

        long before = GC.GetTotalAllocatedBytes(precise: true);
        await RunAsync();
        long perRequest = (GC.GetTotalAllocatedBytes(precise: true) - before) / (2 * Requests);

        // What runs beside it allocates little; one object per request would be more.
        Assert.InRange(perRequest, 0, 20);

        async Task RunAsync()
        {
            for (int i = 0; i < Requests; i++)
            {
                await node.WriteAsync(4096 * (i % 1024), buffer, WriteFlags.None, CancellationToken.None);
                await node.ReadAsync(4096 * (i % 1024), buffer, CancellationToken.None);
            }
        }
    }
}
