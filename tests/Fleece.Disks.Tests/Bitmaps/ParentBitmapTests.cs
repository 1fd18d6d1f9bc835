// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Images;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>Bitmaps of parent images, as records that a child shows and does not change.</summary>
public sealed class ParentBitmapTests : IAsyncDisposable
{
    private const long G = 65536;
    private const long SizeBytes = 64 * G;

    private readonly Rig _rig = new();

    private string ParentPath { get; set; } = string.Empty;

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Theory]
    [InlineData(ImageFormat.Qcow2)]
    [InlineData(ImageFormat.Raw)]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task A_closed_parents_bitmap_is_shown_with_its_image(ImageFormat format)
    {
        Disk disk = await MountChildAsync(await ParentAsync(format));

        Bitmap bitmap = Assert.Single(disk.Bitmaps.All);

        Assert.Equal(("daily", BitmapState.OfParent, ParentPath), (bitmap.Name, bitmap.State, bitmap.ImagePath));
        Assert.Equal([3, 10], DiskBitmapsTests.Units(bitmap));
        Assert.Empty(disk.Notes);
    }

    [Theory]
    [InlineData(ImageFormat.Vhd)]
    [InlineData(ImageFormat.Vhdx)]
    public async Task A_child_of_any_format_shows_the_bitmap_of_its_parents_sidecar(ImageFormat format)
    {
        Disk disk = await MountChildAsync(await ParentAsync(format), format);

        Assert.Equal([3, 10], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task What_the_child_writes_is_not_recorded_in_it()
    {
        Disk disk = await MountChildAsync(await ParentAsync(ImageFormat.Qcow2));
        await DiskBitmapsTests.WriteAsync(disk, 20);
        disk = await _rig.RemountAsync(disk);

        Assert.Equal([3, 10], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task Nothing_changes_or_pins_it_through_the_child()
    {
        Disk disk = await MountChildAsync(await ParentAsync(ImageFormat.Qcow2));
        await disk.Bitmaps.CreateAsync("own");

        await RefusedAsync(() => disk.Bitmaps.ClearAsync("daily").AsTask());
        await RefusedAsync(() => disk.Bitmaps.RemoveAsync("daily").AsTask());
        await RefusedAsync(() => disk.Bitmaps.EnableAsync("daily").AsTask());
        await RefusedAsync(() => disk.Bitmaps.DisableAsync("daily").AsTask());
        await RefusedAsync(() => disk.Bitmaps.MergeAsync("daily", ["own"]).AsTask());
        await RefusedAsync(() => Rig.StartAsync(disk, new SessionOptions { Name = "s", Bitmap = "daily" }));
        Assert.Empty(disk.Sessions);
        Assert.Equal([3, 10], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    // The way out that the refusal names: what changed in the parent and what changed since, in one bitmap.
    [Fact]
    public async Task Merged_with_the_childs_own_it_limits_a_snapshot()
    {
        Disk disk = await MountChildAsync(await ParentAsync(ImageFormat.Qcow2));
        await disk.Bitmaps.CreateAsync("own");
        await DiskBitmapsTests.WriteAsync(disk, 20);
        await disk.Bitmaps.CreateAsync("all", isEnabled: false);
        await disk.Bitmaps.MergeAsync("all", ["daily", "own"]);

        Session session = await Rig.StartAsync(disk, new SessionOptions { Name = "s", Bitmap = "all" });

        Assert.Equal([3, 10, 20], DiskBitmapsTests.Units(disk.Bitmaps.Find("all")));
        Assert.Equal(
            BlockErrors.Denied,
            (await Assert.ThrowsAsync<BlockException>(() => session.Snapshot.ReadAsync(0, new byte[512]).AsTask())).Kind);
    }

    [Fact]
    public async Task A_bitmap_of_the_child_hides_the_parents_of_its_name()
    {
        Disk disk = await MountChildAsync(await ParentAsync(ImageFormat.Qcow2));

        Bitmap own = await disk.Bitmaps.CreateAsync("daily");

        Assert.Equal(own, Assert.Single(disk.Bitmaps.All));
        await disk.Bitmaps.RemoveAsync("daily");
        Assert.Equal(BitmapState.OfParent, Assert.Single(disk.Bitmaps.All).State);
    }

    [Fact]
    public async Task A_sidecar_that_its_process_left_in_use_is_not_trusted()
    {
        Disk parent = await _rig.AddDiskAsync("base", SizeBytes);
        ParentPath = parent.Path;
        await parent.Bitmaps.CreateAsync("daily");
        await DiskBitmapsTests.WriteAsync(parent, 3);
        await _rig.KillAsync(parent);

        Disk disk = await MountChildAsync(ParentPath);

        Bitmap bitmap = disk.Bitmaps.Find("daily");
        Assert.Equal(BitmapState.Untrusted, bitmap.State);
        Assert.Contains("ended without closing", bitmap.Reason, StringComparison.Ordinal);
        Assert.Equal(
            DiskErrors.BitmapUntrusted,
            (await Assert.ThrowsAsync<BlockException>(() => MergeIntoNewAsync(disk))).Kind);
    }

    [Fact]
    public async Task One_that_is_not_trusted_is_refused_without_advice_to_merge_it()
    {
        string parent = await ParentAsync(ImageFormat.Raw);
        File.SetLastWriteTimeUtc(parent, DateTime.UtcNow.AddMinutes(1));
        Disk disk = await MountChildAsync(parent);

        BlockException clearing = await Assert.ThrowsAsync<BlockException>(() => disk.Bitmaps.ClearAsync("daily").AsTask());
        BlockException pinning = await Assert.ThrowsAsync<BlockException>(
            () => Rig.StartAsync(disk, new SessionOptions { Name = "s", Bitmap = "daily" }));

        Assert.All([clearing, pinning], refusal =>
        {
            Assert.Equal(DiskErrors.BitmapOfParent, refusal.Kind);
            Assert.Contains("can't be trusted", refusal.Message, StringComparison.Ordinal);
            Assert.Contains("changed without it", refusal.Message, StringComparison.Ordinal);
            Assert.DoesNotContain("Merge-FleeceBitmap", refusal.Message, StringComparison.Ordinal);
        });
    }

    [Fact]
    public async Task A_parent_that_was_changed_without_its_sidecar_makes_it_untrusted()
    {
        string parent = await ParentAsync(ImageFormat.Raw);
        File.SetLastWriteTimeUtc(parent, DateTime.UtcNow.AddMinutes(1));

        Disk disk = await MountChildAsync(parent);

        Assert.Contains("changed without it", disk.Bitmaps.Find("daily").Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bitmaps_that_can_not_be_read_leave_the_child_usable_and_are_told()
    {
        string parent = await ParentAsync(ImageFormat.Raw);
        await File.WriteAllTextAsync(Sidecar.PathFor(parent), "no bitmaps");

        Disk disk = await MountChildAsync(parent);

        Assert.Empty(disk.Bitmaps.All);
        Assert.Contains("left out", Assert.Single(disk.Notes), StringComparison.Ordinal);
        await DiskBitmapsTests.WriteAsync(disk, 1);
    }

    private static async Task MergeIntoNewAsync(Disk disk)
    {
        await disk.Bitmaps.CreateAsync("all");
        await disk.Bitmaps.MergeAsync("all", ["daily"]);
    }

    private static async Task RefusedAsync(Func<Task> change)
    {
        BlockException refusal = await Assert.ThrowsAsync<BlockException>(change);
        Assert.Equal(DiskErrors.BitmapOfParent, refusal.Kind);
        Assert.Contains("New-FleeceBitmap", refusal.Message, StringComparison.Ordinal);
    }

    private async Task<string> ParentAsync(ImageFormat format)
    {
        ParentPath = _rig.Folder.File($"base.{format.ToString().ToLowerInvariant()}");
        await Image.CreateAsync(ParentPath, new ImageCreateOptions { Format = format, SizeBytes = SizeBytes });
        Disk parent = await _rig.OpenAsync(ParentPath);
        await parent.Bitmaps.CreateAsync("daily");
        await DiskBitmapsTests.WriteAsync(parent, 3);
        await DiskBitmapsTests.WriteAsync(parent, 10);
        await parent.DisposeAsync();
        return ParentPath;
    }

    private async Task<Disk> MountChildAsync(string parent, ImageFormat format = ImageFormat.Qcow2)
    {
        string path = _rig.Folder.File($"child.{format.ToString().ToLowerInvariant()}");
        await Image.CreateAsync(path, new ImageCreateOptions { Format = format, ParentPath = parent });
        return await _rig.OpenAsync(path);
    }
}
