// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Vhd;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Vhd;

/// <summary>Differencing images: whose sector is whose, and where the parent is.</summary>
public sealed class VhdChainTests : IDisposable
{
    private const int SizeBytes = 300 * 1024 + 512;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    // Method: random requests on each level of a chain, most of them not aligned to sectors, so that sectors of three origins
    // lie side by side; a reference for each level, and the second reader as the judge of what is on disk.
    [Theory]
    [InlineData(4096, 65536, 16384)]
    [InlineData(VhdLimits.SmallBlockBytes, 4096, VhdLimits.DefaultBlockBytes)]
    public async Task A_chain_of_three_holds_at_each_level_what_was_written_there(int first, int second, int third)
    {
        Seeds seeds = Seeds.FromEnvironment();
        string[] paths = [_folder.File("a.vhd"), _folder.File("b.vhd"), _folder.File("c.vhd")];
        int[] blocks = [first, second, third];
        byte[] content = new byte[SizeBytes];
        for (int level = 0; level < paths.Length; level++)
        {
            VhdImages.CreateFile(paths[level], SizeBytes, blocks[level], level == 0 ? null : paths[level - 1]);
            byte[] parentImage = level == 0 ? [] : File.ReadAllBytes(paths[level - 1]);
            ReferenceDisk disk = new(SizeBytes);
            disk.Write(0, content);
            await using (IBlockNode node = await VhdImages.OpenAsync(paths[level]))
            {
                await disk.CheckAllAsync(node, "before the first write");
                for (int i = 0; i < 60; i++)
                {
                    BlockRange part = new(seeds.Next(SizeBytes - 9000), seeds.Next(9000));
                    await Images.RandomRequestAsync(node, disk, seeds, part);
                }

                await disk.CheckAllAsync(node);
                await disk.CheckStatusAsync(node);
            }

            content = VhdReader.ReadFile(paths[level]);
            disk.Check(0, content, $"as the second reader reads level {level}");
            Assert.True(level == 0 || parentImage.AsSpan().SequenceEqual(File.ReadAllBytes(paths[level - 1])), "the parent was written to");
        }

        await using IBlockNode top = await VhdImages.OpenAsync(paths[2], isReadOnly: true);
        for (int i = 0; i < 2000; i++)
        {
            int offset = seeds.Next(SizeBytes);
            byte[] read = new byte[seeds.Next(Math.Min(3000, SizeBytes - offset))];
            await top.ReadAsync(offset, read, CancellationToken.None);
            Assert.True(content.AsSpan(offset, read.Length).SequenceEqual(read), $"{read.Length} bytes at {offset}, seed {seeds.Seed}");
        }
    }

    [Fact]
    public async Task A_part_of_a_sector_written_to_a_child_leaves_the_rest_to_be_the_parents()
    {
        (string parent, string child) = await CreateAsync(11);
        await using (IBlockNode node = await VhdImages.OpenAsync(child))
        {
            await node.WriteAsync(700, new byte[] { 1, 2, 3 }, WriteFlags.None, CancellationToken.None);
            await node.WriteZeroesAsync(2000, 10, WriteFlags.None, CancellationToken.None);
        }

        byte[] expected = Enumerable.Repeat((byte)11, SizeBytes).ToArray();
        new byte[] { 1, 2, 3 }.CopyTo(expected, 700);
        expected.AsSpan(2000, 10).Clear();
        await using IBlockNode read = await VhdImages.OpenAsync(child, isReadOnly: true);
        Assert.Equal(expected, await VhdImages.ReadAllAsync(read));
        Assert.Equal(expected, VhdReader.ReadFile(child));
        Assert.DoesNotContain((byte)0, VhdReader.ReadFile(parent));
    }

