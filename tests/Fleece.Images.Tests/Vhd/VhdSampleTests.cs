// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Checking;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>Images that other programs made, from the sources of QEMU (tests/qemu-iotests/sample_images), whose licence keeps them
/// out of this repository: FLEECE_QEMU_SAMPLES names a folder that holds them unpacked.</summary>
public sealed class VhdSampleTests
{
    private static readonly string? Folder = Environment.GetEnvironmentVariable("FLEECE_QEMU_SAMPLES");

    [Theory]
    [InlineData("hyperv2012r2-dynamic.vhd", 136_365_211_648, "creator 'win ' 6.3")]
    [InlineData("virtualpc-dynamic.vhd", 136_363_130_880, "creator 'vpc ' 1.0")]
    [InlineData("d2v-zerofilled.vhd", 263_454_720, "creator 'd2v?' 1.0")]
    public async Task A_sample_is_described_checked_and_read_as_qemu_reads_it(string name, long sizeBytes, string creator)
    {
        string path = Find(name);
        Peer.Need("qemu-img");

        ImageInfo info = await Image.GetInfoAsync(path, null, CancellationToken.None);
        Assert.Equal((ImageFormat.Vhd, sizeBytes), (info.Format, info.SizeBytes));
        Assert.Contains(creator, info.Features);
        ImageReport report = await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None);
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
        await using IBlockNode node = await VhdImages.OpenAsync(path, isReadOnly: true);
        using TempFolder folder = new();
        string raw = folder.File("content.raw");
        Qemu.Image("convert", "-f", "vpc", "-O", "raw", path, raw);
        await using FileStream content = File.OpenRead(raw);
        byte[] expected = new byte[1 << 20];
        byte[] read = new byte[expected.Length];
        await foreach ((long offsetBytes, BlockStatusRun run) in node.EnumerateStatusAsync(new BlockRange(0, sizeBytes)))
        {
            for (long done = 0; done < run.LengthBytes && (run.Status == BlockStatus.Data || done == 0); done += read.Length)
            {
                int count = (int)Math.Min(read.Length, run.LengthBytes - done);
                content.Position = offsetBytes + done;
                await content.ReadExactlyAsync(expected.AsMemory(0, count));
                await node.ReadAsync(offsetBytes + done, read.AsMemory(0, count), CancellationToken.None);
                Assert.True(expected.AsSpan(0, count).SequenceEqual(read.AsSpan(0, count)), $"at {offsetBytes + done}");
            }
        }
    }

    [Theory]
    [InlineData("hyperv2012r2-dynamic.vhd")]
    [InlineData("virtualpc-dynamic.vhd")]
    public async Task A_sample_that_is_written_to_is_read_by_qemu(string name)
    {
        Peer.Need("qemu-img", "qemu-io");
        using TempFolder folder = new();
        string path = folder.File("copy.vhd");
        File.Copy(Find(name), path);
        byte[] data = Enumerable.Repeat((byte)0x5a, 3 << 20).ToArray();
        await using (IBlockNode node = await VhdImages.OpenAsync(path))
        {
            await node.WriteAsync(100L << 20, data, WriteFlags.None, CancellationToken.None);
        }

        string output = await Peer.RunAsync("qemu-io", "-f", "vpc", "-c", "read -P 0x5a 100M 3M", "-c", "read -P 0 103M 1M", path);
        Assert.DoesNotContain("failed", output, StringComparison.OrdinalIgnoreCase);
        Assert.True((await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None)).IsClean);
    }

    private static string Find(string name)
    {
        Assert.SkipWhen(Folder is null, "FLEECE_QEMU_SAMPLES names no folder with QEMU's sample images.");
        string path = Path.Combine(Folder, name);
        Assert.SkipUnless(File.Exists(path), $"FLEECE_QEMU_SAMPLES holds no {name}.");
        return path;
    }
}
