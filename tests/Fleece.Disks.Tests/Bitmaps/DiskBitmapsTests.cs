// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Names;

namespace Fleece.Disks.Tests.Bitmaps;

public sealed class DiskBitmapsTests
{
    private const long G = 65536;
    private const long SizeBytes = 64 * G;

    [Fact]
    public async Task A_bitmap_has_what_was_written_zeroed_and_discarded_since_it_was_made()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await WriteAsync(disk, 0);
        Bitmap bitmap = await disk.Bitmaps.CreateAsync("daily");

        await WriteAsync(disk, 2);
        await disk.Device.WriteZeroesAsync(4 * G, G);
        await disk.Device.DiscardAsync(6 * G, G);

        Assert.Equal([2, 4, 6], Units(bitmap));
        Assert.Equal((BitmapState.Recording, 3 * G, G), (bitmap.State, bitmap.DirtyBytes, bitmap.GranularityBytes));
    }

    [Fact]
    public async Task Several_bitmaps_record_with_their_own_granularity_from_their_own_moment()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        Bitmap first = await disk.Bitmaps.CreateAsync("first");
        await WriteAsync(disk, 1);
        Bitmap second = await disk.Bitmaps.CreateAsync("second", 512);

        await WriteAsync(disk, 2);

        Assert.Equal([1, 2], Units(first));
        Assert.Equal([new BlockRange(2 * G, 512)], second.GetDirtyRanges());
        Assert.Equal(["first", "second"], disk.Bitmaps.All.Select(bitmap => bitmap.Name));
    }

    [Fact]
    public async Task A_disabled_bitmap_keeps_what_it_has_and_records_nothing_until_it_is_enabled()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        Bitmap bitmap = await disk.Bitmaps.CreateAsync("daily", isEnabled: false);
        await WriteAsync(disk, 1);
        await disk.Bitmaps.EnableAsync("daily");
        await WriteAsync(disk, 2);

        await disk.Bitmaps.DisableAsync("daily");
        await WriteAsync(disk, 3);

        Assert.Equal(BitmapState.Disabled, bitmap.State);
        Assert.Equal([2], Units(bitmap));
    }

    [Fact]
    public async Task Clearing_empties_and_recording_goes_on()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        Bitmap bitmap = await disk.Bitmaps.CreateAsync("daily");
        await WriteAsync(disk, 1);

        await disk.Bitmaps.ClearAsync("daily");
        await WriteAsync(disk, 2);

        Assert.Equal([2], Units(bitmap));
    }

    [Fact]
    public async Task The_next_bitmap_takes_the_room_of_a_removed_one()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("kept");
        await disk.Bitmaps.CreateAsync("removed");
        long lengthBytes = new FileInfo(Sidecar.PathFor(disk.Path)).Length;

        await disk.Bitmaps.RemoveAsync("removed");
        await disk.Bitmaps.CreateAsync("next");

        Assert.Equal(lengthBytes, new FileInfo(Sidecar.PathFor(disk.Path)).Length);
    }

    [Fact]
    public async Task Merging_adds_the_others_widened_to_whole_units()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("fine", 512);
        await WriteAsync(disk, 1);
        await disk.Bitmaps.DisableAsync("fine");
        await disk.Bitmaps.CreateAsync("other");
        await WriteAsync(disk, 2);
        await disk.Bitmaps.DisableAsync("other");
        Bitmap target = await disk.Bitmaps.CreateAsync("target");
        await WriteAsync(disk, 3);

        await disk.Bitmaps.MergeAsync("target", ["fine", "other"]);

        Assert.Equal([1, 2, 3], Units(target));
        Assert.Equal([2], Units(disk.Bitmaps.Find("other")));
    }

    [Fact]
    public async Task The_last_bitmap_takes_the_sidecar_with_it()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        Assert.False(File.Exists(Sidecar.PathFor(disk.Path)));
        await disk.Bitmaps.CreateAsync("daily");
        Assert.True(File.Exists(Sidecar.PathFor(disk.Path)));

        await disk.Bitmaps.RemoveAsync("daily");

        Assert.False(File.Exists(Sidecar.PathFor(disk.Path)));
        Assert.Empty(disk.Bitmaps.All);
        await WriteAsync(disk, 1);
    }

    [Fact]
    public async Task Bitmaps_and_what_they_do_survive_the_dismount()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("on", 4096);
        await disk.Bitmaps.CreateAsync("off");
        await WriteAsync(disk, 5);
        await disk.Bitmaps.DisableAsync("off");

        disk = await rig.RemountAsync(disk);
        await WriteAsync(disk, 6);

        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([new BlockRange(5 * G, 4096), new BlockRange(6 * G, 4096)], disk.Bitmaps.Find("on").GetDirtyRanges());
        Assert.Equal(BitmapState.Disabled, disk.Bitmaps.Find("off").State);
        Assert.Equal([5], Units(disk.Bitmaps.Find("off")));
    }

    [Fact]
    public async Task A_read_only_disk_shows_its_bitmaps_and_refuses_to_change_them()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily");
        await WriteAsync(disk, 5);
        disk = await rig.RemountAsync(disk, isReadOnly: true);

        Assert.Equal([5], Units(disk.Bitmaps.Find("daily")));
        await RefusesAsync(BlockErrors.ReadOnly, () => disk.Bitmaps.CreateAsync("more").AsTask());
        await RefusesAsync(BlockErrors.ReadOnly, () => disk.Bitmaps.ClearAsync("daily").AsTask());
        await RefusesAsync(BlockErrors.ReadOnly, () => disk.Bitmaps.MergeAsync("daily", ["daily"]).AsTask());

        disk = await rig.RemountAsync(disk);
        Assert.Equal([5], Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task Names_are_found_as_written_or_without_regard_to_case_and_are_unique_so()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        Bitmap bitmap = await disk.Bitmaps.CreateAsync("Daily");

        Assert.Same(bitmap, disk.Bitmaps.Find("DAILY"));
        await RefusesAsync(DiskErrors.BitmapNameInUse, () => disk.Bitmaps.CreateAsync("daily").AsTask());
        Assert.Equal(DiskErrors.BitmapUnknown, Assert.Throws<BlockException>(() => disk.Bitmaps.Find("nightly")).Kind);
    }

    [Theory]
    [InlineData("")]
    [InlineData("a/b")]
    [InlineData("a*")]
    [InlineData("a\nb")]
    public async Task Names_that_could_not_be_told_from_others_are_refused(string name)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);

        await RefusesAsync(BlockErrors.InvalidArgument, () => disk.Bitmaps.CreateAsync(name).AsTask());
        Assert.False(File.Exists(Sidecar.PathFor(disk.Path)));
    }

    [Fact]
    public async Task A_name_has_1023_bytes_at_most()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        string longest = new('ä', 511);

        await disk.Bitmaps.CreateAsync(longest + "x");
        await RefusesAsync(BlockErrors.InvalidArgument, () => disk.Bitmaps.CreateAsync(longest + "xy").AsTask());

        disk = await rig.RemountAsync(disk);
        Assert.Equal(longest + "x", Assert.Single(disk.Bitmaps.All).Name);
    }

    [Fact]
    public async Task The_most_bitmaps_with_the_longest_names_fit_and_one_more_is_refused()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        string[] names =
        [
            .. Enumerable.Range(0, SidecarDirectory.MaximumBitmaps)
                .Select(i => i.ToString(CultureInfo.InvariantCulture).PadLeft(BitmapNames.MaximumBytes, 'n')),
        ];
        foreach (string name in names)
        {
            await disk.Bitmaps.CreateAsync(name);
        }

        await RefusesAsync(BlockErrors.InvalidArgument, () => disk.Bitmaps.CreateAsync("more").AsTask());
        await WriteAsync(disk, 9);

        disk = await rig.RemountAsync(disk);
        Assert.Equal(names.Order(StringComparer.OrdinalIgnoreCase), disk.Bitmaps.All.Select(bitmap => bitmap.Name));
        Assert.All(disk.Bitmaps.All, bitmap => Assert.Equal([9], Units(bitmap)));
    }

    // The guest must not notice: the disk goes on, the bitmap goes on in memory, and the next clean dismount stores it anew.
    [Fact]
    public async Task A_sidecar_that_can_not_be_written_any_more_is_given_up_and_made_anew_at_the_end()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily");
        disk.Bitmaps.Store.Sidecar!.Fail(new BlockException(BlockErrors.NoSpace, "The file system is full."));

        await WriteAsync(disk, 7);

        Assert.Contains("full", disk.Bitmaps.JournalFault, StringComparison.Ordinal);
        Assert.Equal([7], Units(disk.Bitmaps.Find("daily")));
        disk = await rig.RemountAsync(disk);
        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([7], Units(disk.Bitmaps.Find("daily")));
    }

    internal static long[] Units(Bitmap bitmap) =>
        [.. bitmap.GetDirtyRanges().SelectMany(range => Enumerable.Range(0, (int)((range.LengthBytes + G - 1) / G))
            .Select(i => range.OffsetBytes / G + i))];

    internal static async Task WriteAsync(Disk disk, long unit) => await disk.Device.WriteAsync(unit * G, new byte[] { 1 });

    internal static async Task RefusesAsync(string kind, Func<Task> action) =>
        Assert.Equal(kind, (await Assert.ThrowsAsync<BlockException>(action)).Kind);
}
