// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Qcow2;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests;

/// <summary>Images over parents: what they read as, what a write keeps, and which parents are refused.</summary>
public sealed class Qcow2OverlayTests : IDisposable
{
    private const int SizeBytes = (3 * 1024 * 1024) + 1536;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Goal: chains of three read and are written as one disk, whatever their sizes and sorts, and only the top one is
    // changed. The base is shorter or longer than what lies over it.
    [Theory]
    [InlineData(3, 65536, false, SizeBytes - 100 * 512, SizeBytes)]
    [InlineData(3, 4096, false, SizeBytes + 4096 + 512, SizeBytes - 137 * 512)]
    [InlineData(3, 512, false, SizeBytes, SizeBytes)]
    [InlineData(3, 65536, true, SizeBytes - 512, SizeBytes + 512 * 9)]
    [InlineData(3, 16384, true, 1024 * 1024, SizeBytes)]
    [InlineData(3, 2 * 1024 * 1024, false, SizeBytes, 512 * 3)]
    [InlineData(2, 65536, false, SizeBytes, SizeBytes)]
    [InlineData(2, 4096, false, 1024 * 1024 + 512, SizeBytes)]
    public async Task A_chain_of_three_is_one_disk(
        int version, int clusterBytes, bool hasSubclusters, long baseBytes, long middleBytes)
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        byte[] content = seeds.Bytes(baseBytes);
        await File.WriteAllBytesAsync(_folder.File("base.raw"), content);
        ReferenceDisk middleDisk = Grown(content, middleBytes);
        await CreateAsync("middle.qcow2", "base.raw", ImageFormat.Raw, middleBytes, 65536, 3);
        await RandomAsync("middle.qcow2", middleDisk, seeds, 15);
        byte[] middle = await File.ReadAllBytesAsync(_folder.File("middle.qcow2"));
        Images.CheckWithQemu(_folder.File("middle.qcow2"), middleDisk);
        byte[] below = Qemu.Content(_folder.File("middle.qcow2"));

        ReferenceDisk disk = Grown(below, SizeBytes);
        await CreateAsync("top.qcow2", "middle.qcow2", ImageFormat.Qcow2, SizeBytes, clusterBytes, version, hasSubclusters);
        Images.CheckWithQemu(_folder.File("top.qcow2"), disk, "before a write");
        for (int round = 0; round < 2; round++)
        {
            await RandomAsync("top.qcow2", disk, seeds, 60);
            Images.CheckWithQemu(_folder.File("top.qcow2"), disk, $"round {round}");
        }

