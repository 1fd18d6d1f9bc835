// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>What an image says of its ranges, to the byte.</summary>
public sealed class Qcow2StatusTests : IDisposable
{
    private const int ClusterBytes = 65536;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Runs_tell_data_zeros_and_unallocated_apart()
    {
        const long SizeBytes = (40 * ClusterBytes) + 512;
        await using ImageNode node = await Images.CreateAsync(_folder.NewFile(".qcow2"), SizeBytes, ClusterBytes);
        byte[] data = new byte[4 * ClusterBytes];
        await node.WriteAsync(2 * ClusterBytes + 5, data, WriteFlags.None, CancellationToken.None);
        await node.WriteZeroesAsync(4 * ClusterBytes, 2 * ClusterBytes, WriteFlags.None, CancellationToken.None);
        await node.WriteAsync(SizeBytes - 1, new byte[1], WriteFlags.None, CancellationToken.None);
        await node.WriteAsync(20 * ClusterBytes, new byte[ClusterBytes], WriteFlags.None, CancellationToken.None);
        await node.DiscardAsync(20 * ClusterBytes, ClusterBytes, CancellationToken.None);

        List<(long, BlockStatus, long)> runs = [];
        BlockRange whole = new(0, SizeBytes);
        await foreach ((long offsetBytes, BlockStatusRun run) in node.EnumerateStatusAsync(whole))
        {
            runs.Add((offsetBytes, run.Status, run.LengthBytes));
        }

        Assert.Equal(
            [
                (0, BlockStatus.Unallocated, 2 * ClusterBytes),
                (2 * ClusterBytes, BlockStatus.Data, 2 * ClusterBytes),
                (4 * ClusterBytes, BlockStatus.Zero, 2 * ClusterBytes),
                (6 * ClusterBytes, BlockStatus.Data, ClusterBytes),
                (7 * ClusterBytes, BlockStatus.Unallocated, 33 * ClusterBytes),
                (40 * ClusterBytes, BlockStatus.Data, 512),
            ],
            runs);
    }

    [Fact]
    public async Task A_status_query_over_64_TiB_of_nothing_is_one_quick_call()
    {
        const long SizeBytes = 64L << 40;
        await using ImageNode node = await Images.CreateAsync(_folder.NewFile(".qcow2"), SizeBytes, ClusterBytes);
        _ = await node.GetStatusAsync(0, SizeBytes, CancellationToken.None);
        long start = Stopwatch.GetTimestamp();

        BlockStatusRun run = await node.GetStatusAsync(0, SizeBytes, CancellationToken.None);

        TimeSpan took = Stopwatch.GetElapsedTime(start);
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, SizeBytes), run);
        Assert.True(took < TimeSpan.FromMilliseconds(50), $"took {took.TotalMilliseconds} ms");
        TestContext.Current.TestOutputHelper?.WriteLine($"{took.TotalMicroseconds:0} microseconds");
    }

    [Fact]
    public async Task The_end_of_a_64_TiB_disk_is_written_zeroed_and_discarded()
    {
        const long SizeBytes = 64L << 40;
        string path = _folder.NewFile(".qcow2");
        byte[] read = new byte[512];
        await using (ImageNode node = await Images.CreateAsync(path, SizeBytes, ClusterBytes))
        {
            await node.WriteZeroesAsync(0, SizeBytes, WriteFlags.None, CancellationToken.None);
            await node.WriteAsync(SizeBytes - 512, new byte[] { 7 }, WriteFlags.None, CancellationToken.None);
            await node.ReadAsync(SizeBytes - 512, read, CancellationToken.None);
            Assert.Equal(7, read[0]);
        }

        await using (ImageNode node = Images.Open(path))
        {
            await node.ReadAsync(SizeBytes - 512, read, CancellationToken.None);
            Assert.Equal(7, read[0]);
            await node.DiscardAsync(0, SizeBytes, CancellationToken.None);
            await node.ReadAsync(SizeBytes - 512, read, CancellationToken.None);
            Assert.Equal(0, read[0]);
        }
    }
}