    // Goal: the parent's bytes are copied under a part of a sector once, and never over another writer's part. Method: threads
    // write neighbouring pieces of 100 bytes, so that most sectors have six writers and blocks have all of them.
    [Fact]
    public async Task Parts_of_one_sector_written_at_once_are_all_kept()
    {
        const int PieceBytes = 100;
        const int Threads = 4;
        Seeds seeds = Seeds.FromEnvironment();
        (_, string child) = await CreateAsync(11);
        byte[] expected = seeds.Bytes(SizeBytes);
        await using IBlockNode node = await VhdImages.OpenAsync(child);
        using Barrier start = new(Threads);
        await Task.WhenAll(Enumerable.Range(0, Threads).Select(index => Task.Factory.StartNew(
            () =>
            {
                start.SignalAndWait();
                for (int atBytes = index * PieceBytes; atBytes < SizeBytes; atBytes += Threads * PieceBytes)
                {
                    ReadOnlyMemory<byte> piece = expected.AsMemory(atBytes, Math.Min(PieceBytes, SizeBytes - atBytes));
                    node.WriteAsync(atBytes, piece, WriteFlags.None, CancellationToken.None).AsTask().GetAwaiter().GetResult();
                }
            },
            CancellationToken.None,
            TaskCreationOptions.LongRunning,
            TaskScheduler.Default)));

        byte[] read = await VhdImages.ReadAllAsync(node);
        Assert.True(expected.AsSpan().SequenceEqual(read), $"seed {seeds.Seed}");
    }

    [Fact]
    public async Task A_layer_alone_tells_what_it_stores_and_reads_as_zeros_elsewhere()
    {
        (_, string child) = await CreateAsync(11);
        await using (IBlockNode node = await VhdImages.OpenAsync(child))
        {
            await node.WriteAsync(4096, new byte[] { 9 }, WriteFlags.None, CancellationToken.None);
        }

        await using IBlockNode layer = await VhdImages.OpenAsync(child, isLayerOnly: true);
        List<(long, BlockStatus, long)> runs = [];
        await foreach ((long offsetBytes, BlockStatusRun run) in layer.EnumerateStatusAsync(new BlockRange(0, SizeBytes)))
        {
            runs.Add((offsetBytes, run.Status, run.LengthBytes));
        }

        Assert.Equal(
            [(0, BlockStatus.Unallocated, 4096), (4096, BlockStatus.Data, 512), (4608, BlockStatus.Unallocated, SizeBytes - 4608)],
            runs);
        byte[] content = await VhdImages.ReadAllAsync(layer);
        Assert.Equal([9, 11, 11], content[4096..4099]);
        Assert.Equal(0, content[0]);
    }

