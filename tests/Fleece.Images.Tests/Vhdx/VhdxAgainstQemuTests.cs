// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhdx.Blocks;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>Images of Fleece's read and checked by QEMU, and the other way round. QEMU knows neither parents nor sectors of
/// 4 KiB.</summary>
public sealed class VhdxAgainstQemuTests : IDisposable
{
    private const int MiB = VhdxImages.MiB;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(512, null, false)]
    [InlineData(3 * MiB, MiB, true)]
    [InlineData((33 * MiB) + 512, null, true)]
    [InlineData(5L << 30, 256 * MiB, false)]
    [InlineData(5L << 30, MiB, false)]
    [InlineData(64L << 40, 32 * MiB, false)]
    public async Task A_new_image_is_clean(long sizeBytes, int? blockBytes, bool isFixed)
    {
        Peer.Need("qemu-img");
        string path = _folder.NewFile(".vhdx");

        await Image.CreateAsync(path, VhdxImages.Options(sizeBytes, blockBytes, isFixed: isFixed));

        await Peer.RunAsync("qemu-img", "check", "-f", "vhdx", path);
        Assert.Contains($"({sizeBytes} bytes)", await Peer.RunAsync("qemu-img", "info", path), StringComparison.Ordinal);
        Assert.True((await CheckAsync(path)).IsClean);
    }

    [Theory]
    [InlineData(MiB, 12 * MiB, false)]
    [InlineData(2 * MiB, (13 * MiB) + 1536, false)]
    [InlineData(32 * MiB, 40 * MiB, false)]
    [InlineData(MiB, (9 * MiB) + 512, true)]
    public async Task Random_requests_leave_what_they_should(int blockBytes, int sizeBytes, bool isFixed)
    {
        Peer.Need("qemu-img");
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".vhdx");
        await Image.CreateAsync(path, VhdxImages.Options(sizeBytes, blockBytes, isFixed: isFixed));
        ReferenceDisk disk = new(sizeBytes);
        for (int round = 0; round < 2; round++)
        {
            await using (ImageNode node = VhdxImages.Open(path))
            {
                for (int i = 0; i < 200; i++)
                {
                    await VhdxImages.RandomRequestAsync(node, disk, seeds);
                }

                await disk.CheckAllAsync(node);
                await disk.CheckStatusAsync(node);
            }

            await CheckWithQemuAsync(path, disk, $"round {round}");
            Assert.True((await CheckAsync(path)).IsClean);
        }
    }

    [Theory]
    [InlineData("subformat=dynamic")]
    [InlineData("subformat=dynamic,block_size=1M")]
    [InlineData("subformat=dynamic,block_size=1M,block_state_zero=off")]
    [InlineData("subformat=dynamic,block_size=256M")]
    [InlineData("subformat=dynamic,block_size=2M,log_size=4M")]
    [InlineData("subformat=fixed,block_size=1M")]
    [InlineData("subformat=fixed")]
    public async Task An_image_of_qemus_is_read_and_written(string options)
    {
        Peer.Need("qemu-img", "qemu-io");
        const int SizeBytes = (12 * MiB) + 512;
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.NewFile(".vhdx");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "vhdx", "-o", options, path, $"{SizeBytes}");
        await QemuIoAsync(path, "write -P 17 0 1M", "write -P 18 5120 3072", "write -P 19 3M 70144", "write -P 20 12582912 512");
        ReferenceDisk disk = new(SizeBytes);
        disk.Write(0, await QemuContentAsync(path));
        Assert.Equal(18, disk.Content[5120]);
        ImageReport report = await CheckAsync(path);
        Assert.True(report.CorruptionCount == 0, string.Join('\n', report.Findings));
        await using (ImageNode node = VhdxImages.Open(path))
        {
            await disk.CheckAllAsync(node, "what QEMU wrote");
            await disk.CheckStatusAsync(node);
            for (int i = 0; i < 150; i++)
            {
                await VhdxImages.RandomRequestAsync(node, disk, seeds);
            }

            await disk.CheckAllAsync(node);
        }

        await CheckWithQemuAsync(path, disk, "after Fleece wrote to it");
        await QemuIoAsync(path, "write -P 33 2M 3M", "write -P 34 8M 512");
        disk.Write(2 * MiB, Enumerable.Repeat((byte)33, 3 * MiB).ToArray());
        disk.Write(8 * MiB, Enumerable.Repeat((byte)34, 512).ToArray());
        await CheckWithQemuAsync(path, disk, "after QEMU wrote to it again");
    }

    // A process that dies leaves a log; QEMU replays it and finds what had been flushed.
    [Fact]
    public async Task A_log_of_fleeces_is_replayed_by_qemu()
    {
        Peer.Need("qemu-img");
        Seeds seeds = Seeds.FromEnvironment();
        MemoryContainer container = new(VhdxImages.Empty(8 * MiB));
        ImageNode node = VhdxImages.Open(container);
        ReferenceDisk disk = new(8 * MiB);
        for (int i = 0; i < 3; i++)
        {
            byte[] data = seeds.Bytes(MiB + 4096);
            await node.WriteAsync(i * 2 * MiB, data, WriteFlags.None, CancellationToken.None);
            await node.FlushAsync(CancellationToken.None);
            disk.Write(i * 2 * MiB, data);
        }

        byte[] crashed = container.Crash(() => false);
        Assert.NotEqual(0UL, new BatEntry(VhdxImages.Word(container.Content, VhdxImages.BatOffsetBytes + 40)).Value);
        Assert.Equal(0UL, VhdxImages.Word(crashed, VhdxImages.BatOffsetBytes + 40));
        string path = _folder.NewFile(".vhdx");
        File.WriteAllBytes(path, crashed);

        await Peer.RunAsync("qemu-img", "check", "-r", "all", "-f", "vhdx", path);

        await CheckWithQemuAsync(path, disk, "replayed by QEMU");
    }

    private static async Task<ImageReport> CheckAsync(string path) =>
        await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None);

    private static async Task QemuIoAsync(string path, params string[] commands)
    {
        List<string> arguments = ["-f", "vhdx"];
        foreach (string command in commands)
        {
            arguments.AddRange(["-c", command]);
        }

        string output = await Peer.RunAsync("qemu-io", [.. arguments, path]);
        Assert.DoesNotContain("failed", output, StringComparison.OrdinalIgnoreCase);
    }

    private static async Task<byte[]> QemuContentAsync(string path)
    {
        string raw = path + ".raw";
        await Peer.RunAsync("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, raw);
        byte[] bytes = File.ReadAllBytes(raw);
        File.Delete(raw);
        return bytes;
    }

    private static async Task CheckWithQemuAsync(string path, ReferenceDisk disk, string context)
    {
        await Peer.RunAsync("qemu-img", "check", "-f", "vhdx", path);
        disk.Check(0, await QemuContentAsync(path), context);
    }
}
