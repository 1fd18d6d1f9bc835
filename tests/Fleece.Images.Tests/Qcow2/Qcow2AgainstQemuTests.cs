// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2.Headers;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Images written here and checked and read by QEMU.</summary>
public sealed class Qcow2AgainstQemuTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(512, 512)]
    [InlineData(512, 40 * 1024 * 1024)]
    [InlineData(65536, 1024 * 1024)]
    [InlineData(65536, 65536 + 512)]
    [InlineData(2 * 1024 * 1024, 5L * 1024 * 1024 * 1024)]
    [InlineData(65536, 64L << 40)]
    public async Task A_new_image_is_clean(int clusterBytes, long sizeBytes)
    {
        Qemu.SkipWhenMissing();
        string path = _folder.NewFile(".qcow2");

        await Images.CreateFileAsync(path, sizeBytes, clusterBytes);

        Qemu.CheckClean(path);
        Assert.Contains($"({sizeBytes} bytes)", Qemu.Image("info", path), StringComparison.Ordinal);
    }

    // Goal: right under concurrency. Method: each thread owns stripes that are not cluster-aligned, so that threads
    // share clusters but not bytes; QEMU reads the result.
    [Theory]
    [InlineData(512, 7 * 1024 * 1024 + 512)]
    [InlineData(4096, 30 * 1024 * 1024 + 512)]
    [InlineData(65536, 30 * 1024 * 1024 + 1536)]
    [InlineData(2 * 1024 * 1024, 30 * 1024 * 1024)]
    public async Task Random_requests_of_several_threads_leave_what_they_should(int clusterBytes, int sizeBytes)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".qcow2");
        ReferenceDisk disk = new(sizeBytes);
        await using (ImageNode node = await Images.CreateAsync(path, sizeBytes, clusterBytes))
        {
            await RandomAsync(node, disk, seeds);
            await disk.CheckAllAsync(node);
            await disk.CheckStatusAsync(node);
        }

        Images.CheckWithQemu(path, disk);
        await using (ImageNode node = Images.Open(path))
        {
            await RandomAsync(node, disk, seeds);
            await disk.CheckAllAsync(node);
        }

        Images.CheckWithQemu(path, disk, "after the second round");
    }

    [Fact]
    public async Task A_refcount_table_grows_while_threads_write()
    {
        Qemu.SkipWhenMissing();
        const int SizeBytes = 40 * 1024 * 1024;
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", "cluster_size=512,refcount_bits=64", path, $"{SizeBytes}");
        ReferenceDisk disk = new(SizeBytes);
        await using (ImageNode node = Images.Open(path))
        {
            int before = node.Qcow2().Changes!.Refcounts.TableClusters;
            await OnThreadsAsync(4, async part =>
            {
                Seeds own = seeds.Fork();
                for (int atBytes = part; atBytes < SizeBytes / 65536; atBytes += 4)
                {
                    byte[] data = own.Bytes(65536);
                    await node.WriteAsync(atBytes * 65536L, data, WriteFlags.None, CancellationToken.None);
                    disk.Write(atBytes * 65536L, data);
                    if (own.Chance(5))
                    {
                        await node.FlushAsync(CancellationToken.None);
                    }
                }
            });
            Assert.True(node.Qcow2().Changes!.Refcounts.TableClusters > before);
        }

        Images.CheckWithQemu(path, disk);
    }

    [Theory]
    [InlineData("compat=0.10")]
    [InlineData("compat=0.10,cluster_size=4096")]
    [InlineData("compat=1.1")]
    [InlineData("cluster_size=512")]
    [InlineData("cluster_size=2M")]
    [InlineData("refcount_bits=1")]
    [InlineData("refcount_bits=2")]
    [InlineData("refcount_bits=4")]
    [InlineData("refcount_bits=8")]
    [InlineData("refcount_bits=32")]
    [InlineData("refcount_bits=64")]
    [InlineData("lazy_refcounts=on")]
    [InlineData("extended_l2=on")]
    [InlineData("extended_l2=on,cluster_size=16384,refcount_bits=1")]
    [InlineData("data_file=DATA")]
    [InlineData("data_file=DATA,data_file_raw=on")]
    [InlineData("data_file=DATA,extended_l2=on")]
    [InlineData("preallocation=metadata")]
    [InlineData("preallocation=full")]
    [InlineData("compression_type=zstd")]
    public async Task An_image_of_qemus_is_read_and_written(string options)
    {
        Qemu.SkipWhenMissing();
        const int SizeBytes = 12 * 1024 * 1024 + 512;
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".qcow2");
        options = options.Replace("DATA", _folder.NewFile(), StringComparison.Ordinal);
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", options, path, $"{SizeBytes}");
        Qemu.Io(
            path,
            "write -P 17 0 1M",
            "write -P 18 5000 3000",
            "write -P 19 3M 70000",
            "write -z 512k 128k",
            "write -z -u 3145728 65536",
            "write -P 20 12582912 512",
            "discard 128k 64k");
        ReferenceDisk disk = new(SizeBytes);
        disk.Write(0, Qemu.Content(path));
        await using (ImageNode node = Images.Open(path))
        {
            await disk.CheckAllAsync(node, "what QEMU wrote");
            await disk.CheckStatusAsync(node);
            await RandomAsync(node, disk, seeds);
            await disk.CheckAllAsync(node);
        }

        Images.CheckWithQemu(path, disk);
        Qemu.Io(path, "write -P 33 2M 3M", "discard 0 1M");
        disk.Discard(new BlockRange(0, 1024 * 1024));
        disk.Write(2 * 1024 * 1024, Enumerable.Repeat((byte)33, 3 * 1024 * 1024).ToArray());
        Images.CheckWithQemu(path, disk, "after QEMU wrote to it again");
    }

    [Fact]
    public async Task Bitmaps_of_qemus_are_declared_stale_before_the_first_write()
    {
        Qemu.SkipWhenMissing();
        string path = _folder.NewFile(".qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", path, "4M");
        Qemu.Image("bitmap", "--add", path, "nightly");
        byte[] before = File.ReadAllBytes(path);
        Assert.Equal(1, before[Qcow2Header.AutoclearField + 7]);
        await using (ImageNode node = Images.Open(path))
        {
            await node.ReadAsync(0, new byte[512], CancellationToken.None);
            await node.FlushAsync(CancellationToken.None);
        }

        Assert.Equal(before, File.ReadAllBytes(path));
        await using (ImageNode node = Images.Open(path))
        {
            await node.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None);
        }

        Assert.Equal(0, File.ReadAllBytes(path)[Qcow2Header.AutoclearField + 7]);
    }

    private static async Task RandomAsync(ImageNode node, ReferenceDisk disk, Seeds seeds)
    {
        const int Threads = 4;
        long stripeBytes = disk.LengthBytes / Threads / 512 * 512;
        await OnThreadsAsync(Threads, async index =>
        {
            Seeds own;
            lock (seeds)
            {
                own = seeds.Fork();
            }

            long startBytes = index * stripeBytes;
            BlockRange part = BlockRange.FromEnds(
                startBytes, index == Threads - 1 ? disk.LengthBytes : startBytes + stripeBytes);
            for (int i = 0; i < 150; i++)
            {
                await Images.RandomRequestAsync(node, disk, own, part);
            }
        });
    }

    private static Task OnThreadsAsync(int count, Func<int, Task> work) =>
        Task.WhenAll(Enumerable.Range(0, count).Select(index => Task.Run(() => work(index))));
}
