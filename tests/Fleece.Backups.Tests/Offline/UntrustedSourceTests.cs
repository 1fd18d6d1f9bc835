// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Backups.Offline;
using Fleece.Backups.Writing;
using Fleece.Block;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Backups.Tests.Offline;

/// <summary>A qcow2 of which every cluster is the same compressed one: a small file that shows a large disk, to QEMU too.</summary>
public sealed class UntrustedSourceTests : IDisposable
{
    private const int ClusterBytes = 64 * 1024;
    private const int DiskBytes = 64 * 1024 * 1024;
    private const int L1OffsetField = 40;
    private const long OffsetMask = 0x00ff_ffff_ffff_fe00;

    private readonly TempFolder _folder = new();

    private string BombPath => _folder.File("bomb.qcow2");

    private string CopyPath => _folder.File("copy.raw");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_conversion_ends_when_the_disk_shows_too_much_for_what_its_file_stores()
    {
        await MakeBombAsync();
        UntrustedLimits limits = new() { FreeReadBytes = 1024 * 1024, ReadBytesPerStoredByte = 16 };

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(() => ConvertAsync(limits));

        Assert.Equal(ImageErrors.LimitExceeded, refusal.Kind);
        Assert.Contains(BombPath, refusal.Message, StringComparison.Ordinal);
        Assert.Equal([BombPath], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task A_comparison_ends_when_the_disk_shows_too_much_for_what_its_file_stores()
    {
        await MakeBombAsync();
        string other = _folder.File("other.qcow2");
        File.Copy(BombPath, other);
        ImageOpenOptions options = new() { Untrusted = new UntrustedLimits { FreeReadBytes = 0, ReadBytesPerStoredByte = 16 } };
        await using ImageComparer comparer = new(
            await ImageSource.OpenAsync(BombPath, options, null), await ImageSource.OpenAsync(other, options, null));

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () =>
        {
            while (await comparer.StepAsync())
            {
            }
        });

        Assert.Equal(ImageErrors.LimitExceeded, refusal.Kind);
    }

    [Fact]
    public async Task A_conversion_takes_its_part_of_the_free_space_at_most()
    {
        await MakeBombAsync();

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            () => ConvertAsync(new UntrustedLimits { FreeSpaceDivisor = int.MaxValue }));

        Assert.Equal(ImageErrors.LimitExceeded, refusal.Kind);
        Assert.Contains("free space", refusal.Message, StringComparison.Ordinal);
        Assert.Equal([BombPath], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public async Task A_fixed_image_is_judged_by_its_whole_size()
    {
        string empty = _folder.File("empty.qcow2");
        await Image.CreateAsync(empty, new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = DiskBytes });
        FileTargetOptions destination = new()
        {
            Path = _folder.File("copy.vhd"),
            Image = new ImageCreateOptions { Format = ImageFormat.Vhd, IsFixed = true },
        };
        ImageOpenOptions source = new() { Untrusted = new UntrustedLimits { FreeSpaceDivisor = int.MaxValue } };

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await ImageConversion.OpenAsync(empty, source, destination, null));

        Assert.Equal(ImageErrors.LimitExceeded, refusal.Kind);
        Assert.Equal([empty], Directory.GetFiles(_folder.Path));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task What_is_within_the_limits_is_copied_as_QEMU_copies_it(bool isUntrusted)
    {
        await MakeBombAsync();
        string expected = _folder.File("expected.raw");
        await Peer.RunAsync("qemu-img", "convert", "-f", "qcow2", "-O", "raw", BombPath, expected);

        await ConvertAsync(isUntrusted ? UntrustedLimits.Default : null);

        Assert.Equal(DiskBytes, new FileInfo(CopyPath).Length);
        byte[] copied = await File.ReadAllBytesAsync(CopyPath);
        byte[] converted = await File.ReadAllBytesAsync(expected);
        Assert.True(copied.AsSpan().SequenceEqual(converted));
    }

    private async Task ConvertAsync(UntrustedLimits? limits)
    {
        FileTargetOptions destination = new() { Path = CopyPath, Image = new ImageCreateOptions { Format = ImageFormat.Raw } };
        await using ImageConversion conversion = await ImageConversion.OpenAsync(
            BombPath, new ImageOpenOptions { Untrusted = limits }, destination, null);
        while (await conversion.StepAsync())
        {
        }

        await conversion.CompleteAsync();
    }

    // The first cluster is compressed by QEMU; then its table's first entry stands in for all others.
    private async Task MakeBombAsync()
    {
        Peer.Need("qemu-img");
        string pattern = _folder.File("pattern.raw");
        byte[] content = new byte[ClusterBytes];
        Array.Fill(content, (byte)0x5a);
        await File.WriteAllBytesAsync(pattern, content);
        await Peer.RunAsync("qemu-img", "resize", "-q", "-f", "raw", pattern, $"{DiskBytes}");
        await Peer.RunAsync("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", pattern, BombPath);
        File.Delete(pattern);
        byte[] image = await File.ReadAllBytesAsync(BombPath);
        Repeat(image);
        await File.WriteAllBytesAsync(BombPath, image);
        Assert.InRange(image.Length, 1, 1024 * 1024);
    }

    private static void Repeat(byte[] image)
    {
        int l1Bytes = (int)BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(L1OffsetField));
        int l2Bytes = (int)(BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(l1Bytes)) & OffsetMask);
        Span<byte> table = image.AsSpan(l2Bytes, DiskBytes / ClusterBytes * sizeof(long));
        for (int at = sizeof(long); at < table.Length; at += sizeof(long))
        {
            table[..sizeof(long)].CopyTo(table[at..]);
        }
    }
}
