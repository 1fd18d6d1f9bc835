// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using System.Text.Json;
using Fleece.Block;
using Fleece.Images.Checking;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>Images that QEMU makes and Fleece reads and writes, and the other way round. QEMU knows no chains.</summary>
public sealed class VhdAgainstQemuTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("subformat=dynamic,force_size=off", 12 * 1024 * 1024 + 512)]
    [InlineData("subformat=dynamic,force_size=on", 12 * 1024 * 1024 + 1536)]
    [InlineData("subformat=fixed,force_size=off", 3 * 1024 * 1024 + 512)]
    [InlineData("subformat=fixed,force_size=on", 3 * 1024 * 1024 + 2560)]
    public async Task An_image_of_qemus_is_read_and_written(string options, long sizeBytes)
    {
        Peer.Need("qemu-img", "qemu-io");
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".vhd");
        Qemu.Image("create", "-q", "-f", "vpc", "-o", options, path, $"{sizeBytes}");
        await IoAsync(path, "write -P 17 0 1M", "write -P 18 5120 3072", "write -P 19 2M 70656");
        byte[] content = Content(path);
        ReferenceDisk disk = new(content.Length);
        disk.Write(0, content);
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            Assert.Equal(content.Length, node.Geometry.LengthBytes);
            Assert.True(content.Length >= sizeBytes);
            await disk.CheckAllAsync(node, "what QEMU wrote");
            await RandomAsync(node, disk, seeds);
            await disk.CheckAllAsync(node);
            await disk.CheckStatusAsync(node);
        }

        Assert.True((await CheckAsync(path)).IsClean);
        disk.Check(0, Content(path), "as QEMU reads it");
        await IoAsync(path, "write -P 33 1M 1M");
        disk.Write(1024 * 1024, Enumerable.Repeat((byte)33, 1024 * 1024).ToArray());
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            await disk.CheckAllAsync(node, "after QEMU wrote to it again");
        }
    }

    [Theory]
    [InlineData(false, VhdLimits.DefaultBlockBytes, 512)]
    [InlineData(false, VhdLimits.DefaultBlockBytes, 30 * 1024 * 1024 + 1536)]
    [InlineData(false, VhdLimits.SmallBlockBytes, 7 * 1024 * 1024 + 512)]
    [InlineData(true, null, 5 * 1024 * 1024 + 512)]
    public async Task An_image_made_here_is_read_and_written_by_qemu(bool isFixed, int? blockBytes, int sizeBytes)
    {
        Peer.Need("qemu-img", "qemu-io");
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".vhd");
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Vhd,
            SizeBytes = sizeBytes,
            IsFixed = isFixed,
            BlockSizeBytes = blockBytes,
        });
        ReferenceDisk disk = new(sizeBytes);
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            await RandomAsync(node, disk, seeds);
            await disk.CheckAllAsync(node);
        }

        disk.Check(0, Content(path), "as QEMU reads it");
        int half = sizeBytes / 2 / 512 * 512;
        await IoAsync(path, $"write -P 44 {half} 512");
        disk.Write(half, Enumerable.Repeat((byte)44, 512).ToArray());
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            await disk.CheckAllAsync(node, "after QEMU wrote to it");
        }

        disk.Check(0, VhdReader.ReadFile(path), "as the second reader reads it");
    }

    [Theory]
    [InlineData(512, false)]
    [InlineData(1024 * 1024 + 512, false)]
    [InlineData(1024 * 1024 + 512, true)]
    [InlineData(65535L * 16 * 63 * 512, false)]
    [InlineData(65535L * 16 * 255 * 512 + 512, false)]
    [InlineData(VhdLimits.MaxSizeBytes, false)]
    public async Task A_new_disk_has_the_same_size_for_qemu_and_for_us(long sizeBytes, bool isFixed)
    {
        Peer.Need("qemu-img");
        string path = _folder.NewFile(".vhd");

        await Image.CreateAsync(
            path, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = sizeBytes, IsFixed = isFixed });

        Assert.Equal(sizeBytes, (await Image.GetInfoAsync(path, ImageFormat.Vhd, CancellationToken.None)).SizeBytes);
        Assert.Equal(sizeBytes, SizeByQemu(path));
    }

    // 1000 cylinders of 16 heads with 17 sectors each are 139,264,000 bytes; the current size says more.
    [Theory]
    [InlineData("vpc ", 139_264_000)]
    [InlineData("qemu", 139_264_000)]
    [InlineData("win ", 140_000_256)]
    [InlineData("qem2", 140_000_256)]
    [InlineData("d2v ", 140_000_256)]
    [InlineData("tap\0", 140_000_256)]
    [InlineData("CTXS", 140_000_256)]
    public async Task Geometry_or_size_counts_by_the_creator_for_qemu_and_for_us(string creator, long expectedBytes)
    {
        const long CurrentBytes = 140_000_256;
        Peer.Need("qemu-img");
        byte[] image = VhdImages.Empty(VhdDiskType.Dynamic, CurrentBytes);
        VhdImages.PatchFooters(image, footer =>
        {
            Encoding.Latin1.GetBytes(creator).CopyTo(footer, 28);
            new byte[] { 1000 / 256, 1000 % 256, 16, 17 }.CopyTo(footer, 56);
        });
        string path = _folder.NewFile(".vhd");
        await File.WriteAllBytesAsync(path, image);

        await using IBlockNode node = await VhdImages.OpenAsync(path, isReadOnly: true);
        Assert.Equal(expectedBytes, node.Geometry.LengthBytes);
        Assert.Equal(expectedBytes, SizeByQemu(path));
    }

    [Fact]
    public async Task The_largest_geometry_leaves_the_size_to_the_footer_whoever_made_it()
    {
        const long SizeBytes = 65535L * 16 * 255 * 512 + (7 << 20);
        Peer.Need("qemu-img");
        byte[] image = VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes);
        VhdImages.PatchFooters(image, footer => "vpc "u8.CopyTo(footer.AsSpan(28)));
        string path = _folder.NewFile(".vhd");
        await File.WriteAllBytesAsync(path, image);

        await using IBlockNode node = await VhdImages.OpenAsync(path, isReadOnly: true);
        Assert.Equal(SizeBytes, node.Geometry.LengthBytes);
        Assert.Equal(SizeBytes, SizeByQemu(path));
    }

    [Fact]
    public async Task The_end_of_a_disk_of_2040_GiB_is_written_and_read()
    {
        Peer.Need("qemu-img", "qemu-io");
        string path = _folder.NewFile(".vhd");
        await Image.CreateAsync(path, new ImageCreateOptions
        {
            Format = ImageFormat.Vhd,
            SizeBytes = VhdLimits.MaxSizeBytes,
            BlockSizeBytes = VhdLimits.SmallBlockBytes,
        });
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            await node.WriteAsync(VhdLimits.MaxSizeBytes - 512, Enumerable.Repeat((byte)7, 512).ToArray(), WriteFlags.None, default);
            BlockStatusRun run = await node.GetStatusAsync(0, VhdLimits.MaxSizeBytes, CancellationToken.None);
            Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, VhdLimits.MaxSizeBytes - VhdLimits.SmallBlockBytes), run);
        }

        await IoAsync(path, $"read -P 7 {VhdLimits.MaxSizeBytes - 512} 512", "read -P 0 0 1M");
        ImageReport report = await CheckAsync(path);
        Assert.True(report.IsClean);
        Assert.Equal(1, report.AllocatedBlockCount);
    }

    private static async Task RandomAsync(IBlockNode node, ReferenceDisk disk, Seeds seeds)
    {
        const int Threads = 4;
        long stripeBytes = disk.LengthBytes / Threads;
        await Task.WhenAll(Enumerable.Range(0, Threads).Select(index =>
        {
            Seeds own = seeds.Fork();
            BlockRange part = BlockRange.FromEnds(
                index * stripeBytes, index == Threads - 1 ? disk.LengthBytes : (index + 1) * stripeBytes);
            return Task.Run(async () =>
            {
                for (int i = 0; i < 80; i++)
                {
                    await Images.RandomRequestAsync(node, disk, own, part);
                }
            });
        }));
    }

    private static async Task<ImageReport> CheckAsync(string path) =>
        await Image.CheckAsync(path, ImageFormat.Vhd, ImageRepair.None, CancellationToken.None);

    private static async Task IoAsync(string path, params string[] commands)
    {
        List<string> arguments = ["-f", "vpc"];
        foreach (string command in commands)
        {
            arguments.AddRange(["-c", command]);
        }

        arguments.Add(path);
        string output = await Peer.RunAsync("qemu-io", [.. arguments]);
        Assert.DoesNotContain("failed", output, StringComparison.OrdinalIgnoreCase);
    }

    private static long SizeByQemu(string path)
    {
        using JsonDocument info = JsonDocument.Parse(Qemu.Image("info", "-f", "vpc", "--output=json", path));
        return info.RootElement.GetProperty("virtual-size").GetInt64();
    }

    private static byte[] Content(string path)
    {
        string raw = string.Create(CultureInfo.InvariantCulture, $"{path}.converted");
        Qemu.Image("convert", "-f", "vpc", "-O", "raw", path, raw);
        byte[] bytes = File.ReadAllBytes(raw);
        File.Delete(raw);
        return bytes;
    }
}
