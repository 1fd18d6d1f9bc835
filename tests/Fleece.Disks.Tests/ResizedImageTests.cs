// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>An image that another program makes longer or shorter under a session.</summary>
public sealed class ResizedImageTests
{
    private const int SizeBytes = 1 << 20;

    // Within the data of an image of that size: it begins behind 320 KiB of tables, behind 2 KiB, and behind 4 MiB.
    private const int QcowCutBytes = SizeBytes / 2;
    private const int VhdCutBytes = SizeBytes / 2;
    private const int VhdxCutBytes = 4 * SizeBytes + SizeBytes / 2;

    [Fact]
    public async Task One_that_is_cut_short_fails_the_disk_and_its_sessions_before_a_guest_makes_it_longer_with_zeros()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        await disk.Bitmaps.CreateAsync("daily");
        Session session = await Rig.StartAsync(disk);
        await disk.Device.WriteAsync(SizeBytes - 512, new byte[512]);
        await ResizeAsync(disk.Path, SizeBytes / 2);

        disk.Witness.Beat();

        Assert.Equal(SessionState.Broken, session.State);
        Assert.Contains("shortened", session.Describe().BrokenBy, StringComparison.Ordinal);
        await Assert.ThrowsAsync<BlockException>(async () => await session.Snapshot.ReadAsync(SizeBytes / 2, new byte[512]));
        Assert.Equal(DiskStatus.Failed, disk.Describe().OperationalStatus);
        Assert.Contains("cut short", disk.Bitmaps.Find("daily").Reason, StringComparison.Ordinal);
        await DismountAsync(disk);
    }

    [Fact]
    public async Task One_that_was_found_cut_short_takes_no_write_and_no_flush_so_that_it_does_not_become_longer_again()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        await ResizeAsync(disk.Path, SizeBytes / 2);
        disk.Witness.Beat();

        foreach (Func<ValueTask> change in (Func<ValueTask>[])
        [
            () => disk.Device.WriteAsync(SizeBytes - 512, new byte[512]),
            () => disk.Device.WriteAsync(0, new byte[512], WriteFlags.ForceUnitAccess),
            () => disk.Device.WriteZeroesAsync(0, 4096),
            () => disk.Device.FlushAsync(),
        ])
        {
            Assert.Equal(BlockErrors.Truncated, (await Assert.ThrowsAsync<BlockException>(async () => await change())).Kind);
        }

        await DismountAsync(disk);
        Assert.Equal(SizeBytes / 2, new FileInfo(disk.Path).Length);
    }

    [Theory]
    [InlineData(ImageFormat.Qcow2, QcowCutBytes)]
    [InlineData(ImageFormat.Vhd, VhdCutBytes)]
    [InlineData(ImageFormat.Vhdx, VhdxCutBytes)]
    public async Task A_snapshot_of_an_image_with_tables_that_is_cut_short_shows_no_zeros_in_the_place_of_lost_data(
        ImageFormat format, int cutBytes)
    {
        await using Rig rig = new();
        string path = await CreateAsync(rig, format, "vm");
        Disk disk = await rig.OpenAsync(path);
        Session session = await Rig.StartAsync(disk);
        await ResizeAsync(path, cutBytes);

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => Rig.ReadAllAsync(session));
        disk.Witness.Beat();

        Assert.Equal(BlockErrors.Truncated, refused.Kind);
        Assert.Equal((SessionState.Broken, DiskStatus.Failed), (session.State, disk.Describe().OperationalStatus));
        await DismountAsync(disk);
    }

    [Theory]
    [InlineData(ImageFormat.Raw, SizeBytes / 2)]
    [InlineData(ImageFormat.Qcow2, QcowCutBytes)]
    [InlineData(ImageFormat.Vhd, VhdCutBytes)]
    [InlineData(ImageFormat.Vhdx, VhdxCutBytes)]
    public async Task A_snapshot_whose_temp_is_cut_short_shows_no_zeros_in_the_place_of_old_data(ImageFormat format, int cutBytes)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        string temp = rig.Folder.File(Named(format, "temp"));
        await Image.CreateAsync(temp, new ImageCreateOptions { Format = format, SizeBytes = SizeBytes });
        Session session = await Rig.StartAsync(disk, new SessionOptions { TempPath = temp });
        await disk.Device.WriteAsync(0, new byte[SizeBytes]);
        await ResizeAsync(temp, cutBytes);

        await Assert.ThrowsAsync<BlockException>(() => Rig.ReadAllAsync(session));

        Assert.Equal(SessionState.Broken, session.State);
        if (format != ImageFormat.Raw)
        {
            // The tables of the user's own temp image can't be written any more.
            await DismountAsync(disk);
        }
    }

    [Fact]
    public async Task A_snapshot_of_an_image_whose_parent_is_cut_short_shows_no_zeros_in_the_place_of_lost_data()
    {
        await using Rig rig = new();
        string parent = await CreateAsync(rig, ImageFormat.Qcow2, "parent");
        string path = rig.Folder.File(Named(ImageFormat.Qcow2, "child"));
        await Image.CreateAsync(path, new ImageCreateOptions { Format = ImageFormat.Qcow2, ParentPath = parent });
        Disk disk = await rig.OpenAsync(path);
        Session session = await Rig.StartAsync(disk);
        await ResizeAsync(parent, QcowCutBytes);

        await Assert.ThrowsAsync<BlockException>(() => Rig.ReadAllAsync(session));
        disk.Witness.Beat();

        Assert.Equal((SessionState.Broken, DiskStatus.Failed), (session.State, disk.Describe().OperationalStatus));
    }

    [Fact]
    public async Task One_that_has_grown_keeps_its_disk_and_its_snapshot_at_their_size()
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        Disk disk = await rig.AddDiskAsync("vm", content);
        Session session = await Rig.StartAsync(disk);
        await ResizeAsync(disk.Path, SizeBytes * 2);

        disk.Witness.Beat();
        await disk.Device.WriteAsync(0, new byte[4096]);
        byte[] snapshot = new byte[SizeBytes];
        await session.Snapshot.ReadAsync(0, snapshot);

        Assert.Equal(content, snapshot);
        Assert.Equal((SizeBytes, DiskStatus.Ok), (disk.SizeBytes, disk.Describe().OperationalStatus));
        await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.WriteAsync(SizeBytes, new byte[512]));
    }

    private static string Named(ImageFormat format, string name) => $"{name}.{format.ToString().ToLowerInvariant()}";

    // A guest that trusts the disk hears of it at the latest then.
    private static async Task DismountAsync(Disk disk) =>
        Assert.Equal(BlockErrors.Truncated, (await Assert.ThrowsAsync<BlockException>(async () => await disk.DisposeAsync())).Kind);

    /// <summary>An image full of data.</summary>
    private static async Task<string> CreateAsync(Rig rig, ImageFormat format, string name)
    {
        string path = rig.Folder.File(Named(format, name));
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = SizeBytes });
        (IBlockNode image, _) = await Image.OpenAsync(path);
        await image.WriteAsync(0, rig.Seeds.Bytes(SizeBytes), WriteFlags.None, CancellationToken.None);
        await image.DisposeAsync();
        return path;
    }

    // By a program that asks for no lock.
    private static async Task ResizeAsync(string path, long lengthBytes)
    {
        Peer.Need("truncate");
        await Peer.RunAsync("truncate", "-s", lengthBytes.ToString(CultureInfo.InvariantCulture), path);
    }
}
