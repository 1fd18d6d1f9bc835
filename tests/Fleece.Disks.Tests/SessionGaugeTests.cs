// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Measuring;
using Fleece.Disks.Records;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>A dry run counts the copies that a session makes of the same writes.</summary>
public sealed class SessionGaugeTests
{
    private const int SizeBytes = 4 << 20;
    private const int GranuleBytes = 4096;

    [Fact]
    public async Task It_counts_what_a_session_copies_of_the_same_writes()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", [.. rig.Seeds.Bytes(SizeBytes / 2), .. new byte[SizeBytes / 2]]);
        await disk.Device.DiscardAsync(SizeBytes / 2, SizeBytes / 2);
        Session session = await Rig.StartAsync(disk);
        SessionMeasurement measured = await MeasureAsync(disk, new MeasureOptions { Duration = TimeSpan.FromSeconds(9) }, async () =>
        {
            for (int i = 0; i < 200; i++)
            {
                // A session stores a copy that reaches from data into zeros as a whole.
                long halfBytes = rig.Seeds.Next(2) * (SizeBytes / 2);
                await disk.Device.WriteAsync(halfBytes + rig.Seeds.Next(SizeBytes / 1024 - 16) * 512L, new byte[8192]);
            }
        });

        Assert.Equal(session.CopiedBytes, measured.CopiedBytes);
        Assert.InRange(measured.ZeroBytes, GranuleBytes, SizeBytes / 2);
        Assert.InRange(measured.GuestWaitCount, 1, 200);
        Assert.Equal(0, measured.AvoidedBytes);
        await session.StopAsync();
    }

    [Fact]
    public async Task A_bitmap_limits_it_and_the_limit_of_temp_says_when_it_would_be_full()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        await disk.Bitmaps.CreateAsync("daily", GranuleBytes);
        await disk.Device.WriteAsync(0, new byte[16 * GranuleBytes]);
        MeasureOptions options = new() { Duration = TimeSpan.FromSeconds(10), Bitmap = "daily", TempLimitBytes = 32 * GranuleBytes };

        SessionMeasurement measured = await MeasureAsync(
            disk, options, async () => await disk.Device.WriteAsync(8 * GranuleBytes, new byte[16 * GranuleBytes]));

        Assert.Equal((8 * GranuleBytes, 8 * GranuleBytes), (measured.CopiedBytes, measured.AvoidedBytes));
        Assert.Equal(4, measured.TempFullIn!.Value / measured.Duration, tolerance: 0.01);
    }

    [Fact]
    public async Task It_leaves_nothing_behind_and_other_bitmaps_go_on_recording()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));

        await MeasureAsync(disk, new MeasureOptions { Duration = TimeSpan.FromSeconds(2) }, async () =>
        {
            await disk.Bitmaps.CreateAsync("daily");
            await disk.Device.WriteAsync(0, new byte[512]);
        });

        Assert.Single(disk.Chain.Tracking.Recording);
        Assert.Equal(65536, disk.Bitmaps.Find("daily").Bits.DirtyBytes);
    }

    [Fact]
    public async Task It_ends_with_the_disk()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        ManualTime time = new();

        Task measuring = SessionGauge
            .RunAsync(disk, new MeasureOptions { Duration = TimeSpan.FromHours(1) }, time, CancellationToken.None).AsTask();
        await WaitForGaugeAsync(disk);
        await disk.DisposeAsync();
        time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(BlockErrors.Closed, (await Assert.ThrowsAsync<BlockException>(() => measuring)).Kind);
    }

    private static async Task<SessionMeasurement> MeasureAsync(Disk disk, MeasureOptions options, Func<Task> write)
    {
        ManualTime time = new();
        Task<SessionMeasurement> measuring = SessionGauge.RunAsync(disk, options, time, CancellationToken.None).AsTask();
        await WaitForGaugeAsync(disk);
        await write();
        while (!measuring.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1);
        }

        return await measuring;
    }

    private static async Task WaitForGaugeAsync(Disk disk)
    {
        while (disk.Chain.Tracking.Recording.All(bits => bits.GranularityBytes != GranuleBytes || disk.Bitmaps.All.Any(
                   bitmap => bitmap.Bits == bits)))
        {
            await Task.Delay(1);
        }
    }
}
