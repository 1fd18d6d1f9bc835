// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text.Json;
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>Bitmaps in qcow2 images, written here and used by QEMU, and the other way round.</summary>
public sealed class Qcow2BitmapTests : IAsyncDisposable
{
    private const long G = 65536;
    private const long SizeBytes = 640 * G + 512;

    private static readonly Guid BaselineId = new("3f0a5e0c-5a0b-4d6e-9a57-0d6f3c6b1a11");

    private readonly Rig _rig = new();

    private string ImagePath => _rig.Folder.File("vm.qcow2");

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Theory]
    [InlineData(512, 512)]
    [InlineData(65536, 65536)]
    [InlineData(2 * 1024 * 1024, 4096)]
    public async Task Qemu_finds_the_bitmaps_of_a_dismounted_image_and_no_fault(int clusterBytes, long granularityBytes)
    {
        Peer.Need("qemu-img");
        Disk disk = await MakeAsync(clusterBytes);
        await disk.Bitmaps.CreateAsync("on", granularityBytes);
        await disk.Bitmaps.CreateAsync("off", granularityBytes, isEnabled: false);
        await ScribbleAsync(disk);

        await disk.DisposeAsync();

        Assert.False(File.Exists(Sidecar.PathFor(ImagePath)));
        await Peer.RunAsync("qemu-img", "check", "-f", "qcow2", ImagePath);
        Assert.Equal(
            [("off", granularityBytes, ""), ("on", granularityBytes, "auto")],
            (await QemuBitmapsAsync()).OrderBy(bitmap => bitmap.Name, StringComparer.Ordinal));
    }

    [Fact]
    public async Task Qemu_loads_the_bits_that_were_recorded_here()
    {
        Peer.Need("qemu-img", "qemu-nbd", "nbdinfo");
        Disk disk = await MakeAsync(65536);
        Bitmap bitmap = await disk.Bitmaps.CreateAsync("daily");
        await ScribbleAsync(disk);
        BlockRange[] expected = [.. bitmap.GetDirtyRanges()];

        await disk.DisposeAsync();

        Assert.Equal(expected, await QemuRangesAsync("daily"));
    }

    [Fact]
    public async Task What_qemu_made_and_recorded_is_found_here()
    {
        Peer.Need("qemu-img", "qemu-io");
        await Peer.RunAsync("qemu-img", "create", "-f", "qcow2", ImagePath, SizeBytes.ToString(CultureInfo.InvariantCulture));
        await Peer.RunAsync("qemu-img", "bitmap", "--add", "-g", "64k", ImagePath, "theirs");
        await Peer.RunAsync("qemu-img", "bitmap", "--add", "--disable", "-g", "512", ImagePath, "still");
        await Peer.RunAsync("qemu-io", "-f", "qcow2", "-c", "write 64k 128k", "-c", "write 640k 1", ImagePath);
        Assert.Equal(
            [
                new ImageBitmap("still", 512, IsEnabled: false, IsInUse: false),
                new ImageBitmap("theirs", G, IsEnabled: true, IsInUse: false),
            ],
            (await Image.GetInfoAsync(ImagePath, null, default)).Bitmaps.OrderBy(bitmap => bitmap.Name, StringComparer.Ordinal));

        Disk disk = await _rig.OpenAsync(ImagePath);

        Assert.Equal([1, 2, 10], DiskBitmapsTests.Units(disk.Bitmaps.Find("theirs")));
        Assert.Equal((BitmapState.Disabled, 512, 0), Facts(disk.Bitmaps.Find("still")));
        await DiskBitmapsTests.WriteAsync(disk, 20);
        await disk.DisposeAsync();
        await Peer.RunAsync("qemu-img", "check", "-f", "qcow2", ImagePath);
        Assert.Equal(["still", "theirs"], (await QemuBitmapsAsync()).Select(bitmap => bitmap.Name).Order(StringComparer.Ordinal));
        disk = await _rig.OpenAsync(ImagePath);
        Assert.Equal([1, 2, 10, 20], DiskBitmapsTests.Units(disk.Bitmaps.Find("theirs")));
    }

    [Fact]
    public async Task Qemu_merges_and_removes_ours_and_writes_into_them()
    {
        Peer.Need("qemu-img", "qemu-io");
        Disk disk = await MakeAsync(65536);
        await disk.Bitmaps.CreateAsync("a");
        await DiskBitmapsTests.WriteAsync(disk, 3);
        await disk.Bitmaps.CreateAsync("b");
        await disk.DisposeAsync();
        await Peer.RunAsync("qemu-io", "-f", "qcow2", "-c", "write 320k 64k", ImagePath);
        await Peer.RunAsync("qemu-img", "bitmap", "--merge", "a", ImagePath, "b");
        await Peer.RunAsync("qemu-img", "bitmap", "--remove", ImagePath, "a");

        disk = await _rig.OpenAsync(ImagePath);

        Assert.Equal([3, 5], DiskBitmapsTests.Units(Assert.Single(disk.Bitmaps.All)));
    }

    [Fact]
    public async Task While_the_disk_is_mounted_the_image_says_in_use()
    {
        Peer.Need("qemu-img");
        Disk disk = await MakeAsync(65536);
        await disk.Bitmaps.CreateAsync("daily");
        disk = await _rig.RemountAsync(disk);

        Assert.Equal([("daily", G, "in-use auto")], await QemuBitmapsAsync());
        await DiskBitmapsTests.WriteAsync(disk, 1);
        Assert.Equal([("daily", G, "in-use auto")], await QemuBitmapsAsync());
    }

    [Fact]
    public async Task A_kill_is_survived_with_the_sidecar_and_not_without()
    {
        Peer.Need("qemu-img");
        Disk disk = await MakeAsync(65536);
        await disk.Bitmaps.CreateAsync("daily");
        disk = await _rig.RemountAsync(disk);
        await DiskBitmapsTests.WriteAsync(disk, 1);
        await _rig.KillAsync(disk);
        disk = await _rig.OpenAsync(ImagePath);
        Assert.Equal([1], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));

        await _rig.KillAsync(disk);
        File.Delete(Sidecar.PathFor(ImagePath));
        disk = await _rig.OpenAsync(ImagePath);

        Assert.Contains("in use", disk.Bitmaps.Find("daily").Reason, StringComparison.Ordinal);
        disk = await _rig.RemountAsync(disk);
        Assert.Equal(BitmapState.Untrusted, disk.Bitmaps.Find("daily").State);
        await disk.Bitmaps.ClearAsync("daily");
        await DiskBitmapsTests.WriteAsync(disk, 2);
        disk = await _rig.RemountAsync(disk);
        Assert.Equal([2], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task Bitmaps_that_a_program_without_support_made_void_are_left_out_and_said_so()
    {
        Peer.Need("qemu-img");
        Disk disk = await MakeAsync(65536);
        await disk.Bitmaps.CreateAsync("daily");
        await disk.DisposeAsync();
        await using (FileStream image = File.OpenWrite(ImagePath))
        {
            // autoclear_features, as every such program leaves it
            image.Position = 88;
            image.Write(new byte[8]);
        }

        disk = await _rig.OpenAsync(ImagePath);

        Assert.Empty(disk.Bitmaps.All);
        Assert.Contains("void", Assert.Single(disk.Bitmaps.Notes), StringComparison.Ordinal);
        await disk.Bitmaps.CreateAsync("daily");
        disk = await _rig.RemountAsync(disk);
        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal("daily", Assert.Single(disk.Bitmaps.All).Name);
    }

    [Fact]
    public async Task Removing_the_last_bitmap_leaves_an_image_without_any()
    {
        Peer.Need("qemu-img");
        Disk disk = await MakeAsync(65536);
        await disk.Bitmaps.CreateAsync("daily");
        await ScribbleAsync(disk);
        disk = await _rig.RemountAsync(disk);

        await disk.Bitmaps.RemoveAsync("daily");
        await disk.DisposeAsync();

        Assert.Empty(await QemuBitmapsAsync());
        await Peer.RunAsync("qemu-img", "check", "-f", "qcow2", ImagePath);
    }

    // A folder in the place of the new sidecar keeps it from being made.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_sidecar_that_could_not_be_renewed_once_is_replaced_by_the_next_bitmap(bool isKilled)
    {
        string obstacle = await LeaveUnrenewedAsync();
        Disk disk = await _rig.OpenAsync(ImagePath);
        Assert.Contains("kept in the image alone", Assert.Single(disk.Notes), StringComparison.Ordinal);
        Directory.Delete(obstacle, recursive: true);

        await disk.Bitmaps.CreateAsync("other");
        await DiskBitmapsTests.WriteAsync(disk, 2);

        Assert.Null(disk.Bitmaps.JournalFault);
        await (isKilled ? _rig.KillAsync(disk) : disk.DisposeAsync().AsTask());
        disk = await _rig.OpenAsync(ImagePath);
        Assert.Equal([2], DiskBitmapsTests.Units(disk.Bitmaps.Find("other")));
        Bitmap daily = disk.Bitmaps.Find("daily");
        Assert.Equal(isKilled, daily.State == BitmapState.Untrusted);
        Assert.Equal(isKilled ? null : BaselineId, daily.BaselineId);
        if (!isKilled)
        {
            Assert.Equal([1, 2], DiskBitmapsTests.Units(daily));
        }
    }

    [Fact]
    public async Task Where_no_sidecar_can_be_made_the_image_alone_keeps_old_and_new_bitmaps()
    {
        string obstacle = await LeaveUnrenewedAsync();
        Disk disk = await _rig.OpenAsync(ImagePath);
        await disk.Bitmaps.CreateAsync("other");
        await DiskBitmapsTests.WriteAsync(disk, 2);

        Assert.Contains(obstacle, disk.Bitmaps.JournalFault, StringComparison.Ordinal);
        await disk.DisposeAsync();
        Directory.Delete(obstacle, recursive: true);
        disk = await _rig.OpenAsync(ImagePath);

        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([1, 2], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
        Assert.Equal([2], DiskBitmapsTests.Units(disk.Bitmaps.Find("other")));
    }

    // Every byte of the directory and the table, one after the other: refused with a reason, or harmless; never a crash, and the
    // disk can be read.
    [Fact]
    public async Task Damage_in_the_directory_is_refused_or_harmless()
    {
        Disk disk = await MakeAsync(512);
        await disk.Bitmaps.CreateAsync("daily", 512);
        await disk.DisposeAsync();
        byte[] good = await File.ReadAllBytesAsync(ImagePath);
        int directory = good.AsSpan().IndexOf("daily"u8) - 24;
        for (int i = directory; i < directory + 32; i++)
        {
            byte[] bad = [.. good];
            bad[i] ^= 0xFF;
            await File.WriteAllBytesAsync(ImagePath, bad);
            try
            {
                await using Disk damaged = await Disk.OpenAsync(ImagePath);
            }
            catch (BlockException e)
            {
                Assert.True(e.Kind is ImageErrors.Corrupt or BlockErrors.Unsupported, e.Message);
            }

            await File.WriteAllBytesAsync(ImagePath, bad);
            await using Disk readOnly = await Disk.OpenAsync(ImagePath, options: new ImageOpenOptions { IsReadOnly = true });
            Assert.Equal(SizeBytes, readOnly.SizeBytes);
            File.Delete(Sidecar.PathFor(ImagePath));
        }
    }

    private async Task<string> LeaveUnrenewedAsync()
    {
        Disk disk = await MakeAsync(65536);
        (await disk.Bitmaps.CreateAsync("daily")).BaselineId = BaselineId;
        await DiskBitmapsTests.WriteAsync(disk, 1);
        await disk.DisposeAsync();
        string obstacle = Sidecar.PathFor(ImagePath) + ".new";
        Directory.CreateDirectory(Path.Combine(obstacle, "full"));
        return obstacle;
    }

    private static (BitmapState State, long GranularityBytes, long DirtyBytes) Facts(Bitmap bitmap) =>
        (bitmap.State, bitmap.GranularityBytes, bitmap.DirtyBytes);

    private async Task<Disk> MakeAsync(int clusterBytes)
    {
        await Image.CreateAsync(
            ImagePath,
            new ImageCreateOptions { Format = ImageFormat.Qcow2, SizeBytes = SizeBytes, BlockSizeBytes = clusterBytes },
            default);
        return await _rig.OpenAsync(ImagePath);
    }

    private async Task ScribbleAsync(Disk disk)
    {
        for (int i = 0; i < 20; i++)
        {
            BlockRange range = _rig.Seeds.Range(SizeBytes);
            await disk.Device.WriteAsync(range.OffsetBytes, new byte[Math.Min(range.LengthBytes, 3 * G)]);
        }
    }

    private async Task<List<(string Name, long GranularityBytes, string Flags)>> QemuBitmapsAsync()
    {
        // -U: what a mounted disk's image says is wanted too.
        using JsonDocument info = JsonDocument.Parse(
            await Peer.RunAsync("qemu-img", "info", "-U", "--output=json", "-f", "qcow2", ImagePath));
        return info.RootElement.GetProperty("format-specific").GetProperty("data").TryGetProperty("bitmaps", out JsonElement bitmaps)
            ? [.. bitmaps.EnumerateArray().Select(bitmap => (
                bitmap.GetProperty("name").GetString()!,
                bitmap.GetProperty("granularity").GetInt64(),
                string.Join(' ', bitmap.GetProperty("flags").EnumerateArray().Select(flag => flag.GetString()))))]
            : [];
    }

    private async Task<List<BlockRange>> QemuRangesAsync(string name)
    {
        string output = await Peer.RunAsync(
            "nbdinfo", "--json", $"--map=qemu:dirty-bitmap:{name}", "--", "[", "qemu-nbd", "-r", "-f", "qcow2", "-B", name, ImagePath, "]");
        using JsonDocument map = JsonDocument.Parse(output);
        List<BlockRange> ranges = [];
        foreach (JsonElement run in map.RootElement.EnumerateArray().Where(run => run.GetProperty("type").GetInt32() == 1))
        {
            ranges.Add(new BlockRange(run.GetProperty("offset").GetInt64(), run.GetProperty("length").GetInt64()));
        }

        return ranges;
    }
}
