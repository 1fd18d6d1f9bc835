// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Bitmaps;

namespace Fleece.Disks.Tests.Bitmaps;

/// <summary>Sessions that pin a bitmap and let another record.</summary>
public sealed class BitmapSessionTests
{
    private const long G = 65536;
    private const long SizeBytes = 64 * G;

    private static readonly SessionOptions Nightly = new() { Bitmap = "daily", NextBitmap = "daily2" };

    [Fact]
    public async Task The_snapshot_is_limited_to_what_the_bitmap_has_at_the_instant()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);

        Session session = await Rig.StartAsync(disk, Nightly);
        await DiskBitmapsTests.WriteAsync(disk, 9);

        Assert.Equal(
            [
                (0, 5 * G, SnapshotRunState.Denied),
                (5 * G, G, SnapshotRunState.Untouched),
                (6 * G, SizeBytes - 6 * G, SnapshotRunState.Denied),
            ],
            session.GetRuns().Select(run => (run.OffsetBytes, run.LengthBytes, run.State)));
    }

    [Fact]
    public async Task While_the_session_runs_the_bitmap_keeps_still_and_the_next_records()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);

        Session session = await Rig.StartAsync(disk, Nightly);
        await DiskBitmapsTests.WriteAsync(disk, 9);

        Bitmap daily = disk.Bitmaps.Find("daily");
        Bitmap next = disk.Bitmaps.Find("daily2");
        Assert.Equal((BitmapState.Frozen, BitmapState.Recording), (daily.State, next.State));
        Assert.Equal([5], DiskBitmapsTests.Units(daily));
        Assert.Equal([9], DiskBitmapsTests.Units(next));
        Assert.Equal((session.Id, session.Id), (daily.Session, next.Session));
        Assert.Equal((daily, next), (session.Bitmap, session.NextBitmap));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Success_leaves_what_the_next_recorded_under_the_name_and_failure_both(bool isSuccess)
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        for (int night = 0; night < 3; night++)
        {
            Session session = await Rig.StartAsync(disk, Nightly);
            await DiskBitmapsTests.WriteAsync(disk, 10 + night);
            await session.StopAsync(isSuccess);

            Assert.Equal("daily", Assert.Single(disk.Bitmaps.All).Name);
            Assert.Equal(
                isSuccess ? [10 + night] : [5, .. Enumerable.Range(10, night + 1).Select(unit => (long)unit)],
                DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
        }

        await DiskBitmapsTests.WriteAsync(disk, 20);
        disk = await rig.RemountAsync(disk);
        Assert.Equal(isSuccess ? [12, 20] : [5, 10, 11, 12, 20], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Without_a_name_for_the_next_it_goes_the_same_way(bool isSuccess)
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);

        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily" });
        await DiskBitmapsTests.WriteAsync(disk, 9);
        Assert.Equal("daily", Assert.Single(disk.Bitmaps.All).Name);
        Assert.Null(session.NextBitmap);
        await session.StopAsync(isSuccess);

        Assert.Equal(isSuccess ? [9] : [5, 9], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task A_broken_session_merges_even_when_it_is_stopped_as_a_success()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        Session session = await Rig.StartAsync(disk, Nightly);
        await DiskBitmapsTests.WriteAsync(disk, 9);
        session.Point.Break(new BlockException(BlockErrors.NoSpace, "Temp is full."));

        await session.StopAsync(isSuccess: true);

        Assert.Equal([5, 9], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Fact]
    public async Task A_dismount_merges()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await Rig.StartAsync(disk, Nightly);
        await DiskBitmapsTests.WriteAsync(disk, 9);

        disk = await rig.RemountAsync(disk);

        Assert.Equal([5, 9], DiskBitmapsTests.Units(Assert.Single(disk.Bitmaps.All)));
    }

    [Theory]
    [InlineData("daily2")]
    [InlineData(null)]
    public async Task A_killed_process_merges_at_the_next_mount_and_says_so(string? next)
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily", NextBitmap = next });
        await DiskBitmapsTests.WriteAsync(disk, 9);

        await rig.KillAsync(disk);
        disk = await rig.OpenAsync(disk.Path);

        Assert.Equal([5, 9], DiskBitmapsTests.Units(Assert.Single(disk.Bitmaps.All)));
        Assert.Contains("did not end", Assert.Single(disk.Bitmaps.Notes), StringComparison.Ordinal);
        disk = await rig.RemountAsync(disk);
        Assert.Empty(disk.Bitmaps.Notes);
        Assert.Equal([5, 9], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_first_session_leaves_a_bitmap_since_its_instant_only_when_it_succeeds(bool isSuccess)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await DiskBitmapsTests.WriteAsync(disk, 5);
        Session session = await Rig.StartAsync(disk, new SessionOptions { NextBitmap = "daily" });
        await DiskBitmapsTests.WriteAsync(disk, 9);

        await session.StopAsync(isSuccess);

        Assert.Equal(isSuccess ? ["daily"] : [], disk.Bitmaps.All.Select(bitmap => bitmap.Name));
        Assert.All(disk.Bitmaps.All, bitmap => Assert.Equal([9], DiskBitmapsTests.Units(bitmap)));
    }

    [Fact]
    public async Task A_disabled_bitmap_limits_a_session_and_stays_as_it_is()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await disk.Bitmaps.DisableAsync("daily");

        Session session = await Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily" });
        await DiskBitmapsTests.WriteAsync(disk, 9);
        await session.StopAsync(isSuccess: true);

        Assert.Equal(BitmapState.Disabled, disk.Bitmaps.Find("daily").State);
        Assert.Equal([5], DiskBitmapsTests.Units(disk.Bitmaps.Find("daily")));
        await DiskBitmapsTests.RefusesAsync(BlockErrors.InvalidArgument, () => Rig.StartAsync(disk, Nightly));
    }

    [Fact]
    public async Task A_bitmap_of_a_session_can_not_be_changed_nor_pinned_again()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);
        await Rig.StartAsync(disk, Nightly);

        foreach (string name in (string[])["daily", "daily2"])
        {
            await DiskBitmapsTests.RefusesAsync(DiskErrors.BitmapBusy, () => disk.Bitmaps.RemoveAsync(name).AsTask());
            await DiskBitmapsTests.RefusesAsync(DiskErrors.BitmapBusy, () => disk.Bitmaps.ClearAsync(name).AsTask());
            await DiskBitmapsTests.RefusesAsync(DiskErrors.BitmapBusy, () => disk.Bitmaps.DisableAsync(name).AsTask());
            await DiskBitmapsTests.RefusesAsync(DiskErrors.BitmapBusy, () => disk.Bitmaps.MergeAsync(name, [name]).AsTask());
            await DiskBitmapsTests.RefusesAsync(
                DiskErrors.BitmapBusy, () => Rig.StartAsync(disk, new SessionOptions { Name = "other", Bitmap = name }));
        }
    }

    [Fact]
    public async Task A_start_that_fails_on_the_second_disk_leaves_the_first_ones_bitmaps_as_they_were()
    {
        await using Rig rig = new();
        Disk a = await MakeAsync(rig);
        Disk b = await rig.AddDiskAsync("zz", SizeBytes);

        await DiskBitmapsTests.RefusesAsync(DiskErrors.BitmapUnknown, async () => await Session.StartAsync([a, b], Nightly));
        await DiskBitmapsTests.WriteAsync(a, 9);

        Bitmap daily = Assert.Single(a.Bitmaps.All);
        Assert.Equal((BitmapState.Recording, null), (daily.State, daily.Session));
        Assert.Equal([5, 9], DiskBitmapsTests.Units(daily));
    }

    [Fact]
    public async Task Ranges_and_a_bitmap_together_are_refused()
    {
        await using Rig rig = new();
        Disk disk = await MakeAsync(rig);

        await DiskBitmapsTests.RefusesAsync(
            BlockErrors.InvalidArgument, () => Rig.StartAsync(disk, Nightly with { Ranges = [new BlockRange(0, G)] }));
    }

    // A writer numbers its writes, each to a unit of its own, first on disk a and then on disk b. At one common instant every write
    // is either in the pinned bitmaps or in the next ones, and b has at most one fewer in the pinned one than a.
    [Fact]
    public async Task Bitmaps_of_two_disks_switch_at_one_instant()
    {
        const int Units = 4000;
        await using Rig rig = new();
        Disk a = await rig.AddDiskAsync("a", Units * G);
        Disk b = await rig.AddDiskAsync("b", Units * G);
        await a.Bitmaps.CreateAsync("daily");
        await b.Bitmaps.CreateAsync("daily");
        Task writer = Task.Run(async () =>
        {
            for (long unit = 0; unit < Units; unit++)
            {
                await DiskBitmapsTests.WriteAsync(a, unit);
                await DiskBitmapsTests.WriteAsync(b, unit);
            }
        });

        long before = 0;
        while (!writer.IsCompleted)
        {
            IReadOnlyList<Session> sessions = await Session.StartAsync([a, b], Nightly);
            long pinnedOfA = sessions.Single(session => session.Disk == a).Bitmap!.DirtyBytes / G;
            long pinnedOfB = sessions.Single(session => session.Disk == b).Bitmap!.DirtyBytes / G;
            Assert.InRange(before + pinnedOfA, 0, Units);
            Assert.InRange(pinnedOfA - pinnedOfB, -1, 1);
            await Task.WhenAll(sessions.Select(session => session.StopAsync(isSuccess: true)));
            before += pinnedOfA;
        }

        await writer;
        Assert.Equal(Units, before + a.Bitmaps.Find("daily").DirtyBytes / G);
    }

    private static async Task<Disk> MakeAsync(Rig rig)
    {
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        await disk.Bitmaps.CreateAsync("daily");
        await (await Rig.StartAsync(disk, new SessionOptions { Bitmap = "daily" })).StopAsync(isSuccess: true);
        await DiskBitmapsTests.WriteAsync(disk, 5);
        return disk;
    }
}
