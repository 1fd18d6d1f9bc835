// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Images;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>What a bitmap is worth after everything that can happen to its files.</summary>
public sealed class BitmapTrustTests
{
    private const long G = 65536;
    private const long SizeBytes = 64 * G;

    [Fact]
    public async Task A_killed_process_loses_nothing()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);

        await rig.KillAsync(disk);
        disk = await rig.OpenAsync(disk.Path);

        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([5], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    // The start waits for the lock of another disk, say, while this one is dismounted and its file is sealed.
    [Fact]
    public async Task A_session_that_comes_too_late_for_a_disk_leaves_its_file_as_it_was_sealed()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.DisposeAsync();
        byte[] asSealed = await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path));

        await DiskBitmapsTests.RefusesAsync(BlockErrors.Closed, () => Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily" }));

        Assert.Equal(asSealed, await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path)));
        disk = await rig.OpenAsync(disk.Path);
        Assert.Equal([5], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task A_killed_process_of_an_earlier_run_of_the_system_leaves_nothing_to_trust()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        disk.Bitmaps.Store.Sidecar!.Write(disk.Bitmaps.Store.Sidecar.Directory with { BootId = Guid.NewGuid() });

        await rig.KillAsync(disk);

        await RefusesAsync(rig, disk, "the system has been started since");
    }

    [Fact]
    public async Task An_image_that_changed_after_the_kill_is_noticed()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await rig.KillAsync(disk);

        File.SetLastWriteTimeUtc(disk.Path, DateTime.UtcNow.AddMinutes(1));

        await RefusesAsync(rig, disk, "the image was changed later");
    }

    // The clock was ahead by an hour while the process had the image, and was put right behind its end.
    [Fact]
    public async Task An_image_that_changed_after_the_kill_is_noticed_where_its_sidecars_time_lies_ahead_of_that()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        disk.Witness.Beat();
        Sidecar sidecar = disk.Bitmaps.Store.Sidecar!;
        ImageStamp stamp = sidecar.ReadStamp()!;
        Assert.Equal(FileEvidence.Read(disk.Path).ModifiedTicks, stamp.ImageTicks);
        disk.Witness.Dispose();
        DateTime ahead = DateTime.UtcNow.AddHours(1);
        sidecar.Store(Sidecar.StampOffsetBytes, (stamp with { ClockTicks = ahead.Ticks }).Encode());
        await rig.KillAsync(disk);
        File.SetLastWriteTimeUtc(disk.Path, DateTime.UtcNow.AddMinutes(1));
        File.SetLastWriteTimeUtc(Sidecar.PathFor(disk.Path), ahead);

        await RefusesAsync(rig, disk, "the image was changed later");
    }

    [Fact]
    public async Task An_image_that_changed_after_the_dismount_is_noticed()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.DisposeAsync();

        await using (FileStream image = File.OpenWrite(disk.Path))
        {
            image.WriteByte(1);
        }

        File.SetLastWriteTimeUtc(disk.Path, DateTime.UtcNow.AddSeconds(1));
        await RefusesAsync(rig, disk, "changed without it: it was modified");
    }

    [Fact]
    public async Task An_image_of_another_size_is_noticed()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.DisposeAsync();

        await using (FileStream image = File.OpenWrite(disk.Path))
        {
            image.SetLength(SizeBytes + G);
        }

        await RefusesAsync(rig, disk, $"a disk of {SizeBytes} bytes");
    }

    [Fact]
    public async Task Another_image_in_its_place_is_noticed()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.DisposeAsync();
        DateTime modified = File.GetLastWriteTimeUtc(disk.Path);

        File.Copy(disk.Path, disk.Path + ".copy");
        File.Move(disk.Path + ".copy", disk.Path, overwrite: true);
        File.SetLastWriteTimeUtc(disk.Path, modified);

        await RefusesAsync(rig, disk, "another file");
    }

    [Fact]
    public async Task A_bitmap_that_was_refused_once_stays_refused_until_it_is_cleared()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.DisposeAsync();
        File.SetLastWriteTimeUtc(disk.Path, DateTime.UtcNow.AddMinutes(1));
        disk = await rig.OpenAsync(disk.Path);
        string reason = disk.Bitmaps.Find("daily").Reason!;

        disk = await rig.RemountAsync(disk);
        Assert.Equal(reason, disk.Bitmaps.Find("daily").Reason);
        await DiskBitmapsTests.WriteAsync(disk, 8);
        await disk.Bitmaps.ClearAsync("daily");
        await DiskBitmapsTests.WriteAsync(disk, 9);

        disk = await rig.RemountAsync(disk);
        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([9], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task A_session_and_a_merge_refuse_what_can_not_be_trusted()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.DisposeAsync();
        File.SetLastWriteTimeUtc(disk.Path, DateTime.UtcNow.AddMinutes(1));
        disk = await rig.OpenAsync(disk.Path);
        await disk.Bitmaps.CreateAsync("good");

        await DiskBitmapsTests.RefusesAsync(
            DiskErrors.BitmapUntrusted, () => Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily", NextBitmap = "next" }));
        await DiskBitmapsTests.RefusesAsync(
            DiskErrors.BitmapUntrusted, () => disk.Bitmaps.MergeAsync("good", ["daily"]).AsTask());

        Assert.Empty(disk.Sessions);
        Assert.Equal(["daily", "good"], disk.Bitmaps.All.Select(bitmap => bitmap.Name));
        Assert.Empty(Directory.GetFiles(rig.Folder.Path, "*.fleece-temp"));
    }

    // One byte of the older directory is harmless, one of both is not; the disk mounts in every case.
    [Fact]
    public async Task A_damaged_sidecar_is_refused_and_the_disk_goes_on_without_bitmaps()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.DisposeAsync();
        byte[] sidecar = await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path));
        sidecar[100] ^= 1;
        sidecar[SidecarDirectory.MaximumBytes + 100] ^= 1;
        await File.WriteAllBytesAsync(Sidecar.PathFor(disk.Path), sidecar);

        disk = await rig.OpenAsync(disk.Path);

        Assert.Contains("delete the file", Assert.Single(disk.Bitmaps.Notes), StringComparison.Ordinal);
        Assert.Equal(DiskErrors.BitmapStoreUnusable, Assert.Throws<BlockException>(() => disk.Bitmaps.All).Kind);
        await DiskBitmapsTests.RefusesAsync(
            DiskErrors.BitmapStoreUnusable, () => disk.Bitmaps.CreateAsync("daily").AsTask());
        await DiskBitmapsTests.WriteAsync(disk, 1);
        await disk.DisposeAsync();
        Assert.Equal(sidecar, await File.ReadAllBytesAsync(Sidecar.PathFor(disk.Path)));
    }

    [Fact]
    public async Task A_sidecar_with_any_flipped_byte_is_refused_or_says_the_same()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        byte[] good = disk.Bitmaps.Store.Sidecar!.Directory.Encode();
        SidecarDirectory expected = SidecarDirectory.Decode(good)!;
        Assert.Equal("daily", Assert.Single(expected.Entries).Name);

        for (int i = 0; i < good.Length; i++)
        {
            byte[] bad = [.. good];
            bad[i] ^= 0x40;
            Assert.Null(SidecarDirectory.Decode(bad));
            Assert.Null(SidecarDirectory.Decode(good.AsSpan(0, i)));
        }
    }

    private static async Task<Disk> MakeAsync(Rig rig)
    {
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily");
        await DiskBitmapsTests.WriteAsync(disk, 5);
        return disk;
    }

    private static async Task RefusesAsync(Rig rig, Disk disk, string reason)
    {
        disk = await rig.OpenAsync(disk.Path);
        Bitmap bitmap = disk.Bitmaps.Find("daily");

        Assert.Equal((BitmapState.Untrusted, 0), (bitmap.State, bitmap.DirtyBytes));
        Assert.Contains(reason, bitmap.Reason, StringComparison.Ordinal);
        Assert.Contains(reason, Assert.Single(disk.Bitmaps.Notes), StringComparison.Ordinal);
        Assert.Equal(DiskErrors.BitmapUntrusted, Assert.Throws<BlockException>(() => bitmap.GetDirtyRanges()).Kind);
    }
}
