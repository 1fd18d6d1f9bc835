// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Client;
using Fleece.TestKit;

namespace Fleece.Nbd.Tests.Client;

/// <summary>The client with nbdkit, in the many shapes its plugins and filters give a server.</summary>
public sealed class NbdkitTests
{
    [Theory]
    [InlineData("structured replies")]
    [InlineData("simple replies", "--no-sr")]
    [InlineData("newstyle of before options", "--mask-handshake=0")]
    [InlineData("zeroes behind the handshake", "--mask-handshake=1")]
    public async Task What_is_written_is_read_back_over_every_handshake(string shape, params string[] flags)
    {
        Assert.NotEmpty(shape);
        using PeerServer server = PeerServer.Nbdkit([.. flags, "memory", "64M"]);
        await using NbdNode node = await server.ConnectAsync();
        byte[] data = Seeds.FromEnvironment().Bytes(1024 * 1024);

        await node.WriteAsync(4096, data, WriteFlags.None, CancellationToken.None);
        await node.FlushAsync(CancellationToken.None);

        byte[] read = new byte[data.Length];
        await node.ReadAsync(4096, read, CancellationToken.None);
        Assert.Equal(data, read);
        Assert.Equal(64 * 1024 * 1024, node.Geometry.LengthBytes);
    }

    [Fact]
    public async Task Holes_are_told_from_data()
    {
        using PeerServer server = PeerServer.Nbdkit("memory", "64M");
        await using NbdNode node = await server.ConnectAsync();
        await node.WriteAsync(1024 * 1024, Seeds.FromEnvironment().Bytes(65536), WriteFlags.None, CancellationToken.None);

        List<(long, BlockStatusRun)> runs = [];
        await foreach ((long offsetBytes, BlockStatusRun run) in node.EnumerateStatusAsync(new BlockRange(0, 2 * 1024 * 1024)))
        {
            runs.Add((offsetBytes, run));
        }

        Assert.Equal(
            [
                (0, new BlockStatusRun(BlockStatus.Unallocated, 1024 * 1024)),
                (1024 * 1024, new BlockStatusRun(BlockStatus.Data, 65536)),
                (1024 * 1024 + 65536, new BlockStatusRun(BlockStatus.Unallocated, 1024 * 1024 - 65536)),
            ],
            runs);
    }
}
