// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2.Headers;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Every sort of image that is made here: written here and read by QEMU, and the other way round.</summary>
public sealed class Qcow2VariantTests : IDisposable
{
    private const int SizeBytes = (6 * 1024 * 1024) + 512;

    private readonly TempFolder _folder = new();

    public static TheoryData<string> Variants => [.. All.Keys];

    private static Dictionary<string, ImageCreateOptions> All { get; } = new()
    {
        ["version 2"] = New() with { Version = 2 },
        ["version 2 in small clusters"] = New() with { Version = 2, BlockSizeBytes = 512 },
        ["refcounts of 1 bit"] = New() with { RefcountBits = 1 },
        ["refcounts of 2 bits"] = New() with { RefcountBits = 2, BlockSizeBytes = 512 },
        ["refcounts of 4 bits"] = New() with { RefcountBits = 4, BlockSizeBytes = 4096 },
        ["refcounts of 8 bits"] = New() with { RefcountBits = 8 },
        ["refcounts of 32 bits"] = New() with { RefcountBits = 32, BlockSizeBytes = 1024 },
        ["refcounts of 64 bits"] = New() with { RefcountBits = 64, BlockSizeBytes = 512 },
        ["clusters of 2 MiB"] = New() with { BlockSizeBytes = 2 * 1024 * 1024 },
        ["subclusters"] = New() with { HasSubclusters = true },
        ["the smallest subclusters"] = New() with { HasSubclusters = true, BlockSizeBytes = 16384 },
        ["zstd"] = New() with { Compression = ImageCompression.Zstd },
        ["a data file"] = New() with { DataFilePath = "data.raw" },
        ["a data file and subclusters"] = New() with { DataFilePath = "data.raw", HasSubclusters = true },
    };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Variants))]
    public async Task A_variant_written_here_is_clean_and_right_for_QEMU_and_back(string variant)
    {
        Qemu.SkipWhenMissing();
        string path = _folder.NewFile(".qcow2");
        await Image.CreateAsync(path, All[variant]);
        Qemu.CheckClean(path);
        Seeds seeds = Seeds.FromEnvironment();
        ReferenceDisk disk = new(SizeBytes);
        await RandomAsync(path, disk, seeds);
        Images.CheckWithQemu(path, disk, variant);
        Qemu.Io(path, "write -P 33 1M 700k", "write -z 2M 300k", "discard 0 128k", "write -P 34 6291456 512");
        disk.Write(1024 * 1024, Enumerable.Repeat((byte)33, 700 * 1024).ToArray());
        disk.WriteZeroes(new BlockRange(2 * 1024 * 1024, 300 * 1024));
        disk.Discard(new BlockRange(0, 128 * 1024));
        disk.Write(6 * 1024 * 1024, Enumerable.Repeat((byte)34, 512).ToArray());
        await RandomAsync(path, disk, seeds);
        Images.CheckWithQemu(path, disk, variant);
    }

    [Fact]
    public async Task A_data_file_keeps_the_disks_size_and_each_byte_at_its_place()
    {
        string path = _folder.File("disk.qcow2");
        await Image.CreateAsync(path, New() with { DataFilePath = "data.raw" });
        await using (ImageNode node = Images.Open(path))
        {
            await node.WriteAsync(SizeBytes - 1, new byte[] { 7 }, WriteFlags.None, CancellationToken.None);
        }

        byte[] data = await File.ReadAllBytesAsync(_folder.File("data.raw"));
        Assert.Equal(SizeBytes, data.Length);
        Assert.Equal(7, data[^1]);
        ImageInfo info = await Image.GetInfoAsync(path, null, CancellationToken.None);
        Assert.Equal(_folder.File("data.raw"), info.DataFilePath);
        Assert.Contains("external data file", info.Features);
    }

    [Fact]
    public async Task Zeroing_reaches_a_raw_data_file()
    {
        Qemu.SkipWhenMissing();
        string path = _folder.File("disk.qcow2");
        string dataPath = _folder.File("data.raw");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", $"data_file={dataPath},data_file_raw=on", path, "1M");
        await using (ImageNode node = Images.Open(path))
        {
            await node.WriteAsync(0, Seeds.FromEnvironment().Bytes(256 * 1024), WriteFlags.None, CancellationToken.None);
            await node.WriteZeroesAsync(1000, 200_000, WriteFlags.None, CancellationToken.None);
            await node.DiscardAsync(192 * 1024, 65536, CancellationToken.None);
        }

        byte[] data = await File.ReadAllBytesAsync(dataPath);
        Assert.False(data.AsSpan(1000, 200_000).ContainsAnyExcept((byte)0));
        Assert.Equal(data, Qemu.Content(path));
        Assert.Equal(Qcow2Header.RawDataFileBit, await AutoclearAsync(path));
    }

    [Fact]
    public async Task An_image_without_its_data_file_is_refused_and_the_data_file_named()
    {
        string path = _folder.File("disk.qcow2");
        await Image.CreateAsync(path, New() with { DataFilePath = "data.raw" });
        File.Delete(_folder.File("data.raw"));

        BlockException failure = Assert.Throws<BlockException>(() => Images.Open(path));

        Assert.Equal(BlockErrors.NotFound, failure.Kind);
        Assert.Contains("data.raw", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_data_files_name_with_a_null_character_is_refused()
    {
        string path = _folder.File("disk.qcow2");
        await Image.CreateAsync(path, New() with { DataFilePath = "data.raw" });
        byte[] image = await File.ReadAllBytesAsync(path);
        image[image.AsSpan().IndexOf("data.raw"u8) + 4] = 0;
        await File.WriteAllBytesAsync(path, image);

        BlockException failure = Assert.Throws<BlockException>(() => Images.Open(path));
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            () => Image.GetInfoAsync(path, null, CancellationToken.None).AsTask());

        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
        Assert.Contains("data?raw' has a null character at", failure.Message, StringComparison.Ordinal);
        Assert.Equal(failure.Message, refusal.Message);
    }

    [Fact]
    public async Task A_new_data_file_never_replaces_a_file()
    {
        await File.WriteAllTextAsync(_folder.File("data.raw"), "precious");
        string path = _folder.File("disk.qcow2");

        await Images.FailsAsync(
            BlockErrors.AlreadyExists,
            () => Image.CreateAsync(path, New() with { DataFilePath = "data.raw" }).AsTask());

        Assert.False(File.Exists(path));
        Assert.Equal("precious", await File.ReadAllTextAsync(_folder.File("data.raw")));
    }

    // Goal: a small write into a large cluster takes a subcluster, and its neighbours stay unallocated.
    [Fact]
    public async Task A_write_allocates_only_the_subclusters_it_touches()
    {
        string path = _folder.NewFile(".qcow2");
        await Image.CreateAsync(path, New() with { HasSubclusters = true });
        await using ImageNode node = Images.Open(path);
        await node.WriteAsync(5 * 2048 + 7, new byte[2048], WriteFlags.None, CancellationToken.None);
        await node.WriteZeroesAsync(6 * 2048, 2048, WriteFlags.None, CancellationToken.None);

        BlockStatusRun before = await node.GetStatusAsync(0, SizeBytes, CancellationToken.None);
        BlockStatusRun data = await node.GetStatusAsync(5 * 2048, SizeBytes / 2, CancellationToken.None);
        BlockStatusRun zeros = await node.GetStatusAsync(6 * 2048, SizeBytes / 2, CancellationToken.None);

        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, 5 * 2048), before);
        Assert.Equal(new BlockStatusRun(BlockStatus.Data, 2048), data);
        Assert.Equal(new BlockStatusRun(BlockStatus.Zero, 2048), zeros);
    }

    [Fact]
    public async Task Options_that_do_not_apply_or_contradict_each_other_are_refused_and_leave_no_file()
    {
        (ImageCreateOptions Options, string Part)[] cases =
        [
            (New() with { IsFixed = true }, "IsFixed"),
            (New() with { LogicalSectorSizeBytes = 4096 }, "LogicalSectorSizeBytes"),
            (New() with { Version = 4 }, "version 4"),
            (New() with { Version = 2, RefcountBits = 8 }, "version 3"),
            (New() with { Version = 2, HasSubclusters = true }, "version 3"),
            (New() with { Version = 2, Compression = ImageCompression.Zstd }, "version 3"),
            (New() with { Version = 2, DataFilePath = "data.raw" }, "version 3"),
            (New() with { HasSubclusters = true, BlockSizeBytes = 8192 }, "16384"),
            (New() with { RefcountBits = 3 }, "refcount width"),
            (New() with { RefcountBits = 128 }, "refcount width"),
            (New() with { BlockSizeBytes = 256 }, "cluster size"),
            (New() with { BlockSizeBytes = 512, SizeBytes = 1L << 40 }, "larger clusters"),
        ];
        foreach ((ImageCreateOptions options, string part) in cases)
        {
            string path = _folder.NewFile(".qcow2");
            BlockException failure = await Images.FailsAsync(
                BlockErrors.InvalidArgument, () => Image.CreateAsync(path, options).AsTask());
            Assert.Contains(part, failure.Message, StringComparison.Ordinal);
            Assert.Empty(Directory.GetFiles(_folder.Path));
        }
    }

    private static ImageCreateOptions New() => new() { Format = ImageFormat.Qcow2, SizeBytes = SizeBytes };

    private static async ValueTask<ulong> AutoclearAsync(string path)
    {
        byte[] image = await File.ReadAllBytesAsync(path);
        return image[Qcow2Header.AutoclearField + 7];
    }

    private static async ValueTask RandomAsync(string path, ReferenceDisk disk, Seeds seeds)
    {
        await using ImageNode node = Images.Open(path);
        for (int i = 0; i < 120; i++)
        {
            await Images.RandomRequestAsync(node, disk, seeds, new BlockRange(0, SizeBytes));
        }

        await disk.CheckAllAsync(node);
        await disk.CheckStatusAsync(node);
    }
}
