// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images;
using Fleece.TestKit;
using Xunit;

namespace Fleece.DiscUtils.Tests;

/// <summary>Images that qemu-img makes, through the adapter as the module finds it: beside Fleece.Images.dll.</summary>
public sealed class ForeignImageTests : IDisposable
{
    private const int DiskBytes = 9 * 1024 * 1024 + 512 * 128;
    private const int ThreadCount = 4;
    private const int ReadsPerThread = 300;
    private const int DamageRounds = 100;
    private const int HeadBytes = 64 * 1024;
    private const int MaximumCutBytes = 1024 * 1024;
    private const int HeaderBytes = 512;

    // Fields of a sparse extent's header.
    private const int FlagsOffsetBytes = 8;
    private const int GrainSizeOffsetBytes = 20;
    private const int DirectoryOffsetBytes = 56;

    private readonly TempFolder _folder = new();

    public static TheoryData<string, string, ImageType> Kinds { get; } = new()
    {
        { "vmdk", "subformat=monolithicSparse", ImageType.Dynamic },
        { "vmdk", "subformat=streamOptimized", ImageType.Dynamic },
        { "vmdk", "subformat=monolithicFlat", ImageType.Fixed },
        { "vmdk", "subformat=twoGbMaxExtentSparse", ImageType.Dynamic },
        { "vmdk", "subformat=twoGbMaxExtentFlat", ImageType.Fixed },
        { "vdi", "static=off", ImageType.Dynamic },
        { "vdi", "static=on", ImageType.Fixed },
    };

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task Many_readers_at_once_get_the_bytes_that_QEMU_wrote(string format, string options, ImageType type)
    {
        (string path, byte[] content) = await MakeAsync(format, options);
        (IBlockNode node, ImageFormat found) = await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true });
        await using IBlockNode owned = node;

        Assert.Equal(format, found.ToString(), ignoreCase: true);
        Assert.True(node.Geometry.IsReadOnly);
        Assert.Equal(content, await ReadAsync(node, 0, (int)node.Geometry.LengthBytes));
        Seeds random = Seeds.FromEnvironment();
        Seeds[] readers = [.. Enumerable.Range(0, ThreadCount).Select(_ => random.Fork())];
        await Task.WhenAll(readers.Select(reader => Task.Run(() => CompareAsync(node, content, reader))));
        Assert.Equal(type, (await Image.GetInfoAsync(path, null, CancellationToken.None)).Type);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task The_status_covers_the_disk_and_calls_no_data_zero(string format, string options, ImageType type)
    {
        (string path, byte[] content) = await MakeAsync(format, options);
        ReferenceDisk disk = new(content.Length);
        disk.Write(0, content);
        await using IBlockNode node = (await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true })).Node;

        await disk.CheckStatusAsync(node);

        bool hasHoles = false;
        await foreach ((_, BlockStatusRun run) in BlockWalk.EnumerateStatusAsync(
            node, new BlockRange(0, content.Length), CancellationToken.None))
        {
            hasHoles |= run.Status == BlockStatus.Unallocated;
        }

        Assert.Equal(type == ImageType.Dynamic, hasHoles);
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_damaged_file_is_an_error_of_the_engine_or_reads(string format, string options, ImageType type)
    {
        (string path, _) = await MakeAsync(format, options);
        string[] files = Directory.GetFiles(Path.GetDirectoryName(path)!, "disk*");
        Seeds random = Seeds.FromEnvironment();
        int refused = 0;
        for (int round = 0; round < DamageRounds; round++)
        {
            string file = files[random.Next(files.Length)];
            long lengthBytes = new FileInfo(file).Length;

            // Headers, descriptors and tables stand in the first 64 KiB; sometimes the end is missing.
            byte[] head = await ReadHeadAsync(file);
            byte[] damaged = [.. head];
            int reach = Math.Min(head.Length, round % 2 == 0 ? 512 : head.Length);
            for (int change = 0; change < 4; change++)
            {
                damaged[random.Next(reach)] = random.Next(3) == 0 ? (byte)0xff : (byte)random.Next(256);
            }

            byte[] end = round % 10 == 0 ? await CutAsync(file, random.Next((int)Math.Min(lengthBytes, MaximumCutBytes))) : [];
            await WriteAtAsync(file, 0, damaged.AsMemory(0, (int)Math.Min(damaged.Length, lengthBytes - end.Length)));
            try
            {
                await using IBlockNode node = (await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true })).Node;
                await node.GetStatusAsync(0, node.Geometry.LengthBytes, CancellationToken.None);
                await ReadAsync(node, 0, (int)Math.Min(node.Geometry.LengthBytes, DiskBytes));
            }
            catch (BlockException)
            {
                refused++;
            }

            await WriteAtAsync(file, 0, head);
            await WriteAtAsync(file, lengthBytes - end.Length, end);
        }

        Assert.True(refused > 0, $"no damage was noticed in {type} {path}");
    }

    [Theory]
    [InlineData("vmdk", "subformat=monolithicSparse")]
    [InlineData("vdi", "static=off")]
    public async Task Opening_for_writing_is_refused(string format, string options)
    {
        (string path, _) = await MakeAsync(format, options);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await Image.OpenAsync(path));

        Assert.Equal(BlockErrors.ReadOnly, refusal.Kind);
    }

    [Theory]
    [InlineData("\"disk-flat.vmdk\" 0", "\"../disk-flat.vmdk\" 0", BlockErrors.Unsupported)]
    [InlineData("\"disk-flat.vmdk\" 0", "\"/etc/passwd\" 0", BlockErrors.Unsupported)]
    [InlineData("\"disk-flat.vmdk\" 0", "\"disk-flat.vmdk\" 8", BlockErrors.Unsupported)]
    [InlineData("\"disk-flat.vmdk\" 0", "\"missing.vmdk\" 0", BlockErrors.NotFound)]
    [InlineData("RW 18560 ", "RW 18559 ", ImageErrors.Corrupt)]
    [InlineData("parentCID=ffffffff", "parentCID=12345678", BlockErrors.Unsupported)]
    [InlineData("FLAT", "SPARSE", ImageErrors.Corrupt)]
    [InlineData("monolithicFlat", "monolithicSparse", BlockErrors.Unsupported)]
    [InlineData("# The Disk Data Base", "\rRW 8 FLAT \"/etc/passwd\" 0", BlockErrors.Unsupported)]
    [InlineData("# The Disk Data Base", "\rRW 8\tFLAT \"disk-flat.vmdk\" 0", ImageErrors.Corrupt)]
    public async Task A_descriptor_that_leads_elsewhere_is_refused(string line, string changed, string kind)
    {
        (string path, _) = await MakeAsync("vmdk", "subformat=monolithicFlat");
        string descriptor = await File.ReadAllTextAsync(path);
        Assert.Contains(line, descriptor, StringComparison.Ordinal);
        await File.WriteAllTextAsync(path, descriptor.Replace(line, changed, StringComparison.Ordinal));

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true }));

        Assert.Equal(kind, refusal.Kind);
    }

    [Fact]
    public async Task A_differencing_image_is_refused()
    {
        (string parent, _) = await MakeAsync("vmdk", "subformat=monolithicSparse");
        string child = _folder.File("child.vmdk");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", parent, child);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.OpenAsync(child, new ImageOpenOptions { IsReadOnly = true }));

        Assert.Equal(BlockErrors.Unsupported, refusal.Kind);
    }

    [Fact]
    public async Task A_read_that_failed_fails_all_later_ones()
    {
        (string path, _) = await MakeAsync("vdi", "static=on");
        using (FileStream file = File.Open(path, FileMode.Open))
        {
            file.SetLength(file.Length - (2 * 1024 * 1024));
        }

        await using IBlockNode node = (await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true })).Node;

        BlockException first = await Assert.ThrowsAsync<BlockException>(() => ReadAsync(node, DiskBytes - 4096, 4096));
        BlockException second = await Assert.ThrowsAsync<BlockException>(() => ReadAsync(node, 0, 4096));

        Assert.Equal(BlockErrors.Truncated, first.Kind);
        Assert.Equal(BlockErrors.Truncated, second.Kind);
    }

    [Fact]
    public async Task The_header_at_the_end_of_a_stream_counts_and_is_checked()
    {
        (string path, byte[] content) = await MakeAsync("vmdk", "subformat=streamOptimized");
        byte[] header = (await ReadHeadAsync(path))[..HeaderBytes];
        byte[] first = [.. header];
        first.AsSpan(DirectoryOffsetBytes, sizeof(long)).Fill(0xff);
        long footerOffsetBytes = new FileInfo(path).Length;
        await WriteAtAsync(path, 0, first);
        await WriteAtAsync(path, footerOffsetBytes, header);
        await WriteAtAsync(path, footerOffsetBytes + HeaderBytes, new byte[HeaderBytes]);

        await using (IBlockNode node = (await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true })).Node)
        {
            Assert.Equal(content, await ReadAsync(node, 0, content.Length));
        }

        await WriteAtAsync(path, footerOffsetBytes + GrainSizeOffsetBytes, new byte[sizeof(long)]);
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true }));

        Assert.Equal((ImageErrors.Corrupt, footerOffsetBytes + GrainSizeOffsetBytes), (refusal.Kind, refusal.OffsetBytes));
    }

    // DiscUtils would read the descriptor as the grain's data.
    [Fact]
    public async Task An_image_that_can_mark_grains_as_zeros_is_refused()
    {
        Peer.Need("qemu-img");
        string path = _folder.File("disk.vmdk");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "vmdk", "-o", "zeroed_grain=on", path, "10M");

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true }));

        Assert.Equal((BlockErrors.Unsupported, FlagsOffsetBytes), (refusal.Kind, refusal.OffsetBytes));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(int.MaxValue)]
    public async Task A_compressed_grain_of_a_size_that_cannot_be_is_not_read(int sizeBytes)
    {
        (string path, _) = await MakeAsync("vmdk", "subformat=streamOptimized");
        byte[] head = await ReadHeadAsync(path);
        int directorySector = BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(DirectoryOffsetBytes));
        int tableSector = BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(directorySector * 512));
        long grainOffsetBytes = BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(tableSector * 512)) * 512L;
        byte[] size = new byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(size, sizeBytes);
        await WriteAtAsync(path, grainOffsetBytes + sizeof(long), size);
        await using IBlockNode node = (await Image.OpenAsync(path, new ImageOpenOptions { IsReadOnly = true })).Node;

        long allocatedBytes = GC.GetAllocatedBytesForCurrentThread();
        BlockException failure = await Assert.ThrowsAsync<BlockException>(() => ReadAsync(node, 0, 512));
        allocatedBytes = GC.GetAllocatedBytesForCurrentThread() - allocatedBytes;

        Assert.Equal((ImageErrors.Corrupt, grainOffsetBytes), (failure.Kind, failure.OffsetBytes));
        Assert.InRange(allocatedBytes, 0, 1024 * 1024);
    }

    [Fact]
    public async Task One_extent_of_a_split_image_is_refused()
    {
        (string path, _) = await MakeAsync("vmdk", "subformat=twoGbMaxExtentSparse");
        string extent = Path.ChangeExtension(path, null) + "-s001.vmdk";

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Image.OpenAsync(extent, new ImageOpenOptions { IsReadOnly = true }));

        Assert.Equal(BlockErrors.Unsupported, refusal.Kind);
    }

    private static async Task<byte[]> ReadHeadAsync(string path)
    {
        await using FileStream file = File.OpenRead(path);
        byte[] head = new byte[(int)Math.Min(HeadBytes, file.Length)];
        await file.ReadExactlyAsync(head);
        return head;
    }

    private static async Task WriteAtAsync(string path, long offsetBytes, ReadOnlyMemory<byte> bytes)
    {
        await using FileStream file = File.OpenWrite(path);
        file.Position = offsetBytes;
        await file.WriteAsync(bytes);
    }

    // Cuts the file's end off and returns it.
    private static async Task<byte[]> CutAsync(string path, int endBytes)
    {
        await using FileStream file = File.Open(path, FileMode.Open);
        byte[] end = new byte[endBytes];
        file.Position = file.Length - endBytes;
        await file.ReadExactlyAsync(end);
        file.SetLength(file.Length - endBytes);
        return end;
    }

    private static async Task<byte[]> ReadAsync(IBlockNode node, long offsetBytes, int lengthBytes)
    {
        byte[] buffer = new byte[lengthBytes];
        await node.ReadAsync(offsetBytes, buffer, CancellationToken.None);
        return buffer;
    }

    private static async Task CompareAsync(IBlockNode node, byte[] content, Seeds random)
    {
        for (int read = 0; read < ReadsPerThread; read++)
        {
            int offsetBytes = random.Next(content.Length);
            int lengthBytes = 1 + random.Next(Math.Min(200_000, content.Length - offsetBytes));
            byte[] bytes = await ReadAsync(node, offsetBytes, lengthBytes);
            Assert.True(content.AsSpan(offsetBytes, lengthBytes).SequenceEqual(bytes), $"{lengthBytes} bytes at {offsetBytes}");
        }
    }

    // Data in the first, a middle and the last part, holes between.
    private async Task<(string Path, byte[] Content)> MakeAsync(string format, string options)
    {
        Peer.Need("qemu-img");
        byte[] content = new byte[DiskBytes];
        Seeds random = Seeds.FromEnvironment();
        foreach ((int offsetBytes, int lengthBytes) in new[] { (0, 70_000), (4_000_123, 1_500_000), (DiskBytes - 3000, 3000) })
        {
            random.Bytes(lengthBytes).CopyTo(content, offsetBytes);
        }

        string raw = _folder.NewFile();
        await File.WriteAllBytesAsync(raw, content);
        string path = _folder.File($"disk.{format}");
        await Peer.RunAsync("qemu-img", "convert", "-q", "-f", "raw", "-O", format, "-o", options, raw, path);
        return (path, content);
    }
}