        Assert.Equal(content, await File.ReadAllBytesAsync(_folder.File("base.raw")));
        Assert.Equal(middle, await File.ReadAllBytesAsync(_folder.File("middle.qcow2")));
    }

    [Fact]
    public async Task An_overlay_of_QEMUs_is_read_and_written()
    {
        Qemu.SkipWhenMissing();
        Seeds seeds = Seeds.FromEnvironment();
        byte[] content = seeds.Bytes(SizeBytes);
        await File.WriteAllBytesAsync(_folder.File("base.raw"), content);
        string path = _folder.File("top.qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", path);
        Qemu.Io(path, "write -P 5 100k 3k", "write -z 512k 256k", "write -c -P 6 1M 64k");
        ReferenceDisk disk = Grown(Qemu.Content(path), SizeBytes);
        await using (ImageNode node = Images.Open(path, isReadOnly: true))
        {
            await disk.CheckStatusAsync(node);
            byte[] read = new byte[700 * 1024];
            await node.ReadAsync(0, read, CancellationToken.None);
            disk.Check(0, read);
        }

        ImageInfo info = await Image.GetInfoAsync(path, null, CancellationToken.None);
        Assert.Equal(ImageType.Differencing, info.Type);
        Assert.Equal(_folder.File("base.raw"), info.ParentPath);
        Assert.Equal(ImageFormat.Raw, info.ParentFormat);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_single_layer_says_exactly_what_it_stores(bool hasSubclusters)
    {
        await File.WriteAllBytesAsync(_folder.File("base.raw"), Seeds.FromEnvironment().Bytes(1024 * 1024));
        await CreateAsync("top.qcow2", "base.raw", ImageFormat.Raw, null, 65536, 3, hasSubclusters);
        await using (ImageNode node = Images.Open(_folder.File("top.qcow2")))
        {
            await node.WriteAsync(65536, new byte[65536], WriteFlags.None, CancellationToken.None);
            await node.WriteZeroesAsync(3 * 65536, 65536, WriteFlags.None, CancellationToken.None);
            await node.DiscardAsync(5 * 65536, 65536, CancellationToken.None);
            Assert.Equal(
                new BlockStatusRun(BlockStatus.Data, 3 * 65536),
                await node.GetStatusAsync(0, 1024 * 1024, CancellationToken.None));
        }

        await using ImageNode layer = Images.Open(
            _folder.File("top.qcow2"), new ImageOpenOptions { IsReadOnly = true, IsLayerOnly = true });
        List<(BlockStatus, long)> runs = [];
        await foreach ((_, BlockStatusRun run) in layer.EnumerateStatusAsync(new BlockRange(0, 1024 * 1024)))
        {
            runs.Add((run.Status, run.LengthBytes / 65536));
        }

        Assert.Equal(
            [
                (BlockStatus.Unallocated, 1),
                (BlockStatus.Data, 1),
                (BlockStatus.Unallocated, 1),
                (BlockStatus.Zero, 1),
                (BlockStatus.Unallocated, 1),
                (BlockStatus.Zero, 1),
                (BlockStatus.Unallocated, 10),
            ],
            runs);
        byte[] read = new byte[65536];
        await layer.ReadAsync(0, read, CancellationToken.None);
        Assert.False(read.AsSpan().ContainsAnyExcept((byte)0));
    }

    [Theory]
    [InlineData("json:{\"driver\":\"raw\"}", "without a file name")]
    [InlineData("json:{\"driver\":\"raw\",\"offset\":512,\"file\":{\"driver\":\"file\",\"filename\":\"base.raw\"}}", "'offset'")]
    [InlineData("json:{\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\",\"host\":\"h\"}}", "driver 'nbd'")]
    [InlineData("json:{\"driver\":\"raw\",\"file.filename\":\"a\",\"file\":{\"filename\":\"b\"}}", "'file.filename' twice")]
    [InlineData("json:[1]", "where an object is needed")]
    [InlineData("json:{\"file.filename\":\"\\ud800\"}", "is not the JSON object")]
    [InlineData("json:{\"\\ud800\":\"x\"}", "is not the JSON object")]
    [InlineData("json:{", "not the JSON object")]
    [InlineData("file:base.raw", "'base.raw' in the folder that it was started in")]
    [InlineData("json:{\"driver\":\"file\",\"filename\":\"/base.raw\"}", "'filename'")]
    [InlineData("nbd://host/export", "nbd://host/export")]
    [InlineData("rbd:pool/disk", "rbd:pool/disk")]
    public async Task A_parent_that_is_no_path_is_refused_by_its_name(string name, string part)
    {
        string path = _folder.File("top.qcow2");
        await File.WriteAllBytesAsync(path, Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = 1024 * 1024,
            BackingName = name,
            BackingFormat = ImageFormat.Raw,
        }));

        BlockException failure = Assert.Throws<BlockException>(() => Images.Open(path));

        Assert.Equal(BlockErrors.Unsupported, failure.Kind);
        Assert.Contains(part, failure.Message, StringComparison.Ordinal);
    }

    // Names as QEMU and libvirt write them.
    [Theory]
    [InlineData("file:FOLDER/base.raw")]
    [InlineData("json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"FOLDER/base.raw\"}}")]
    [InlineData("json:{\"driver\":\"raw\",\"file.driver\":\"file\",\"file.filename\":\"FOLDER/base.raw\"}")]
    [InlineData("json:{\"file\":{\"driver\":\"file\",\"filename\":\"FOLDER/base.raw\"}}")]
    public async Task A_parent_that_is_recorded_as_a_local_file_is_opened(string form)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "The paths are those of other systems.");
        string name = form.Replace("FOLDER", _folder.Path, StringComparison.Ordinal);
        byte[] content = Seeds.FromEnvironment().Bytes(1024 * 1024);
        await File.WriteAllBytesAsync(_folder.File("base.raw"), content);
        string path = _folder.File("top.qcow2");
        await File.WriteAllBytesAsync(path, Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = content.Length,
            BackingName = name,
            BackingFormat = ImageFormat.Raw,
        }));

        Assert.Equal(_folder.File("base.raw"), (await Image.GetInfoAsync(path, null, CancellationToken.None)).ParentPath);
        await using (ImageNode node = Images.Open(path, isReadOnly: true))
        {
            byte[] read = new byte[content.Length];
            await node.ReadAsync(0, read, CancellationToken.None);
            Assert.Equal(content, read);
        }

        Qemu.SkipWhenMissing();
        Assert.Equal(content, Qemu.Content(path));
    }

    [Fact]
    public async Task A_name_that_asks_for_another_driver_than_the_recorded_format_is_refused()
    {
        await File.WriteAllBytesAsync(_folder.File("base.raw"), new byte[1024 * 1024]);
        string path = _folder.File("top.qcow2");
        await File.WriteAllBytesAsync(path, Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = 1024 * 1024,
            BackingName = $"json:{{\"driver\":\"qcow2\",\"file\":{{\"driver\":\"file\",\"filename\":\"{_folder.File("base.raw")}\"}}}}",
            BackingFormat = ImageFormat.Raw,
        }));

        BlockException failure = Assert.Throws<BlockException>(() => Images.Open(path));

        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
        Assert.Contains("'raw'", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_empty_backing_name_is_no_parent()
    {
        byte[] image = Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = 1024 * 1024,
            BackingName = "base.raw",
            BackingFormat = ImageFormat.Raw,
        });
        image.AsSpan(16, 4).Clear();
        string path = _folder.File("top.qcow2");
        await File.WriteAllBytesAsync(path, image);

        Assert.Equal(ImageType.Dynamic, (await Image.GetInfoAsync(path, null, CancellationToken.None)).Type);
        await using ImageNode node = Images.Open(path);
        byte[] read = new byte[4096];
        await node.ReadAsync(0, read, CancellationToken.None);
        Assert.Equal(new byte[4096], read);
    }

    [Fact]
    public async Task A_parent_without_a_recorded_format_is_refused_with_the_way_to_record_it()
    {
        byte[] image = Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = 1024 * 1024,
            BackingName = "base.raw",
            BackingFormat = ImageFormat.Raw,
        });
        int extension = image.AsSpan().IndexOf(new byte[] { 0xe2, 0x79, 0x2a, 0xca });
        image[extension] = 0x77;
        string path = _folder.File("top.qcow2");
        await File.WriteAllBytesAsync(path, image);
        await File.WriteAllBytesAsync(_folder.File("base.raw"), new byte[1024 * 1024]);

        BlockException failure = Assert.Throws<BlockException>(() => Images.Open(path));

        Assert.Equal(BlockErrors.Unsupported, failure.Kind);
        Assert.Contains("qemu-img rebase -u", failure.Message, StringComparison.Ordinal);
        Assert.Contains("-F", failure.Message, StringComparison.Ordinal);
        Assert.Null((await Image.GetInfoAsync(path, null, CancellationToken.None)).ParentFormat);
    }

    [Fact]
    public async Task A_missing_parent_is_an_error_that_names_it()
    {
        await File.WriteAllBytesAsync(_folder.File("base.raw"), new byte[1024 * 1024]);
        await CreateAsync("top.qcow2", "base.raw", ImageFormat.Raw, null, 65536, 3);
        File.Delete(_folder.File("base.raw"));

        BlockException failure = Assert.Throws<BlockException>(() => Images.Open(_folder.File("top.qcow2")));

        Assert.Equal(BlockErrors.NotFound, failure.Kind);
        Assert.Contains(_folder.File("base.raw"), failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_chain_that_loops_is_refused()
    {
        string path = _folder.File("loop.qcow2");
        await File.WriteAllBytesAsync(path, Images.Empty(new Qcow2LayoutOptions
        {
            SizeBytes = 1024 * 1024,
            BackingName = "loop.qcow2",
            BackingFormat = ImageFormat.Qcow2,
        }));

        BlockException failure = Assert.Throws<BlockException>(() => Images.Open(path));

        Assert.Equal(ImageErrors.Corrupt, failure.Kind);
        Assert.Contains("loop", failure.Message, StringComparison.Ordinal);
    }

    // Goal: nothing is lost when writers copy one cluster of the parent at once, while readers look on. Method: every
    // writer owns a part of each cluster; the rest of the cluster must stay the parent's.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Writers_racing_for_one_cluster_of_the_parent_lose_nothing(bool hasSubclusters)
    {
        const int Writers = 6;
        const int Clusters = 40;
        const int PartBytes = 7000;
        await File.WriteAllBytesAsync(_folder.File("base.raw"), Enumerable.Repeat((byte)99, Clusters * 65536).ToArray());
        await CreateAsync("top.qcow2", "base.raw", ImageFormat.Raw, null, 65536, 3, hasSubclusters);
        await using ImageNode node = Images.Open(_folder.File("top.qcow2"));
        byte[] read = new byte[65536];
        for (int cluster = 0; cluster < Clusters; cluster++)
        {
            long offsetBytes = cluster * 65536L;
            using Barrier start = new(Writers);
            await Task.WhenAll(Enumerable.Range(0, Writers).Select(writer => Task.Factory.StartNew(
                () =>
                {
                    byte[] part = Enumerable.Repeat((byte)(writer + 1), PartBytes).ToArray();
                    start.SignalAndWait();
                    node.WriteAsync(offsetBytes + (writer * PartBytes), part, WriteFlags.None, CancellationToken.None)
                        .AsTask().GetAwaiter().GetResult();
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default)));
            await node.ReadAsync(offsetBytes, read, CancellationToken.None);
            for (int i = 0; i < read.Length; i++)
            {
                Assert.Equal(i < Writers * PartBytes ? 1 + (i / PartBytes) : 99, read[i]);
            }
        }
    }

    private static ReferenceDisk Grown(byte[] content, long lengthBytes)
    {
        ReferenceDisk disk = new(lengthBytes);
        disk.Write(0, content.AsSpan(0, (int)Math.Min(content.Length, lengthBytes)));
        return disk;
    }

    private ValueTask CreateAsync(
        string name,
        string parent,
        ImageFormat parentFormat,
        long? sizeBytes,
        int clusterBytes,
        int version,
        bool hasSubclusters = false) => Image.CreateAsync(
        _folder.File(name),
        new ImageCreateOptions
        {
            Format = ImageFormat.Qcow2,
            SizeBytes = sizeBytes,
            BlockSizeBytes = clusterBytes,
            Version = version,
            HasSubclusters = hasSubclusters,
            ParentPath = parent,
            ParentFormat = parentFormat,
        });

    private async ValueTask RandomAsync(string name, ReferenceDisk disk, Seeds seeds, int requests)
    {
        await using ImageNode node = Images.Open(_folder.File(name));
        for (int i = 0; i < requests; i++)
        {
            await Images.RandomRequestAsync(node, disk, seeds, new BlockRange(0, disk.LengthBytes));
        }

        await disk.CheckAllAsync(node);
        await disk.CheckStatusAsync(node);
    }
}
