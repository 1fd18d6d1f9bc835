// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Memory;
using Fleece.Nbd.Client;
using Fleece.Nbd.Client.Negotiation;
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Tests.Server;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Both;

/// <summary>The block contract over this client and this server, with extended headers all the way.</summary>
public sealed class OwnServerConformanceTests : BlockNodeConformance, IAsyncDisposable
{
    private readonly List<ServedDisk> _disks = [];

    protected override int DiscardUnitBytes => 65536;

    protected override bool ReportsFreedRanges => true;

    public async ValueTask DisposeAsync()
    {
        foreach (ServedDisk disk in _disks)
        {
            await disk.DisposeAsync();
        }
    }

    protected override async ValueTask<IBlockNode> CreateAsync(long lengthBytes)
    {
        ServedDisk disk = new(new MemoryNode(lengthBytes));
        _disks.Add(disk);
        return await NbdNode.ConnectAsync(
            disk.Server.Uri.WithExport(ServedDisk.Name), new NbdNodeOptions(), TestContext.Current.CancellationToken);
    }
}

/// <summary>What travels between this client and this server beyond the block contract.</summary>
public sealed class OwnServerTests
{
    private static readonly NbdNodeOptions Options = new();

    [Fact]
    public async Task Zeroing_that_must_be_fast_is_done_where_it_is()
    {
        await using ServedDisk disk = new();
        await using NbdNode node = await NbdNode.ConnectAsync(disk.Server.Uri.WithExport("vm"), Options, CancellationToken.None);
        await node.WriteAsync(0, new byte[] { 1, 2, 3, 4 }, WriteFlags.None, CancellationToken.None);

        await node.WriteZeroesAsync(0, 4, WriteFlags.OnlyIfFast, CancellationToken.None);

        Assert.Equal(new byte[4], await disk.ReadAsync(0, 4));
    }

    [Fact]
    public async Task Zeroing_that_must_be_fast_is_refused_where_it_is_not()
    {
        FaultNode slow = new FaultNode(new MemoryNode(1 << 20)).FailNth(BlockOperationKind.WriteZeroes, 1, BlockErrors.Unsupported);
        await using ServedDisk disk = new(slow);
        await using NbdNode node = await NbdNode.ConnectAsync(disk.Server.Uri.WithExport("vm"), Options, CancellationToken.None);

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await node.WriteZeroesAsync(0, 4096, WriteFlags.OnlyIfFast, CancellationToken.None));

        Assert.Equal(BlockErrors.Unsupported, error.Kind);
    }

    [Fact]
    public async Task A_read_only_export_is_a_read_only_node()
    {
        await using ServedDisk disk = new(new MemoryNode(1 << 20), ExportAccess.Read);

        await using NbdNode node = await NbdNode.ConnectAsync(disk.Server.Uri.WithExport("vm"), Options, CancellationToken.None);

        Assert.True(node.Geometry.IsReadOnly);
    }
}
