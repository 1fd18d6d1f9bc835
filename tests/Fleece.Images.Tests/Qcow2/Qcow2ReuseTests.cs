// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Container;
using Fleece.Images.Qcow2;
using Fleece.Images.Qcow2.Foundation;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Freed clusters: storage goes back, clusters are used again, and nobody meets another's bytes.</summary>
public sealed class Qcow2ReuseTests : IDisposable
{
    private const int ClusterBytes = 65536;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Discarded_clusters_are_used_again_after_a_flush()
    {
        const int SizeBytes = 64 * 1024 * 1024;
        string path = _folder.NewFile(".qcow2");
        byte[] data = Seeds.FromEnvironment().Bytes(8 * 1024 * 1024);
        await using (ImageNode node = await Images.CreateAsync(path, SizeBytes, ClusterBytes))
        {
            for (int round = 0; round < 8; round++)
            {
                await node.WriteAsync(round * (long)data.Length, data, WriteFlags.None, CancellationToken.None);
                await node.DiscardAsync(round * (long)data.Length, data.Length, CancellationToken.None);
                await node.FlushAsync(CancellationToken.None);
            }
        }

        Assert.InRange(new FileInfo(path).Length, 1, 2 * data.Length);
    }

    [Fact]
    public async Task A_discard_frees_storage_at_once()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Holes are looked at as Linux reports them.");
        string path = _folder.NewFile(".qcow2");
        await using ImageNode node = await Images.CreateAsync(path, 64 * 1024 * 1024, ClusterBytes);
        await node.WriteAsync(0, Seeds.FromEnvironment().Bytes(16 << 20), WriteFlags.None, CancellationToken.None);
        Assert.True(FileSystemSpace.TryGetAllocatedBytes(path, out long fullBytes));

        await node.DiscardAsync(0, 16 << 20, CancellationToken.None);

        Assert.True(FileSystemSpace.TryGetAllocatedBytes(path, out long freedBytes));
        Assert.InRange(freedBytes, 0, fullBytes - (15 << 20));
    }

    [Fact]
    public async Task Freed_clusters_wait_for_a_bounded_amount_without_a_flush()
    {
        string path = _folder.NewFile(".qcow2");
        const int ChunkBytes = 4 * 1024 * 1024;
        byte[] data = Seeds.FromEnvironment().Bytes(ChunkBytes);
        await using ImageNode node = await Images.CreateAsync(path, 1L << 30, ClusterBytes);
        for (int chunk = 0; chunk < 200; chunk++)
        {
            await node.WriteAsync(chunk * (long)ChunkBytes, data, WriteFlags.None, CancellationToken.None);
            await node.DiscardAsync(chunk * (long)ChunkBytes, ChunkBytes, CancellationToken.None);
        }

        Assert.InRange(new FileInfo(path).Length, 1, Qcow2Limits.MaxFreedBytes + (64 << 20));
    }

    // Goal: a read never returns bytes of a cluster that was freed and used again for another part of the disk. Method:
    // every stripe of the disk only ever holds its own number or zeros, while clusters go round between stripes as fast
    // as they can; readers look for a foreign number.
    [Theory]
    [InlineData(512)]
    [InlineData(4096)]
    public async Task Readers_and_writers_never_meet_a_cluster_of_another_stripe(int clusterBytes)
    {
        const int Stripes = 8;
        const int StripeBytes = 64 * 1024;
        string path = _folder.NewFile(".qcow2");
        await Images.CreateFileAsync(path, Stripes * StripeBytes, clusterBytes);
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: false));
        await using ImageNode node = Qcow2Map.Open(file, new Qcow2Attachments { MetadataCacheBytes = 6 * clusterBytes });
        using CancellationTokenSource stop = new(TimeSpan.FromSeconds(4));
        Task[] workers = new Task[6];
        for (int worker = 0; worker < workers.Length; worker++)
        {
            Seeds seeds = Seeds.FromEnvironment();
            bool isWriter = worker < 3;
            workers[worker] = Task.Run(async () =>
            {
                byte[] buffer = new byte[StripeBytes];
                while (!stop.IsCancellationRequested)
                {
                    int stripe = seeds.Next(Stripes);
                    long offsetBytes = (long)stripe * StripeBytes;
                    int lengthBytes = clusterBytes * (1 + seeds.Next(StripeBytes / clusterBytes));
                    Memory<byte> part = buffer.AsMemory(0, lengthBytes);
                    if (!isWriter)
                    {
                        await node.ReadAsync(offsetBytes, part, CancellationToken.None);
                        int foreign = part.Span.IndexOfAnyExcept((byte)0, (byte)(stripe + 1));
                        Assert.True(foreign < 0, $"stripe {stripe} holds {part.Span[Math.Max(0, foreign)]}");
                        continue;
                    }

                    part.Span.Fill((byte)(stripe + 1));
                    await node.WriteAsync(offsetBytes, part, WriteFlags.None, CancellationToken.None);
                    await node.DiscardAsync(offsetBytes, lengthBytes, CancellationToken.None);
                    if (seeds.Chance(30))
                    {
                        await node.FlushAsync(CancellationToken.None);
                    }
                }
            });
        }

        await Task.WhenAll(workers);
    }

    [Fact]
    public async Task Writers_racing_for_one_cluster_lose_nothing()
    {
        const int Writers = 8;
        const int PartBytes = ClusterBytes / Writers;
        string path = _folder.NewFile(".qcow2");
        await using ImageNode node = await Images.CreateAsync(path, 64 << 20, ClusterBytes);
        byte[] read = new byte[ClusterBytes];
        for (int cluster = 0; cluster < 500; cluster++)
        {
            long offsetBytes = (long)cluster * ClusterBytes;
            using Barrier start = new(Writers);
            await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Factory.StartNew(
                () =>
                {
                    byte[] part = new byte[PartBytes];
                    part.AsSpan().Fill((byte)(writer + 1));
                    start.SignalAndWait();
                    node.WriteAsync(offsetBytes + (writer * PartBytes), part, WriteFlags.None, CancellationToken.None)
                        .AsTask().GetAwaiter().GetResult();
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default)));
            await node.ReadAsync(offsetBytes, read, CancellationToken.None);
            for (int i = 0; i < ClusterBytes; i++)
            {
                Assert.Equal(1 + (i / PartBytes), read[i]);
            }
        }
    }

    [Fact]
    public async Task The_metadata_cache_stays_within_its_bound()
    {
        const int SmallClusterBytes = 512;
        string path = _folder.NewFile(".qcow2");
        await Images.CreateFileAsync(path, 256 << 20, SmallClusterBytes);
        LocalContainer file = new(LocalFile.Open(path, isReadOnly: false));
        ReferenceDisk disk = new(64 << 20);
        await using (ImageNode node = Qcow2Map.Open(file, new Qcow2Attachments { MetadataCacheBytes = 22 * SmallClusterBytes }))
        {
            Seeds seeds = Seeds.FromEnvironment();
            for (int i = 0; i < 3000; i++)
            {
                byte[] data = seeds.Bytes(700);
                long offsetBytes = seeds.Next(disk.LengthBytes - data.Length);
                await node.WriteAsync(offsetBytes, data, WriteFlags.None, CancellationToken.None);
                disk.Write(offsetBytes, data);
                Assert.InRange(node.Qcow2().Tables.Cache.Resident.Count, 0, node.Qcow2().Tables.Cache.Capacity + 2);
            }

            await disk.CheckAllAsync(node);
        }

        await using ImageNode again = Images.Open(path);
        await disk.CheckAllAsync(again);
    }
}
