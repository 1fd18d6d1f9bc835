// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Images;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>What a mount itself changes in an image, before its bitmaps are read and after, is never taken for a stranger's change.</summary>
public sealed class BitmapEvidenceTests
{
    private const long G = 65536;
    private const long SizeBytes = 64 * G;

    [Theory]
    [InlineData(ImageFormat.Raw, false)]
    [InlineData(ImageFormat.Vhd, false)]
    [InlineData(ImageFormat.Qcow2, false)]
    [InlineData(ImageFormat.Vhdx, true)]
    public async Task A_mount_long_after_a_kill_trusts_the_bitmaps_though_it_replays_a_log(ImageFormat format, bool hasLog)
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig, format);
        await rig.KillLongAgoAsync(disk);
        Assert.Equal(hasLog, (await Image.GetInfoAsync(disk.Path, format, default)).IsDirty);

        disk = await rig.OpenAsync(disk.Path);

        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([5, 6], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    // The bits of 1 GiB lie on 64 pages of the sidecar.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Bits_of_every_page_of_a_bitmap_are_there_after_a_dismount_and_after_a_kill(bool isKilled)
    {
        await using Rig rig = new();
        const long diskBytes = 1L << 30;
        Disk disk = await rig.AddDiskAsync("vm", diskBytes);
        await disk.Bitmaps.CreateAsync("daily", 512);
        BlockRange[] written = [.. Enumerable.Range(0, 40).Select(i => new BlockRange(i * (diskBytes / 40 / 512) * 512, 512))];
        foreach (BlockRange range in written)
        {
            await disk.Device.WriteAsync(range.OffsetBytes, new byte[512]);
        }

        if (isKilled)
        {
            await rig.KillAsync(disk);
            disk = await rig.OpenAsync(disk.Path);
        }
        else
        {
            disk = await rig.RemountAsync(disk);
        }

        Assert.Equal(written, disk.Bitmaps.Find("daily").GetDirtyRanges());
    }

    // QEMU sets bit 0 of the incompatible features, at offset 72, in images with lazy refcounts ("qcow2.txt").
    [Fact]
    public async Task A_mount_long_after_a_kill_trusts_the_bitmaps_though_it_counts_refcounts_anew()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig, ImageFormat.Qcow2);
        await rig.KillLongAgoAsync(disk);
        await using (FileStream image = new(disk.Path, FileMode.Open, FileAccess.ReadWrite))
        {
            image.Position = 79;
            image.WriteByte(1);
        }

        Rig.Age(disk.Path);

        disk = await rig.OpenAsync(disk.Path);

        Assert.True(File.GetLastWriteTimeUtc(disk.Path) > DateTime.UtcNow.AddSeconds(-50));
        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([5, 6], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task A_stranger_who_changed_the_image_before_the_log_is_replayed_is_noticed()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig, ImageFormat.Vhdx);
        await rig.KillLongAgoAsync(disk);
        File.SetLastWriteTimeUtc(disk.Path, DateTime.UtcNow.AddSeconds(-40));

        disk = await rig.OpenAsync(disk.Path);

        Assert.Contains("the image was changed later", disk.Bitmaps.Find("daily").Reason, StringComparison.Ordinal);
    }

    // The sidecar can't be made anew, so it stops following the guest; the next mount must not believe the old one.
    [Theory]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Vhdx)]
    [InlineData(ImageFormat.Qcow2)]
    public async Task A_mount_that_can_not_go_on_recording_leaves_nothing_to_trust(ImageFormat format)
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig, format);
        await rig.KillAsync(disk);
        string blocked = Sidecar.PathFor(disk.Path) + ".new";
        Directory.CreateDirectory(blocked);

        disk = await rig.OpenAsync(disk.Path);
        await DiskBitmapsTests.WriteAsync(disk, 9);
        await rig.KillAsync(disk);
        Directory.Delete(blocked);
        disk = await rig.OpenAsync(disk.Path);

        Assert.Equal(BitmapState.Untrusted, disk.Bitmaps.Find("daily").State);
    }

    private static async Task<Disk> MakeAsync(Rig rig, ImageFormat format)
    {
        string path = rig.Folder.File($"vm.{format}");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, SizeBytes = SizeBytes }, default);
        Disk disk = await rig.OpenAsync(path);
        await disk.Bitmaps.CreateAsync("daily", G);
        await DiskBitmapsTests.WriteAsync(disk, 5);
        await disk.Device.FlushAsync();
        await DiskBitmapsTests.WriteAsync(disk, 6);
        return disk;
    }
}
