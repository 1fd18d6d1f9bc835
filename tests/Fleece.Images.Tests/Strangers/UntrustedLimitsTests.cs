// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Checking;
using Xunit;

namespace Fleece.Images.Tests.Strangers;

/// <summary>The most that an untrusted image may claim and cost.</summary>
public sealed class UntrustedLimitsTests : IDisposable
{
    private const long TiB = 1L << 40;
    private const int SizeOffsetBytes = 24;
    private const int FeaturesOffsetBytes = 72;

    private readonly StrangersFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Not a limit of untrusted images: no table reaches past the end of its file.
    [Fact]
    public async Task A_small_file_that_claims_8_EiB_is_refused_in_any_case()
    {
        string path = _folder.Upload("evil.qcow2");
        byte[] content = Images.Empty(StrangersFolder.DiskBytes, 512);
        BinaryPrimitives.WriteInt64BigEndian(content.AsSpan(SizeOffsetBytes), long.MaxValue - 511);
        File.WriteAllBytes(path, content);
        Assert.InRange(content.Length, 1, 10 * 1024);

        _ = await Images.FailsAsync(ImageErrors.Corrupt, async () => await StrangersFolder.OpenAsync(path));
    }

    [Fact]
    public async Task A_disk_of_more_than_64_TiB_is_refused()
    {
        Qemu.SkipWhenMissing();
        string path = _folder.Upload("large.qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", path, "65T");

        BlockException refusal = await StrangersFolder.RefusesAsync(ImageErrors.LimitExceeded, path);
        Assert.Contains($"{64 * TiB}", refusal.Message, StringComparison.Ordinal);
        _ = await Images.FailsAsync(
            ImageErrors.LimitExceeded,
            async () => await Image.GetInfoAsync(path, null, CancellationToken.None, UntrustedLimits.Default));
        _ = await Images.FailsAsync(
            ImageErrors.LimitExceeded,
            async () => await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None, UntrustedLimits.Default));

