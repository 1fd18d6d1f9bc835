// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.OnNode;

/// <summary>What is different for an image on a device of fixed size, whose answers come later.</summary>
public sealed class ImageOnNodeTests : IDisposable
{
    private const long DiskBytes = 8 * 1024 * 1024;
    private const int PieceBytes = 64 * 1024;

    private readonly TempFolder _folder = new();
    private readonly Seeds _seeds = Seeds.FromEnvironment();

    public static TheoryData<ImageFormat> Formats => [ImageFormat.Qcow2, ImageFormat.Vhd, ImageFormat.Vhdx];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_full_device_refuses_what_needs_room_and_takes_all_else(ImageFormat format)
    {
        Device device = await MakeAsync(format, DiskBytes, deviceBytes: 6 * 1024 * 1024 + 4096);
        ReferenceDisk disk = new(DiskBytes);
        BlockException? full = null;
        await using (IBlockNode image = await device.OpenAsync(format))
        {
            for (long atBytes = 0; atBytes < DiskBytes; atBytes += PieceBytes)
            {
                byte[] data = _seeds.Bytes(PieceBytes);
                try
                {
                    await image.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None);
                    disk.Write(atBytes, data);
                }
                catch (BlockException e) when (e.Kind == BlockErrors.NoSpace)
                {
                    full ??= e;
                }
            }

            byte[] again = _seeds.Bytes(PieceBytes);
            await image.WriteAsync(0, again, WriteFlags.ForceUnitAccess, CancellationToken.None);
            disk.Write(0, again);
            await disk.CheckAllAsync(image);
        }

