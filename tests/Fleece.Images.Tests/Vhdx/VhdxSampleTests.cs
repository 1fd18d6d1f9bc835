// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>Images of other programs from QEMU's source, which are under the GPL and so not here: FLEECE_QEMU_SAMPLES names
/// the folder tests/qemu-iotests/sample_images of an unpacked QEMU.</summary>
public sealed class VhdxSampleTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("iotest-dynamic-1G.vhdx.bz2", false)]
    [InlineData("iotest-dirtylog-10G-4M.vhdx.bz2", true)]
    [InlineData("test-disk2vhd.vhdx.bz2", false)]
    public async Task A_sample_reads_as_qemu_reads_it_before_and_after_it_was_written_to(string name, bool isDirty)
    {
        string path = await UnpackAsync(name);
        ImageInfo info = await Image.GetInfoAsync(path, null, CancellationToken.None);
        Assert.Equal(isDirty, info.IsDirty);
        byte[] before = await File.ReadAllBytesAsync(path);
        await using ImageNode readOnly = VhdxImages.Open(path, isReadOnly: true);
        string copy = path + ".copy.vhdx";
        await File.WriteAllBytesAsync(copy, before);
        await Peer.RunAsync("qemu-img", "check", "-r", "all", "-f", "vhdx", copy);
        await CheckAgainstQemuAsync(readOnly, copy);
        Assert.Equal(before, await File.ReadAllBytesAsync(path));
        await readOnly.DisposeAsync();
        ImageReport report = await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None);
        Assert.True(report.CorruptionCount == 0, string.Join('\n', report.Findings));

        byte[] data = Seeds.FromEnvironment().Bytes(10_000);
        await using (ImageNode node = VhdxImages.Open(path))
        {
            await node.WriteAsync(100_000_123, data, WriteFlags.None, CancellationToken.None);
        }

        await using ImageNode again = VhdxImages.Open(path, isReadOnly: true);
        byte[] read = new byte[data.Length];
        await again.ReadAsync(100_000_123, read, CancellationToken.None);
        Assert.Equal(data, read);
        await Peer.RunAsync("qemu-img", "check", "-f", "vhdx", path);
        await CheckAgainstQemuAsync(again, path);
    }

    private async ValueTask<string> UnpackAsync(string name)
    {
        string? samples = Environment.GetEnvironmentVariable("FLEECE_QEMU_SAMPLES");
        Assert.SkipWhen(string.IsNullOrEmpty(samples), "FLEECE_QEMU_SAMPLES does not name QEMU's sample images.");
        Peer.Need("bzip2", "qemu-img");
        string packed = _folder.File(name);
        File.Copy(Path.Combine(samples, name), packed);
        await Peer.RunAsync("bzip2", "-d", packed);
        return Path.ChangeExtension(packed, null);
    }

    // QEMU's reading as a raw file with holes; what is a hole there must read as zeros here too.
    private static async Task CheckAgainstQemuAsync(ImageNode node, string path)
    {
        string raw = path + ".raw";
        await Peer.RunAsync("qemu-img", "convert", "-f", "vhdx", "-O", "raw", path, raw);
        await using FileStream expected = File.OpenRead(raw);
        byte[] here = new byte[4 * 1024 * 1024];
        byte[] there = new byte[here.Length];
        for (long atBytes = 0; atBytes < node.Geometry.LengthBytes; atBytes += here.Length)
        {
            int lengthBytes = (int)Math.Min(here.Length, node.Geometry.LengthBytes - atBytes);
            await expected.ReadExactlyAsync(there.AsMemory(0, lengthBytes));
            await node.ReadAsync(atBytes, here.AsMemory(0, lengthBytes), CancellationToken.None);
            Assert.True(here.AsSpan(0, lengthBytes).SequenceEqual(there.AsSpan(0, lengthBytes)), $"differs behind {atBytes}");
        }
    }
}