        await using IBlockNode node = await StrangersFolder.OpenAsync(path);
    }

    [Theory]
    [InlineData("disk.qcow2", 64)]
    [InlineData("disk.vhdx", 64)]
    [InlineData("disk.vhd", 1)]
    public async Task The_largest_disks_that_others_make_are_within_the_limits(string name, long sizeTiB)
    {
        string path = _folder.Upload(name);
        await Image.CreateAsync(path, new ImageCreateOptions { Format = Image.FormatForNewFile(path), SizeBytes = sizeTiB * TiB });

        await using IBlockNode node = await StrangersFolder.OpenAsync(path, untrusted: UntrustedLimits.Default);

        _ = await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None, UntrustedLimits.Default);
    }

    // 1 MiB of L1 table, 2 MiB of block allocation table, 2 MiB of BAT.
    [Theory]
    [InlineData("disk.qcow2", 64)]
    [InlineData("disk.vhd", 1)]
    [InlineData("disk.vhdx", 8)]
    public async Task Tables_are_counted_before_they_are_read(string name, long sizeTiB)
    {
        string path = _folder.Upload(name);
        await Image.CreateAsync(path, new ImageCreateOptions { Format = Image.FormatForNewFile(path), SizeBytes = sizeTiB * TiB });

        BlockException refusal = await StrangersFolder.RefusesAsync(
            ImageErrors.LimitExceeded, path, new UntrustedLimits { MaximumTableBytes = 1024 * 1024 });

        Assert.Contains("memory", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bitmaps_count_as_tables()
    {
        Qemu.SkipWhenMissing();
        string path = _folder.Upload("disk.qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", path, "1T");
        UntrustedLimits limits = new() { MaximumTableBytes = 3 * 1024 * 1024 };
        await using (IBlockNode node = await StrangersFolder.OpenAsync(path, untrusted: limits))
        {
        }

        Qemu.Image("bitmap", "--add", "-g", "65536", path, "one");
        await using (IBlockNode node = await StrangersFolder.OpenAsync(path, untrusted: limits))
        {
        }

        Qemu.Image("bitmap", "--add", "-g", "65536", path, "two");
        _ = await StrangersFolder.RefusesAsync(ImageErrors.LimitExceeded, path, limits);
    }

    [Fact]
    public async Task Tables_of_a_chain_count_together()
    {
        string path = await MakeChainAsync(3);
        UntrustedLimits enough = new() { MaximumTableBytes = 3 * (64 * 1024 + 512) };
        await using (IBlockNode node = await StrangersFolder.OpenAsync(path, untrusted: enough))
        {
        }

        _ = await StrangersFolder.RefusesAsync(
            ImageErrors.LimitExceeded, path, enough with { MaximumTableBytes = 2 * (64 * 1024 + 512) });
    }

    [Fact]
    public async Task A_chain_has_16_images_at_most()
    {
        string path = await MakeChainAsync(16);
        await using (IBlockNode node = await StrangersFolder.OpenAsync(path, untrusted: UntrustedLimits.Default))
        {
        }

        string longer = _folder.Upload("longer.qcow2");
        await Image.CreateAsync(longer, new ImageCreateOptions { Format = ImageFormat.Qcow2, ParentPath = path });
        _ = await StrangersFolder.RefusesAsync(ImageErrors.LimitExceeded, longer);
        await using IBlockNode trusted = await StrangersFolder.OpenAsync(longer);
    }

    [Fact]
    public async Task A_check_ends_when_its_time_is_over()
    {
        string path = await MakeChainAsync(1);

        BlockException refusal = await Images.FailsAsync(
            ImageErrors.LimitExceeded,
            async () => await Image.CheckAsync(
                path, null, ImageRepair.All, CancellationToken.None, new UntrustedLimits { CheckTime = TimeSpan.Zero }));

        Assert.Contains("examined", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_refcounts_of_a_dirty_image_are_counted_within_the_time_of_a_check()
    {
        string path = await MakeChainAsync(1);
        byte[] content = File.ReadAllBytes(path);
        content[FeaturesOffsetBytes + 7] |= 1;
        File.WriteAllBytes(path, content);

        _ = await Images.FailsAsync(
            ImageErrors.LimitExceeded,
            async () => await Image.OpenAsync(
                path, new ImageOpenOptions { Untrusted = new UntrustedLimits { CheckTime = TimeSpan.Zero } }));

        Assert.Equal(content, File.ReadAllBytes(path));
        (IBlockNode node, _) = await Image.OpenAsync(path, new ImageOpenOptions { Untrusted = UntrustedLimits.Default });
        await node.DisposeAsync();
    }

    [Fact]
    public void Time_that_is_over_and_a_caller_that_cancels_are_told_apart()
    {
        using CancellationTokenSource caller = new();
        UntrustedLimits limits = new() { CheckTime = TimeSpan.FromMilliseconds(1) };
        BlockException failure = Assert.Throws<BlockException>(() => UntrustedLimits.WithinCheckTime(
            limits,
            "x",
            token =>
            {
                token.WaitHandle.WaitOne();
                token.ThrowIfCancellationRequested();
                return 0;
            },
            caller.Token));
        Assert.Equal(ImageErrors.LimitExceeded, failure.Kind);

        caller.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => UntrustedLimits.WithinCheckTime(
            UntrustedLimits.Default,
            "x",
            token =>
            {
                token.ThrowIfCancellationRequested();
                return 0;
            },
            caller.Token));
    }

    private async Task<string> MakeChainAsync(int count)
    {
        string? parent = null;
        for (int i = 0; i < count; i++)
        {
            string path = _folder.Upload($"{i}.qcow2");
            await Image.CreateAsync(path, new ImageCreateOptions
            {
                Format = ImageFormat.Qcow2,
                SizeBytes = StrangersFolder.DiskBytes,
                ParentPath = parent,
            });
            parent = path;
        }

        return parent!;
    }
}
