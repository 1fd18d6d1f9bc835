// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Bitmaps;
using Fleece.Disks.Tests.Bitmaps;
using Fleece.Images;

namespace Fleece.Disks.Tests;

/// <summary>What <see cref="IFleeceable"/> promises, held to by a disk of this process.</summary>
public sealed class FleeceableTests : IAsyncDisposable
{
    private const int SizeBytes = 1024 * 1024;
    private const int UnitBytes = 65536;

    private readonly Rig _rig = new();

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Fact]
    public async Task The_list_tells_of_each_bitmap_whose_it_is_what_it_counts_from_and_whether_it_records()
    {
        Disk parent = await _rig.AddDiskAsync("base", SizeBytes);
        await parent.Bitmaps.CreateAsync("old");
        await parent.DisposeAsync();
        string path = _rig.Folder.File("vm.qcow2");
        await Image.CreateAsync(
            path, new ImageCreateOptions { Format = ImageFormat.Qcow2, ParentPath = parent.Path, ParentFormat = ImageFormat.Raw });
        Disk disk = await _rig.OpenAsync(path);
        await disk.Bitmaps.CreateAsync("counting");
        await disk.Bitmaps.CreateAsync("idle", isEnabled: false);
        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = "counting" });
        await session.StopAsync(isSuccess: true);

        IReadOnlyList<BitmapDescription> bitmaps = await ((IFleeceable)disk).ListBitmapsAsync(CancellationToken.None);

        Assert.Equal(
            [
                new BitmapDescription("counting", "counting", ParentPath: null, session.InstantId, IsEnabled: true, Fault: null),
                new BitmapDescription("idle", "idle", ParentPath: null, BaselineId: null, IsEnabled: false, Fault: null),
                new BitmapDescription("old", "old", parent.Path, BaselineId: null, IsEnabled: false, Fault: null),
            ],
            bitmaps);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_bitmap_that_is_restarted_is_empty_and_records_whether_it_was_disabled_or_not_trusted(bool isDisabled)
    {
        Disk disk = await _rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily");
        await WriteAsync(disk, 1);
        if (isDisabled)
        {
            await disk.Bitmaps.DisableAsync("daily");
        }
        else
        {
            await disk.DisposeAsync();
            File.SetLastWriteTimeUtc(disk.Path, DateTime.UtcNow.AddMinutes(1)); // As a program that wrote to the image.
            disk = await _rig.OpenAsync(disk.Path);
        }

        IFleeceable fleeceable = disk;
        BitmapDescription before = Assert.Single(await fleeceable.ListBitmapsAsync(CancellationToken.None));

        BitmapDescription after = await fleeceable.RestartBitmapAsync(before.ExactName, CancellationToken.None);
        await WriteAsync(disk, 2);

        Assert.Equal((!isDisabled, !isDisabled), (before.IsEnabled, before.Fault is not null));
        Assert.Equal((true, null), (after.IsEnabled, after.Fault));
        Assert.Equal([2], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Theory]
    [InlineData(true, false, true)]
    [InlineData(true, true, false)]
    [InlineData(false, false, false)]
    public async Task The_end_of_a_session_tells_whether_its_bitmap_counts_from_it(bool isSuccess, bool isBroken, bool countsFromIt)
    {
        Disk disk = await _rig.AddDiskAsync("vm", SizeBytes);
        IFleeceable fleeceable = disk;
        BitmapDescription bitmap = await fleeceable.CreateBitmapAsync("daily", CancellationToken.None);
        await WriteAsync(disk, 1);
        IFleeceSession session = await fleeceable.BeginSessionAsync(
            new SessionOptions { Bitmap = bitmap.ExactName }, CancellationToken.None);
        await WriteAsync(disk, 2);
        if (isBroken)
        {
            disk.Sessions[0].Point.Break(new BlockException(BlockErrors.NoSpace, "Temp is full."));
        }

        bool told = await session.EndAsync(isSuccess);
        bool toldAgain = await session.EndAsync(!isSuccess);

        Assert.Equal((countsFromIt, countsFromIt), (told, toldAgain));
        Assert.Empty(disk.Sessions);
        bitmap = Assert.Single(await fleeceable.ListBitmapsAsync(CancellationToken.None));
        Assert.Equal(countsFromIt ? session.Identity!.Id : null, bitmap.BaselineId);
        Assert.Equal(countsFromIt ? [2] : [1, 2], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task The_end_of_a_session_without_a_bitmap_holds_nothing_back()
    {
        IFleeceable disk = await _rig.AddDiskAsync("vm", SizeBytes);

        IFleeceSession session = await disk.BeginSessionAsync(new SessionOptions(), CancellationToken.None);

        Assert.True(await session.EndAsync(isSuccess: true));
    }

    private static Task WriteAsync(Disk disk, int unit) => disk.Device.WriteAsync(unit * UnitBytes, new byte[UnitBytes]).AsTask();
}