    [Fact]
    public async Task Zeros_over_a_parents_data_are_stored_and_over_nothing_they_are_not()
    {
        (string parent, string child) = await CreateAsync(11);
        await using (IBlockNode node = await VhdImages.OpenAsync(child))
        {
            await node.WriteZeroesAsync(0, SizeBytes, WriteFlags.None, CancellationToken.None);
            Assert.All(await VhdImages.ReadAllAsync(node), value => Assert.Equal(0, value));
        }

        string empty = _folder.File("empty.vhd");
        string overEmpty = _folder.File("over.vhd");
        await Image.CreateAsync(empty, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = SizeBytes });
        await Image.CreateAsync(overEmpty, new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = empty });
        byte[] before = File.ReadAllBytes(overEmpty);
        await using (IBlockNode node = await VhdImages.OpenAsync(overEmpty))
        {
            await node.WriteZeroesAsync(100, SizeBytes - 200, WriteFlags.None, CancellationToken.None);
        }

        Assert.Equal(before, File.ReadAllBytes(overEmpty));
        Assert.Equal(11, VhdReader.ReadFile(parent)[0]);
    }

    [Fact]
    public async Task A_layer_that_must_stores_zeros_over_zeros_too()
    {
        string empty = _folder.File("empty.vhd");
        string child = _folder.File("over.vhd");
        await Image.CreateAsync(empty, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = SizeBytes });
        await Image.CreateAsync(child, new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = empty });
        (IBlockNode node, _) = await Image.OpenAsync(child, new ImageOpenOptions { MustStoreZeroes = true });
        await using (node)
        {
            await node.WriteAsync(512, new byte[] { 7 }, WriteFlags.None, CancellationToken.None);
            await node.WriteZeroesAsync(100, 9000, WriteFlags.None, CancellationToken.None);
        }

        (IBlockNode layer, _) = await Image.OpenAsync(child, new ImageOpenOptions { IsReadOnly = true, IsLayerOnly = true });
        await using (layer)
        {
            BlockStatusRun stored = await layer.GetStatusAsync(0, 18 * 512, CancellationToken.None);
            Assert.NotEqual(BlockStatus.Unallocated, stored.Status);
            Assert.All(await VhdImages.ReadAllAsync(layer), value => Assert.Equal(0, value));
        }
    }

    [Fact]
    public async Task A_parent_that_takes_over_the_identity_and_the_name_of_its_child_is_its_grandchilds_parent()
    {
        (string first, string second, string third) = await CreateThreeAsync();
        DateTime recorded = File.GetLastWriteTimeUtc(second);
        Guid secondId = (await Image.GetInfoAsync(second, ImageFormat.Vhd, CancellationToken.None)).DiskIdentifier!.Value;

        await Image.TakeOverIdentityAsync(first, second, ImageFormat.Vhd);

        File.Move(first, second, overwrite: true);
        Assert.Equal(recorded, File.GetLastWriteTimeUtc(second));
        ImageInfo info = await Image.GetInfoAsync(second, ImageFormat.Vhd, CancellationToken.None);
        Assert.Equal((secondId, ImageType.Dynamic), (info.DiskIdentifier, info.Type));
        Assert.Empty((await Image.CheckAsync(second, ImageFormat.Vhd, ImageRepair.None, CancellationToken.None)).Findings);
        await using IBlockNode top = await VhdImages.OpenAsync(third, isReadOnly: true);
        Assert.Equal([11, 13], (await VhdImages.ReadAllAsync(top))[4095..4097]);
        Assert.Equal(11, VhdReader.ReadFile(third)[4095]);
    }

    // Killed between the two footers: the one at the end still says what it said.
    [Fact]
    public async Task An_identity_that_was_taken_over_in_half_is_taken_over_again()
    {
        (string first, string second, string third) = await CreateThreeAsync();
        byte[] before = File.ReadAllBytes(first);
        await Image.TakeOverIdentityAsync(first, second, ImageFormat.Vhd);
        byte[] half = File.ReadAllBytes(first);
        before.AsSpan(before.Length - 512).CopyTo(half.AsSpan(half.Length - 512));
        File.WriteAllBytes(first, half);
        await (await VhdImages.OpenAsync(second, isReadOnly: true)).DisposeAsync();

        await Image.TakeOverIdentityAsync(first, second, ImageFormat.Vhd);

        File.Move(first, second, overwrite: true);
        Assert.Empty((await Image.CheckAsync(second, ImageFormat.Vhd, ImageRepair.None, CancellationToken.None)).Findings);
        await (await VhdImages.OpenAsync(third, isReadOnly: true)).DisposeAsync();
    }

    [Fact]
    public async Task A_discard_in_a_child_frees_what_it_stores_and_keeps_what_the_parent_stores()
    {
        (_, string child) = await CreateAsync(11);
        await using IBlockNode node = await VhdImages.OpenAsync(child);
        await node.WriteAsync(8192, Enumerable.Repeat((byte)5, 4096).ToArray(), WriteFlags.None, CancellationToken.None);

        await node.DiscardAsync(0, SizeBytes, CancellationToken.None);

        byte[] content = await VhdImages.ReadAllAsync(node);
        Assert.Equal(11, content[8191]);
        Assert.Equal(0, content[8192]);
        Assert.Equal(0, content[12287]);
        Assert.Equal(11, content[12288]);
    }

    [Fact]
    public async Task A_child_says_who_its_parent_is()
    {
        (string parent, string child) = await CreateAsync(1);

        ImageInfo info = await Image.GetInfoAsync(child, null, CancellationToken.None);

        Assert.Equal(ImageType.Differencing, info.Type);
        Assert.Equal(parent, info.ParentPath);
        Assert.Equal(ImageFormat.Vhd, info.ParentFormat);
        Assert.Equal(VhdReader.UniqueId(File.ReadAllBytes(child)), info.DiskIdentifier);
        Assert.Equal(VhdLimits.DefaultBlockBytes, info.BlockSizeBytes);
        File.Delete(parent);
        Assert.Equal(parent, (await Image.GetInfoAsync(child, null, CancellationToken.None)).ParentPath);
        BlockException failure = await FailsToOpenAsync(BlockErrors.NotFound, child);
        Assert.Contains(parent, failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Another_image_in_the_parents_place_is_refused()
    {
        (string parent, string child) = await CreateAsync(1);
        File.Delete(parent);
        await Image.CreateAsync(parent, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = SizeBytes });

        BlockException failure = await FailsToOpenAsync(ImageErrors.Corrupt, child);

        Assert.Contains("changed after the child was made", failure.Message, StringComparison.Ordinal);
        Assert.Contains($"{VhdReader.UniqueId(File.ReadAllBytes(parent))}", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_parent_whose_file_was_only_touched_is_taken()
    {
        (string parent, string child) = await CreateAsync(1);
        File.SetLastWriteTimeUtc(parent, DateTime.UtcNow.AddHours(1));

        await using IBlockNode node = await VhdImages.OpenAsync(child, isReadOnly: true);
        Assert.Equal(1, (await VhdImages.ReadAllAsync(node))[0]);
    }

    [Fact]
    public async Task The_relative_path_is_tried_before_the_absolute_one_and_the_name_last()
    {
        (string parent, string child) = await CreateAsync(1);
        string moved = Directory.CreateDirectory(_folder.File("moved")).FullName;
        string movedChild = Path.Combine(moved, "child.vhd");
        File.Copy(child, movedChild);
        await using (IBlockNode node = await VhdImages.OpenAsync(movedChild, isReadOnly: true))
        {
            Assert.Equal(1, (await VhdImages.ReadAllAsync(node))[0]);
        }

        File.Move(parent, Path.Combine(moved, "parent.vhd"));
        ImageInfo info = await Image.GetInfoAsync(movedChild, null, CancellationToken.None);
        Assert.Equal(Path.Combine(moved, "parent.vhd"), info.ParentPath);
        byte[] image = File.ReadAllBytes(movedChild);
        VhdImages.PatchHeader(image, header => header.AsSpan(576, 192).Clear());
        File.WriteAllBytes(movedChild, image);
        Assert.Equal(info.ParentPath, (await Image.GetInfoAsync(movedChild, null, CancellationToken.None)).ParentPath);
        await using IBlockNode byName = await VhdImages.OpenAsync(movedChild, isReadOnly: true);
    }

    // Locators as other programs write them: the space in sectors or in bytes, Windows paths from another machine, file URLs.
    [Theory]
    [InlineData("W2ru", ".\\sub\\parent.vhd", 1)]
    [InlineData("W2ru", "sub\\parent.vhd", 512)]
    [InlineData("MacX", "file://localhost{0}/sub/par%65nt.vhd", 512)]
    [InlineData("MacX", "file://./sub/parent.vhd", 1)]
    [InlineData("W2ku", "{0}/sub/parent.vhd", 512)]
    public async Task Locators_of_other_programs_are_followed(string platform, string format, int space)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "The paths are those of other systems.");
        (string parent, string child) = await CreateAsync(1);
        string sub = Directory.CreateDirectory(_folder.File("sub")).FullName;
        File.Move(parent, Path.Combine(sub, "parent.vhd"));
        string path = string.Format(CultureInfo.InvariantCulture, format, _folder.Path);
        byte[] bytes = platform == "MacX" ? Encoding.UTF8.GetBytes(path) : Encoding.Unicode.GetBytes(path);
        byte[] image = File.ReadAllBytes(child);
        VhdImages.PatchHeader(image, header =>
        {
            header.AsSpan(64, 704).Clear();
            AddLocator(header, 0, "W2ku", 100, 512, 0);
            int at = (int)BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(512 + 576 + 16));
            bytes.CopyTo(image, at);
            AddLocator(header, 1, platform, space, bytes.Length, at);
        });
        File.WriteAllBytes(child, image);

        Assert.Equal(Path.Combine(sub, "parent.vhd"), (await Image.GetInfoAsync(child, null, CancellationToken.None)).ParentPath);
        await using IBlockNode node = await VhdImages.OpenAsync(child, isReadOnly: true);
        Assert.Equal(1, (await VhdImages.ReadAllAsync(node))[0]);
    }

    [Theory]
    [InlineData(@"C:\vms\parent.vhd")]
    [InlineData(@"\\srv\s\parent.vhd")]
    [InlineData(@"\vms\parent.vhd")]
    public async Task A_Windows_path_stands_for_a_file_of_its_name_beside_the_child(string recorded)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows follows these paths themselves.");
        (_, string child) = await CreateAsync(1);
        RecordParents(child, ("W2ku", recorded));

        await using IBlockNode node = await VhdImages.OpenAsync(child, isReadOnly: true);
        Assert.Equal(1, (await VhdImages.ReadAllAsync(node))[0]);
    }

    [Fact]
    public async Task A_candidate_that_is_another_image_is_passed_over()
    {
        (string parent, string child) = await CreateAsync(1);
        await Image.CreateAsync(
            _folder.File("other.vhd"), new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = SizeBytes });
        await File.WriteAllBytesAsync(_folder.File("damaged.vhd"), new byte[4096]);
        RecordParents(child, ("W2ru", @".\damaged.vhd"), ("W2ru", @".\other.vhd"), ("W2ku", parent));

        await using (IBlockNode node = await VhdImages.OpenAsync(child, isReadOnly: true))
        {
            Assert.Equal(1, (await VhdImages.ReadAllAsync(node))[0]);
        }

        RecordParents(child, ("W2ru", @".\other.vhd"));
        BlockException failure = await FailsToOpenAsync(ImageErrors.Corrupt, child);
        Assert.Contains("other.vhd", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_chain_that_loops_is_refused()
    {
        (string parent, string child) = await CreateAsync(1);
        byte[] image = File.ReadAllBytes(child);
        VhdImages.PatchFooters(image, footer => image.AsSpan(512 + 40, 16).CopyTo(footer.AsSpan(68)));
        File.WriteAllBytes(parent, image);

        BlockException failure = await FailsToOpenAsync(ImageErrors.Corrupt, child);
        Assert.Contains("loop", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_child_that_names_no_parent_is_refused()
    {
        (_, string child) = await CreateAsync(1);
        byte[] image = File.ReadAllBytes(child);
        VhdImages.PatchHeader(image, header => header.AsSpan(64, 704).Clear());
        File.WriteAllBytes(child, image);

        BlockException failure = await FailsToOpenAsync(ImageErrors.Corrupt, child);
        Assert.Contains("parent locator", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_child_in_another_format_or_size_than_its_parent_is_not_made()
    {
        (string parent, _) = await CreateAsync(1);
        string raw = _folder.File("parent.raw");
        await File.WriteAllBytesAsync(raw, new byte[SizeBytes]);
        string path = _folder.File("new.vhd");

        await Images.FailsAsync(BlockErrors.InvalidArgument, () => Image.CreateAsync(
            path, new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = raw }).AsTask());
        await Images.FailsAsync(BlockErrors.InvalidArgument, () => Image.CreateAsync(
            path, new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = parent, SizeBytes = SizeBytes + 512 }).AsTask());
        await Images.FailsAsync(BlockErrors.InvalidArgument, () => Image.CreateAsync(
            path, new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = parent, IsFixed = true }).AsTask());
        Assert.False(File.Exists(path));
    }

    [Fact]
    public async Task Bitmaps_in_memory_stay_within_their_budget()
    {
        Seeds seeds = Seeds.FromEnvironment();
        byte[] parent = VhdImages.Empty(VhdDiskType.Dynamic, SizeBytes, 4096);
        MemoryContainer container = new(VhdImages.Empty(VhdDiskType.Differencing, SizeBytes, 4096));
        await using ImageNode node = VhdImages.Open(container, parent, cacheBytes: 1);
        ReferenceDisk disk = new(SizeBytes);
        for (int i = 0; i < 500; i++)
        {
            await Images.RandomRequestAsync(node, disk, seeds, new BlockRange(seeds.Next(SizeBytes - 4000), 3000));
        }

        await disk.CheckAllAsync(node);
        await node.FlushAsync(CancellationToken.None);
        await disk.CheckAllAsync(node);
        Assert.True(
            ((VhdMap)node.Map).Metadata.Bitmaps.Resident.Count <= VhdLimits.MinCachedBitmaps + 1,
            $"{((VhdMap)node.Map).Metadata.Bitmaps.Resident.Count} bitmaps");
    }

    // Only these, in the space of the first locator, one sector each.
    private static void RecordParents(string path, params (string Platform, string Path)[] locators)
    {
        byte[] image = File.ReadAllBytes(path);
        int at = (int)BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(512 + 576 + 16));
        VhdImages.PatchHeader(image, header =>
        {
            header.AsSpan(64, 704).Clear();
            for (int i = 0; i < locators.Length; i++)
            {
                byte[] bytes = Encoding.Unicode.GetBytes(locators[i].Path);
                bytes.CopyTo(image, at + (i * 512));
                AddLocator(header, i, locators[i].Platform, 512, bytes.Length, at + (i * 512));
            }
        });
        File.WriteAllBytes(path, image);
    }

    private static void AddLocator(byte[] header, int index, string platform, int space, int lengthBytes, long offsetBytes)
    {
        Span<byte> entry = header.AsSpan(576 + (index * 24), 24);
        Encoding.ASCII.GetBytes(platform, entry);
        BinaryPrimitives.WriteInt32BigEndian(entry[4..], space);
        BinaryPrimitives.WriteInt32BigEndian(entry[8..], lengthBytes);
        BinaryPrimitives.WriteInt64BigEndian(entry[16..], offsetBytes);
    }

    private static Task<BlockException> FailsToOpenAsync(string kind, string path) => Images.FailsAsync(
        kind, async () => await (await VhdImages.OpenAsync(path)).DisposeAsync());

    // The second was last changed a while ago, as a backup was.
    private async Task<(string First, string Second, string Third)> CreateThreeAsync()
    {
        (string first, string second) = await CreateAsync(11);
        File.SetLastWriteTimeUtc(second, DateTime.UtcNow.AddHours(-2));
        string third = _folder.File("third.vhd");
        VhdImages.CreateFile(third, SizeBytes, 4096, second);
        await using IBlockNode node = await VhdImages.OpenAsync(third);
        await node.WriteAsync(4096, new byte[] { 13 }, WriteFlags.None, CancellationToken.None);
        return (first, second, third);
    }

    private async ValueTask<(string Parent, string Child)> CreateAsync(byte fill)
    {
        string parent = _folder.File("parent.vhd");
        string child = _folder.File("child.vhd");
        await Image.CreateAsync(parent, new ImageCreateOptions { Format = ImageFormat.Vhd, SizeBytes = SizeBytes });
        await using (IBlockNode node = await VhdImages.OpenAsync(parent))
        {
            await node.WriteAsync(0, Enumerable.Repeat(fill, SizeBytes).ToArray(), WriteFlags.None, CancellationToken.None);
        }

        await Image.CreateAsync(child, new ImageCreateOptions { Format = ImageFormat.Vhd, ParentPath = parent });
        return (parent, child);
    }
}
