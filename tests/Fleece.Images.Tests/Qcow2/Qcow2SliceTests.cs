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

/// <summary>L2 tables in memory as slices, more of them than fit: loaded, evicted, filled anew, moved with their
/// table.</summary>
public sealed class Qcow2SliceTests : IDisposable
{
    // Two slices of a table, each for 512 clusters.
    private const int ClusterBytes = 8192;
    private const int SliceDiskBytes = 512 * ClusterBytes;
    private const int Slices = 10;
    private const int SizeBytes = Slices * SliceDiskBytes;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Goal: what is read without the lock is never taken for another slice's. Method: every slice's part of the disk only
    // ever holds its own number or zeros, and all of them go through a cache of four; a request that believes an object
    // filled anew meanwhile meets a foreign number.
    [Fact]
    public async Task Readers_and_writers_never_take_a_slice_for_another()
    {
        const int LengthBytes = 2 * ClusterBytes;
        string path = _folder.NewFile(".qcow2");
        await Images.CreateFileAsync(path, SizeBytes, ClusterBytes);
        await using ImageNode node = OpenSmall(path);
        Assert.Equal(Qcow2Limits.MinCachedTables, node.Qcow2().Tables.Cache.Capacity);
        Task[] workers = new Task[6];
        for (int worker = 0; worker < workers.Length; worker++)
        {
            Seeds seeds = Seeds.FromEnvironment();
            bool isWriter = worker < 2;
            workers[worker] = Task.Run(async () =>
            {
                byte[] buffer = new byte[LengthBytes];
                for (int i = 0; i < 5000; i++)
                {
                    int slice = seeds.Next(Slices);
                    long offsetBytes = (slice * (long)SliceDiskBytes) + (seeds.Next(8) * LengthBytes);
                    if (isWriter)
                    {
                        buffer.AsSpan().Fill((byte)(slice + 1));
                        await node.WriteAsync(offsetBytes, buffer, WriteFlags.None, CancellationToken.None);
                        continue;
                    }

                    await node.ReadAsync(offsetBytes, buffer, CancellationToken.None);
                    int foreign = buffer.AsSpan().IndexOfAnyExcept((byte)0, (byte)(slice + 1));
                    Assert.True(foreign < 0, $"slice {slice} holds {buffer[Math.Max(0, foreign)]}");
                }
            });
        }

        await Task.WhenAll(workers);
    }

    [Theory]
    [InlineData("cluster_size=8192")]
    [InlineData("cluster_size=16384,extended_l2=on")]
    public async Task A_table_that_a_snapshot_uses_moves_with_all_of_its_slices(string options)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", options, path, SizeBytes.ToString(Invariant));
        ReferenceDisk disk = new(SizeBytes);
        for (int round = 0; round < 3; round++)
        {
            await using (ImageNode node = OpenSmall(path))
            {
                for (int i = 0; i < 60; i++)
                {
                    await Images.RandomRequestAsync(node, disk, seeds, new BlockRange(0, SizeBytes));
                }

                Assert.InRange(node.Qcow2().Tables.Cache.Resident.Count, 1, node.Qcow2().Tables.Cache.Capacity + 2);
                await disk.CheckAllAsync(node);
                await disk.CheckStatusAsync(node);
            }

            Images.CheckWithQemu(path, disk, $"round {round}");
            Qemu.Image("snapshot", "-c", $"s{round}", path);
        }
    }

    [Fact]
    public async Task Writes_all_over_a_large_disk_are_kept_within_a_small_cache()
    {
        const int Clusters64KiB = 65536;
        const long DiskBytes = 1L << 40;
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".qcow2");
        await Images.CreateFileAsync(path, DiskBytes, Clusters64KiB);
        long[] offsets = [.. Enumerable.Range(0, 400).Select(_ => seeds.Next(DiskBytes / 4096) * 4096).Distinct()];
        await using (ImageNode node = OpenSmall(path))
        {
            foreach (long offsetBytes in offsets)
            {
                await node.WriteAsync(offsetBytes, Content(offsetBytes), WriteFlags.None, CancellationToken.None);
                Assert.InRange(node.Qcow2().Tables.Cache.Resident.Count, 1, node.Qcow2().Tables.Cache.Capacity + 2);
            }
        }

        Qemu.CheckClean(path);
        await using ImageNode again = OpenSmall(path);
        byte[] read = new byte[4096];
        foreach (long offsetBytes in offsets)
        {
            await again.ReadAsync(offsetBytes, read, CancellationToken.None);
            Assert.Equal(Content(offsetBytes), read);
        }
    }

    // The guest's write that finds the cache full of changes waits for flushes, so small disks must not reach that sooner than large ones.
    [Fact]
    public async Task Changes_in_every_slice_of_a_disk_that_fits_into_the_cache_wait_for_the_guest_to_flush()
    {
        string path = _folder.NewFile(".qcow2");
        await Images.CreateFileAsync(path, SizeBytes, ClusterBytes);
        int flushes = 0;
        using MemoryContainer container = new(await File.ReadAllBytesAsync(path));
        await using ImageNode node = Qcow2Map.Open(container, new Qcow2Attachments());
        await node.WriteAsync(0, Content(0), WriteFlags.None, CancellationToken.None);
        container.BeforeFlush = () => flushes++;

        for (int cluster = 1; cluster < 8 * Slices; cluster++)
        {
            long offsetBytes = cluster * (long)SliceDiskBytes / 8;
            await node.WriteAsync(offsetBytes, Content(offsetBytes), WriteFlags.None, CancellationToken.None);
        }

        Assert.Equal(Slices, node.Qcow2().Tables.Cache.Dirty.Count);
        Assert.Equal(0, flushes);
        await node.FlushAsync(CancellationToken.None);
        Assert.InRange(flushes, 1, 3);
    }

    private static System.Globalization.CultureInfo Invariant => System.Globalization.CultureInfo.InvariantCulture;

    private static byte[] Content(long offsetBytes)
    {
        byte[] content = new byte[4096];
        BitConverter.TryWriteBytes(content, offsetBytes + 1);
        BitConverter.TryWriteBytes(content.AsSpan(content.Length - sizeof(long)), ~offsetBytes);
        return content;
    }

    private static ImageNode OpenSmall(string path) => Qcow2Map.Open(
        new LocalContainer(LocalFile.Open(path, isReadOnly: false)), new Qcow2Attachments { MetadataCacheBytes = 4096 });
}
