// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhdx.Blocks;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhdx;

/// <summary>Differencing images: what shows through, what is stored, and whose parent is the right one.</summary>
public sealed class VhdxChainTests : IDisposable
{
    private const int MiB = VhdxImages.MiB;

    // The system's own, which has the system's modules; another one may come first in the PATH.
    private const string Python = "/usr/bin/python3";

    // Reads all of a child over its parent with libvhdi, and stores it.
    private const string LibvhdiScript = """
        import pyvhdi, sys
        child, parent = pyvhdi.file(), pyvhdi.file()
        child.open(sys.argv[1])
        parent.open(sys.argv[2])
        child.set_parent(parent)
        size = child.get_media_size()
        with open(sys.argv[3], 'wb') as out:
            while out.tell() < size:
                out.write(child.read_buffer_at_offset(min(1 << 20, size - out.tell()), out.tell()))
        """;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(MiB, 512, (7 * MiB) + 1536)]
    [InlineData(2 * MiB, 512, 12 * MiB)]
    [InlineData(MiB, 4096, (6 * MiB) + 8192)]
    [InlineData(32 * MiB, 4096, 40 * MiB)]
    public async Task Three_layers_read_as_the_reference_and_as_a_second_reader_reads_them(int blockBytes, int sectorBytes, int sizeBytes)
    {
        Seeds seeds = Seeds.FromEnvironment();
        string path = _folder.File("base.vhdx");
        await Image.CreateAsync(path, VhdxImages.Options(sizeBytes, blockBytes, sectorBytes));
        ReferenceDisk disk = new(sizeBytes);
        for (int layer = 0; layer < 3; layer++)
        {
            if (layer != 0)
            {
                string child = _folder.File($"child{layer}.avhdx");
                await VhdxImages.CreateChildAsync(child, path, layer == 1 ? blockBytes : null);
                path = child;
            }

            await using (ImageNode node = VhdxImages.Open(path))
            {
                await disk.CheckAllAsync(node, $"fresh layer {layer}");
                for (int i = 0; i < 60; i++)
                {
                    await VhdxImages.RandomRequestAsync(node, disk, seeds);
                }

                await disk.CheckAllAsync(node, $"layer {layer}");
                await disk.CheckStatusAsync(node, $"layer {layer}");
            }

            disk.Check(0, VhdxReader.Read(path), $"second reader, layer {layer}");
            ImageReport report = await Image.CheckAsync(path, null, ImageRepair.None, CancellationToken.None);
            Assert.True(report.IsClean, string.Join('\n', report.Findings));
        }
    }

    [Fact]
    public async Task Long_zeros_that_begin_within_a_sector_hide_all_that_the_parent_holds_there()
    {
        const int SizeBytes = 4 * MiB;
        string parent = await CreateParentAsync(SizeBytes, Seeds.FromEnvironment());
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);
        ReferenceDisk disk = new(SizeBytes);
        disk.Write(0, VhdxReader.Read(parent));
        await using ImageNode node = VhdxImages.Open(child);
        BlockRange range = new(700_001, 900_000);

        await node.WriteZeroesAsync(range.OffsetBytes, range.LengthBytes, WriteFlags.None, CancellationToken.None);
        disk.WriteZeroes(range);

        await disk.CheckAllAsync(node, "after the zeros");
    }

    [Fact]
    public async Task Libvhdi_reads_a_child_as_it_was_written()
    {
        Peer.Need(Python);
        PeerResult import = await Peer.TryRunAsync(Python, "-c", "import pyvhdi");
        Assert.SkipWhen(import.ExitCode != 0, "libvhdi's Python module is not installed here (package python3-libvhdi).");
        const int SizeBytes = 9 * MiB;
        Seeds seeds = Seeds.FromEnvironment();
        string parent = await CreateParentAsync(SizeBytes, seeds);
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);
        ReferenceDisk disk = new(SizeBytes);
        disk.Write(0, VhdxReader.Read(parent));
        await using (ImageNode node = VhdxImages.Open(child))
        {
            for (int i = 0; i < 80; i++)
            {
                byte[] data = seeds.Bytes(1 + seeds.Next(30_000));
                long atBytes = seeds.Next((long)SizeBytes - data.Length);
                await node.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
                disk.Write(atBytes, data);
            }
        }

        string content = _folder.File("content");
        await Peer.RunAsync(Python, "-c", LibvhdiScript, child, parent, content);

        disk.Check(0, File.ReadAllBytes(content));
    }

    // The middle one of three is merged into the first: written into it, then the first becomes the middle one.
    [Fact]
    public async Task A_parent_that_takes_over_the_identity_and_the_name_of_its_child_is_its_grandchilds_parent()
    {
        const int SizeBytes = 9 * MiB;
        Seeds seeds = Seeds.FromEnvironment();
        string first = await CreateParentAsync(SizeBytes, seeds);
        string second = _folder.File("second.avhdx");
        string third = _folder.File("third.avhdx");
        await VhdxImages.CreateChildAsync(second, first);
        byte[] data = seeds.Bytes(300_000);
        await using (ImageNode node = VhdxImages.Open(second))
        {
            await node.WriteAsync(MiB - 1000, data, WriteFlags.None, CancellationToken.None);
        }

        await VhdxImages.CreateChildAsync(third, second);
        await using (ImageNode node = VhdxImages.Open(third))
        {
            await node.WriteAsync(MiB, seeds.Bytes(5000), WriteFlags.None, CancellationToken.None);
        }

        byte[] expectedOfSecond = VhdxReader.Read(second);
        byte[] expectedOfThird = VhdxReader.Read(third);
        (IBlockNode merging, _) = await Image.OpenAsync(first, new ImageOpenOptions { MustKeepIdentity = true });
        await using (merging)
        {
            await merging.WriteAsync(MiB - 1000, data, WriteFlags.None, CancellationToken.None);
        }

        await VhdxImages.Open(third, isReadOnly: true).DisposeAsync();

        await Image.TakeOverIdentityAsync(first, second, ImageFormat.Vhdx);

        File.Move(first, second, overwrite: true);
        byte[] content = new byte[SizeBytes];
        await using (ImageNode node = VhdxImages.Open(third, isReadOnly: true))
        {
            await node.ReadAsync(0, content, CancellationToken.None);
        }

        Assert.True(expectedOfThird.AsSpan().SequenceEqual(content), $"seed {seeds.Seed}");
        Assert.True(expectedOfSecond.AsSpan().SequenceEqual(VhdxReader.Read(second)), $"seed {seeds.Seed}");
        await CheckWithPeersAsync(second, expectedOfSecond, third, expectedOfThird);
    }

    [Fact]
    public async Task A_parent_that_was_changed_after_the_child_was_made_is_refused()
    {
        Seeds seeds = Seeds.FromEnvironment();
        string parent = await CreateParentAsync(4 * MiB, seeds);
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);
        await using (ImageNode opened = VhdxImages.Open(parent))
        {
            await opened.FlushAsync(CancellationToken.None);
        }

        await VhdxImages.Open(child, isReadOnly: true).DisposeAsync();
        await using (ImageNode changed = VhdxImages.Open(parent))
        {
            await changed.WriteAsync(0, new byte[1], WriteFlags.None, CancellationToken.None);
        }

        foreach (bool isReadOnly in (bool[])[true, false])
        {
            BlockException failure = Assert.Throws<BlockException>(() => VhdxImages.Open(child, isReadOnly));
            Assert.Equal(ImageErrors.Corrupt, failure.Kind);
            Assert.Contains("was changed after the child was made", failure.Message, StringComparison.Ordinal);
            Assert.Contains("parent_linkage", failure.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_layer_alone_tells_what_it_stores_and_hides()
    {
        const int SizeBytes = 4 * MiB;
        string parent = await CreateParentAsync(SizeBytes, Seeds.FromEnvironment());
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent, MiB);
        await using (ImageNode node = VhdxImages.Open(child))
        {
            await node.WriteAsync(4096, new byte[512], WriteFlags.None, CancellationToken.None);
            await node.WriteZeroesAsync(MiB, MiB, WriteFlags.None, CancellationToken.None);
            await node.WriteAsync(2 * MiB, new byte[MiB], WriteFlags.None, CancellationToken.None);
        }

        await using ImageNode layer = VhdxImages.Open(child, isReadOnly: true, isLayerOnly: true);
        List<(BlockStatus, long)> runs = [];
        await foreach ((_, BlockStatusRun run) in layer.EnumerateStatusAsync(new BlockRange(0, SizeBytes)))
        {
            runs.Add((run.Status, run.LengthBytes));
        }

        Assert.Equal(
            [
                (BlockStatus.Unallocated, 4096),
                (BlockStatus.Data, 512),
                (BlockStatus.Unallocated, MiB - 4608),
                (BlockStatus.Zero, MiB),
                (BlockStatus.Data, MiB),
                (BlockStatus.Unallocated, MiB),
            ],
            runs);
        byte[] alone = new byte[SizeBytes];
        await layer.ReadAsync(0, alone, CancellationToken.None);
        Assert.False(alone.AsSpan().ContainsAnyExcept((byte)0));
        await using ImageNode merged = VhdxImages.Open(child, isReadOnly: true);
        Assert.Equal(BlockStatus.Data, (await merged.GetStatusAsync(0, SizeBytes, CancellationToken.None)).Status);
        BlockStatusRun zeros = await merged.GetStatusAsync(MiB, SizeBytes - MiB, CancellationToken.None);
        Assert.Equal((BlockStatus.Zero, (long)MiB), (zeros.Status, zeros.LengthBytes));
    }

    [Fact]
    public async Task A_block_whose_sectors_are_all_stored_becomes_fully_present()
    {
        const int SizeBytes = 2 * MiB;
        string parent = await CreateParentAsync(SizeBytes, Seeds.FromEnvironment());
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent, MiB);
        await using (ImageNode node = VhdxImages.Open(child))
        {
            for (int atBytes = 0; atBytes < MiB; atBytes += 65536)
            {
                await node.WriteAsync(atBytes, new byte[65536], WriteFlags.None, CancellationToken.None);
            }

            await node.WriteAsync(MiB, new byte[512], WriteFlags.None, CancellationToken.None);
        }

        byte[] image = File.ReadAllBytes(child);
        Assert.Equal(BlockState.FullyPresent, VhdxImages.Bat(image, 0).State);
        Assert.Equal(BlockState.PartiallyPresent, VhdxImages.Bat(image, 1).State);
    }

    // Many writers of one block: neighbouring pieces of sectors that show the parent.
    [Fact]
    public async Task Writers_that_share_sectors_lose_nothing()
    {
        const int SizeBytes = 2 * MiB;
        Seeds seeds = Seeds.FromEnvironment();
        string parent = await CreateParentAsync(SizeBytes, seeds);
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);
        ReferenceDisk disk = new(SizeBytes);
        disk.Write(0, VhdxReader.Read(parent));
        await using (ImageNode node = VhdxImages.Open(child))
        {
            await Task.WhenAll(Enumerable.Range(0, 4).Select(index => Task.Run(async () =>
            {
                for (int atBytes = index * 100; atBytes + 100 < SizeBytes; atBytes += 1700)
                {
                    byte[] data = new byte[100];
                    data.AsSpan().Fill((byte)(index + 1));
                    await node.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
                    disk.Write(atBytes, data);
                }
            })));
            await disk.CheckAllAsync(node);
        }

        disk.Check(0, VhdxReader.Read(child));
    }

    [Fact]
    public async Task A_child_is_described_with_its_parent()
    {
        string parent = await CreateParentAsync(4 * MiB, Seeds.FromEnvironment());
        Directory.CreateDirectory(_folder.File("sub"));
        string child = _folder.File("sub/child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);

        ImageInfo info = await Image.GetInfoAsync(child, null, CancellationToken.None);

        Assert.Equal(ImageType.Differencing, info.Type);
        Assert.Equal(parent, info.ParentPath);
        Assert.Equal(ImageFormat.Vhdx, info.ParentFormat);
        Assert.Equal(2 * MiB, info.BlockSizeBytes);
        Assert.Equal(4 * MiB, info.SizeBytes);
        Assert.Contains("HasParent", info.Features);
        Assert.NotNull(info.DiskIdentifier);
        await VhdxImages.Open(child, isReadOnly: true).DisposeAsync();
    }

    [Fact]
    public async Task A_missing_parent_and_a_loop_are_told()
    {
        string parent = await CreateParentAsync(4 * MiB, Seeds.FromEnvironment());
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);
        Guid linkage = VhdxImages.DataWriteGuid(parent);
        File.Delete(parent);
        Assert.Equal(BlockErrors.NotFound, Assert.Throws<BlockException>(() => VhdxImages.Open(child, isReadOnly: true)).Kind);

        // A copy of the child that has the identity of the parent it looks for.
        byte[] image = File.ReadAllBytes(child);
        VhdxImages.PutInHeaders(image, 32, 8, BitConverter.ToUInt64(linkage.ToByteArray(), 0));
        VhdxImages.PutInHeaders(image, 40, 8, BitConverter.ToUInt64(linkage.ToByteArray(), 8));
        File.WriteAllBytes(parent, image);
        BlockException loop = Assert.Throws<BlockException>(() => VhdxImages.Open(child, isReadOnly: true));
        Assert.Contains("loop", loop.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_candidate_that_is_another_image_is_passed_over()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "The path is made up for other systems.");
        string parent = await CreateParentAsync(4 * MiB, Seeds.FromEnvironment());
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);
        Guid linkage = VhdxImages.DataWriteGuid(parent);
        string moved = Directory.CreateDirectory(_folder.File("moved")).FullName;
        File.Move(parent, Path.Combine(moved, Path.GetFileName(parent)));
        await Image.CreateAsync(parent, VhdxImages.Options(4 * MiB));
        BlockException failure = Assert.Throws<BlockException>(() => VhdxImages.Open(child, isReadOnly: true));
        Assert.Contains("was changed after the child was made", failure.Message, StringComparison.Ordinal);

        VhdxImages.RecordParent(
            child,
            ("parent_linkage", $"{{{linkage}}}"),
            ("relative_path", $@".\{Path.GetFileName(parent)}"),
            ("absolute_win32_path", Path.Combine(moved, Path.GetFileName(parent))));

        await VhdxImages.Open(child, isReadOnly: true).DisposeAsync();
    }

    [Fact]
    public async Task Texts_of_a_locator_that_end_in_a_null_character_are_read()
    {
        string parent = await CreateParentAsync(4 * MiB, Seeds.FromEnvironment());
        string child = _folder.File("child.avhdx");
        await VhdxImages.CreateChildAsync(child, parent);
        VhdxImages.RecordParent(
            child,
            ("parent_linkage\0", $"{{{VhdxImages.DataWriteGuid(parent)}}}\0"),
            ("relative_path\0", $@".\{Path.GetFileName(parent)}" + "\0"));

        await VhdxImages.Open(child, isReadOnly: true).DisposeAsync();
    }

    [Theory]
    [InlineData(ImageFormat.Raw, null, null)]
    [InlineData(ImageFormat.Vhdx, 2L * MiB, null)]
    [InlineData(ImageFormat.Vhdx, null, 4096)]
    public async Task A_child_that_does_not_fit_its_parent_is_refused(ImageFormat parentFormat, long? sizeBytes, int? sectorBytes)
    {
        string parent = _folder.File(parentFormat == ImageFormat.Raw ? "parent.raw" : "parent.vhdx");
        await Image.CreateAsync(parent, new ImageCreateOptions { Format = parentFormat, SizeBytes = 4 * MiB });
        string child = _folder.File("child.avhdx");

        await Images.FailsAsync(BlockErrors.InvalidArgument, () => Image.CreateAsync(child, new ImageCreateOptions
        {
            Format = ImageFormat.Vhdx,
            ParentPath = parent,
            SizeBytes = sizeBytes,
            LogicalSectorSizeBytes = sectorBytes,
        }).AsTask());

        Assert.False(File.Exists(child));
    }

    private async Task CheckWithPeersAsync(string parent, byte[] expectedOfParent, string child, byte[] expectedOfChild)
    {
        string truth = _folder.File("truth");
        File.WriteAllBytes(truth, expectedOfParent);
        Peer.Need("qemu-img");
        await Peer.RunAsync("qemu-img", "compare", "-f", "vhdx", "-F", "raw", parent, truth);
        await Peer.RunAsync("qemu-img", "check", "-f", "vhdx", parent);
        Peer.Need(Python);
        PeerResult import = await Peer.TryRunAsync(Python, "-c", "import pyvhdi");
        Assert.SkipWhen(import.ExitCode != 0, "libvhdi's Python module is not installed here (package python3-libvhdi).");
        string content = _folder.File("content");
        await Peer.RunAsync(Python, "-c", LibvhdiScript, child, parent, content);
        Assert.True(expectedOfChild.AsSpan().SequenceEqual(File.ReadAllBytes(content)), "libvhdi reads the child otherwise.");
    }

    private async ValueTask<string> CreateParentAsync(int sizeBytes, Seeds seeds)
    {
        string path = _folder.File("parent.vhdx");
        await Image.CreateAsync(path, VhdxImages.Options(sizeBytes, MiB));
        await using ImageNode node = VhdxImages.Open(path);
        await node.WriteAsync(0, seeds.Bytes(sizeBytes), WriteFlags.None, CancellationToken.None);
        return path;
    }
}
