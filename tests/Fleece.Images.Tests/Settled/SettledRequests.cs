// SPDX-License-Identifier: MIT
using Fleece.Block;
using Xunit;

namespace Fleece.Images.Tests.Settled;

/// <summary>Makes requests of a settled image. Each one must have completed when its call returns: local files answer on the calling
/// thread.</summary>
internal sealed class SettledRequests(IBlockNode node)
{
    private const int Edge = SettledImage.EdgeBytes;
    private const int SectorBytes = 512;

    private readonly byte[] _page = new byte[4096];
    private readonly byte[] _twoPages = new byte[2 * 4096];
    private readonly byte[] _cluster = new byte[65536];

    /// <summary>Of what was settled. They are made in this order.</summary>
    public (string Name, Action Make)[] All =>
    [
        ("read 4 KiB", () => Complete(node.ReadAsync(Edge + 8192, _page, default))),
        ("read 64 KiB", () => Complete(node.ReadAsync(Edge, _cluster, default))),
        ("read across the edge", () => Complete(node.ReadAsync(Edge - 4096, _twoPages, default))),
        ("write 4 KiB", () => Complete(node.WriteAsync(Edge + 8192, _page, WriteFlags.None, default))),
        ("write 64 KiB", () => Complete(node.WriteAsync(Edge, _cluster, WriteFlags.None, default))),
        ("write across the edge", () => Complete(node.WriteAsync(Edge - 4096, _twoPages, WriteFlags.None, default))),

        // No whole subcluster of qcow2, which would become a bit of its table.
        ("zero two sectors", () => Complete(node.WriteZeroesAsync(Edge + SectorBytes, 2 * SectorBytes, WriteFlags.None, default))),
        ("status", () => Complete(node.GetStatusAsync(Edge - 4096, 8192, default))),
    ];

    /// <summary>Requests that make what was settled durable.</summary>
    public (string Name, Action Make)[] Durable =>
    [
        ("write 4 KiB through", () => Complete(node.WriteAsync(Edge + 8192, _page, WriteFlags.ForceUnitAccess, default))),
        ("flush", () => Complete(node.FlushAsync(default))),
    ];

    /// <summary>Reads 4 KiB that the image does not store, and its parent, if it has one, does.</summary>
    public void ReadWhereNothingWasWritten() => Complete(node.ReadAsync(3 * Edge, _page, default));

    private static void Complete(ValueTask request)
    {
        Assert.True(request.IsCompleted);
        request.GetAwaiter().GetResult();
    }

    private static void Complete(ValueTask<BlockStatusRun> request)
    {
        Assert.True(request.IsCompleted);
        _ = request.GetAwaiter().GetResult();
    }
}