        Assert.NotNull(full);
        Assert.Contains(Device.Address, full.Message, StringComparison.Ordinal);
        await CheckCleanAsync(device, format);
        await using IBlockNode later = await device.OpenAsync(format);
        await disk.CheckAllAsync(later);
    }

    [Theory]
    [InlineData(512)]
    [InlineData(4096)]
    public async Task Clusters_that_find_no_room_for_their_refcounts_are_refused_and_stop_nothing(int clusterBytes)
    {
        ImageCreateOptions small = new() { Format = ImageFormat.Qcow2, SizeBytes = DiskBytes, BlockSizeBytes = clusterBytes };
        for (int extra = 0; extra < 24; extra++)
        {
            Device device = await Device.CreateAsync(_folder, small, (1024 * 1024) + ((long)extra * clusterBytes));
            await using (IBlockNode image = await device.OpenAsync(ImageFormat.Qcow2))
            {
                byte[] data = _seeds.Bytes(clusterBytes);
                BlockException? full = null;
                for (long atBytes = 0; full is null; atBytes += clusterBytes)
                {
                    full = await RefusalAsync(image.WriteAsync(atBytes, data, WriteFlags.None, CancellationToken.None));
                }

                Assert.Equal(BlockErrors.NoSpace, full.Kind);
                await image.WriteAsync(0, data, WriteFlags.ForceUnitAccess, CancellationToken.None);
            }

            await CheckCleanAsync(device, ImageFormat.Qcow2);
        }
    }

    [Theory]
    [InlineData(false, BlockErrors.Truncated)]
    [InlineData(true, ImageErrors.Corrupt)]
    public async Task A_qcow2_image_that_is_longer_than_its_device_is_read_and_not_written(bool isDirty, string refusedAs)
    {
        Device device = await MakeAsync(ImageFormat.Qcow2, DiskBytes, deviceBytes: 16 * 1024 * 1024);
        byte[] data = _seeds.Bytes(1024 * 1024);
        await using (IBlockNode image = await device.OpenAsync(ImageFormat.Qcow2))
        {
            await image.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);
        }

        const int leftBytes = 512 * 1024;
        await using (FileStream file = new(device.Path, FileMode.Open))
        {
            file.SetLength(leftBytes);
            if (isDirty)
            {
                // incompatible_features, bit 0 (docs/interop/qcow2.txt).
                file.Position = 79;
                file.WriteByte(1);
            }
        }

        byte[] before = await File.ReadAllBytesAsync(device.Path);
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await device.OpenAsync(ImageFormat.Qcow2));
        byte[] start = new byte[64 * 1024];
        await using (IBlockNode reading = await device.OpenAsync(
            ImageFormat.Qcow2, options: new ImageOpenOptions { IsReadOnly = true }))
        {
            await reading.ReadAsync(0, start, CancellationToken.None);
        }

        Assert.Equal(refusedAs, refusal.Kind);
        Assert.True(isDirty || refusal.Message.Contains($"the export ends at {leftBytes}", StringComparison.Ordinal), refusal.Message);
        Assert.Equal(data[..start.Length], start);
        Assert.Equal(before, await File.ReadAllBytesAsync(device.Path));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_check_counts_nothing_behind_the_image_as_its_own(ImageFormat format) =>
        await CheckCleanAsync(await MakeAsync(format, DiskBytes, deviceBytes: 32 * 1024 * 1024), format);

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_description_names_the_device_and_changes_nothing(ImageFormat format)
    {
        Device device = await MakeAsync(format, DiskBytes, deviceBytes: 32 * 1024 * 1024);

        await using IBlockNode node = device.Attach();
        ImageInfo info = await ImageOnNode.GetInfoAsync(node, Device.Address, format, CancellationToken.None);

        Assert.Equal((Device.Address, format, DiskBytes, false), (info.Path, info.Format, info.SizeBytes, info.IsDirty));
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_device_that_is_read_only_makes_the_disk_so(ImageFormat format)
    {
        Device device = await MakeAsync(format, DiskBytes, deviceBytes: 16 * 1024 * 1024);
        await using IBlockNode image = await device.OpenAsync(format, options: new ImageOpenOptions { IsReadOnly = true });

        BlockException? refusal = await RefusalAsync(image.WriteAsync(0, new byte[512], WriteFlags.None, CancellationToken.None));

        Assert.True(image.Geometry.IsReadOnly);
        Assert.Equal(BlockErrors.ReadOnly, refusal?.Kind);
    }

    [Fact]
    public async Task Another_format_than_the_named_one_is_refused_and_leaves_the_device_open()
    {
        Device device = await MakeAsync(ImageFormat.Qcow2, DiskBytes, deviceBytes: 16 * 1024 * 1024);

        await using IBlockNode node = device.Attach();
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await ImageOnNode.OpenAsync(
            node, Device.Address, new ImageOpenOptions { Format = ImageFormat.Vhdx }, CancellationToken.None));

        Assert.Equal(ImageErrors.WrongFormat, refusal.Kind);
        Assert.Contains("begins like a Qcow2 image", refusal.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("leave it out", refusal.Message, StringComparison.Ordinal);
        await node.ReadAsync(0, new byte[512], CancellationToken.None);
    }

    [Fact]
    public async Task A_VHDX_that_its_device_cuts_off_has_no_leak_behind_its_last_whole_block()
    {
        const int BlockBytes = 8 * 1024 * 1024;
        string path = _folder.File("cut.vhdx");
        await Image.CreateAsync(
            path, new ImageCreateOptions { Format = ImageFormat.Vhdx, SizeBytes = 2 * BlockBytes, BlockSizeBytes = BlockBytes });
        (IBlockNode whole, _) = await Image.OpenAsync(path);
        await using (whole)
        {
            await whole.WriteAsync(0, _seeds.Bytes(PieceBytes), WriteFlags.None, CancellationToken.None);
        }

        await using (FileStream file = new(path, FileMode.Open))
        {
            file.SetLength(file.Length - (BlockBytes / 2));
        }

        await using IBlockNode node = FileNode.Open(path, isReadOnly: true);
        ImageReport report = await ImageOnNode.CheckAsync(
            node, Device.Address, ImageFormat.Vhdx, ImageRepair.None, CancellationToken.None);

        Assert.NotEqual(0, report.CorruptionCount);
        Assert.Equal(0, report.LeakCount);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_parent_is_refused_by_its_recorded_name_and_one_layer_is_read(ImageFormat format)
    {
        string parent = _folder.File("parent.image");
        await Image.CreateAsync(parent, Device.Small(format, DiskBytes));
        ImageCreateOptions child = new() { Format = format, ParentPath = parent, ParentFormat = format };
        Device device = await Device.CreateAsync(_folder, child, 32 * 1024 * 1024);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await device.OpenAsync(format));
        await using IBlockNode layer = await device.OpenAsync(
            format, options: new ImageOpenOptions { IsReadOnly = true, IsLayerOnly = true });
        BlockStatusRun run = await layer.GetStatusAsync(0, DiskBytes, CancellationToken.None);

        Assert.Equal(ImageErrors.ReferenceRefused, refusal.Kind);
        Assert.Contains("parent.image", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(new BlockStatusRun(BlockStatus.Unallocated, DiskBytes), run);
    }

    [Fact]
    public async Task A_data_file_is_refused()
    {
        ImageCreateOptions options = new() { Format = ImageFormat.Qcow2, SizeBytes = DiskBytes, DataFilePath = "data.raw" };
        Device device = await Device.CreateAsync(_folder, options, 16 * 1024 * 1024);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(async () => await device.OpenAsync(ImageFormat.Qcow2));

        Assert.Equal(ImageErrors.ReferenceRefused, refusal.Kind);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_failed_flush_is_told_and_stops_changes_while_reads_go_on(ImageFormat format)
    {
        Device device = await MakeAsync(format, DiskBytes, deviceBytes: 32 * 1024 * 1024);
        FaultNode faults = new(device.Attach());
        BlockException? told = null;
        await using IBlockNode image = await device.OpenAsync(
            format, faults, new ImageOpenOptions { FlushFailed = failure => told = failure });
        byte[] data = _seeds.Bytes(PieceBytes);
        await image.WriteAsync(0, data, WriteFlags.None, CancellationToken.None);
        faults.FailWhen(operation => operation.Kind == BlockOperationKind.Flush);

        BlockException? failure = await RefusalAsync(image.FlushAsync(CancellationToken.None));
        faults.Clear();
        BlockException? refusal = await RefusalAsync(image.WriteAsync(0, data, WriteFlags.None, CancellationToken.None));
        byte[] read = new byte[PieceBytes];
        await image.ReadAsync(0, read, CancellationToken.None);

        Assert.Equal((BlockErrors.IoFailed, BlockErrors.IoFailed), (failure?.Kind, refusal?.Kind));
        Assert.NotNull(told);
        Assert.Equal(data, read);
    }

    [Fact]
    public async Task A_request_that_waits_for_a_thread_ends_when_it_is_cancelled()
    {
        Device device = await MakeAsync(ImageFormat.Qcow2, DiskBytes, deviceBytes: 16 * 1024 * 1024);
        HoldNode holds = new(device.Attach());
        await using IBlockNode image = await device.OpenAsync(ImageFormat.Qcow2, holds);
        await image.WriteAsync(0, _seeds.Bytes(PieceBytes), WriteFlags.None, CancellationToken.None);
        Hold[] held = [.. Enumerable.Range(0, WorkThreads.QueueThreads).Select(_ => holds.HoldNext(BlockOperationKind.Read))];
        Task[] running = [.. held.Select(_ => image.ReadAsync(0, new byte[512], CancellationToken.None).AsTask())];
        await Task.WhenAll(held.Select(hold => hold.Reached));

        using CancellationTokenSource cancelling = new();
        Task waiting = image.ReadAsync(0, new byte[512], cancelling.Token).AsTask();
        await cancelling.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);

        Assert.DoesNotContain(running, task => task.IsCompleted);
        Array.ForEach(held, hold => hold.Release());
        await Task.WhenAll(running);
    }

    [Fact]
    public async Task No_thread_but_the_images_own_waits_for_the_device()
    {
        Device device = await MakeAsync(ImageFormat.Qcow2, DiskBytes, deviceBytes: 16 * 1024 * 1024);
        HoldNode holds = new(device.Attach());
        Hold hold = holds.HoldNext();
        NodeContainer file = new(holds, Device.Address, new ImageOpenOptions());

        BlockException defect = Assert.Throws<BlockException>(() => file.Read(0, new byte[512]));

        Assert.Equal(BlockErrors.InvariantBroken, defect.Kind);
        hold.Release();
        await holds.DisposeAsync();
    }

    [Fact]
    public async Task A_dirty_image_on_a_larger_device_has_its_refcounts_counted_anew()
    {
        Qemu.SkipWhenMissing();
        string path = _folder.File("lazy.qcow2");
        Qemu.Image("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=4096", path, $"{DiskBytes}");
        _ = await Peer.TryRunAsync("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 1M", "-c", "abort", path);
        Device device = await Device.CreateAsync(path, 16 * 1024 * 1024);
        ReferenceDisk disk = new(DiskBytes);
        disk.Write(0, Enumerable.Repeat((byte)7, 1024 * 1024).ToArray());

        await using (IBlockNode image = await device.OpenAsync(ImageFormat.Qcow2))
        {
            byte[] data = _seeds.Bytes(2 * 1024 * 1024);
            await image.WriteAsync(2 * 1024 * 1024, data, WriteFlags.None, CancellationToken.None);
            disk.Write(2 * 1024 * 1024, data);
            await disk.CheckAllAsync(image);
        }

        Qemu.CheckClean(path);
    }

    [Fact]
    public async Task A_VHD_without_a_footer_behind_its_blocks_gets_one_there()
    {
        string path = _folder.File("torn.vhd");
        await Image.CreateAsync(path, Device.Small(ImageFormat.Vhd, DiskBytes));
        await using (FileStream file = new(path, FileMode.Open))
        {
            file.SetLength(file.Length - 512);
        }

        Device device = await Device.CreateAsync(path, 16 * 1024 * 1024);

        await using (IBlockNode image = await device.OpenAsync(ImageFormat.Vhd))
        {
            await image.WriteAsync(0, _seeds.Bytes(512), WriteFlags.None, CancellationToken.None);
        }

        await CheckCleanAsync(device, ImageFormat.Vhd);
    }

    private static async Task<BlockException?> RefusalAsync(ValueTask request)
    {
        try
        {
            await request;
            return null;
        }
        catch (BlockException refusal)
        {
            return refusal;
        }
    }

    private static async Task CheckCleanAsync(Device device, ImageFormat format)
    {
        await using IBlockNode node = device.Attach();
        ImageReport report = await ImageOnNode.CheckAsync(
            node, Device.Address, format, ImageRepair.None, CancellationToken.None);
        Assert.True(report.IsClean, string.Join('\n', report.Findings));
    }

    private Task<Device> MakeAsync(ImageFormat format, long sizeBytes, long deviceBytes) =>
        Device.CreateAsync(_folder, Device.Small(format, sizeBytes), deviceBytes);
}
