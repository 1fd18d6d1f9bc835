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
        Assert.Equal(0, measured.DeniedBytes);
        await session.StopAsync();
    }

    [Fact]
    public async Task A_bitmap_limits_it_and_a_limit_of_temp_that_it_does_not_reach_is_forecast()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        await disk.Bitmaps.CreateAsync("daily", GranuleBytes);
        await disk.Device.WriteAsync(0, new byte[16 * GranuleBytes]);
        MeasureOptions options = new() { Duration = TimeSpan.FromSeconds(10), Bitmap = "daily", TempLimitBytes = 32 * GranuleBytes };

        SessionMeasurement measured = await MeasureAsync(
            disk, options, async () => await disk.Device.WriteAsync(8 * GranuleBytes, new byte[16 * GranuleBytes]));

        Assert.Equal((8 * GranuleBytes, 8 * GranuleBytes), (measured.CopiedBytes, measured.DeniedBytes));
        Assert.Equal(1, measured.GuestWaitCount);
        Assert.Equal(4, measured.TempFullIn!.Value / measured.Duration, tolerance: 0.01);
    }

    [Fact]
    public async Task The_moment_at_which_temp_is_full_is_the_one_that_was_observed()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", [.. rig.Seeds.Bytes(SizeBytes / 2), .. new byte[SizeBytes / 2]]);
        await disk.Device.DiscardAsync(SizeBytes / 2, SizeBytes / 2);
        MeasureOptions options = new() { Duration = TimeSpan.FromSeconds(60), TempLimitBytes = 32 * GranuleBytes };
        ManualTime time = new();
        Task<SessionMeasurement> measuring = SessionGauge.RunAsync(disk, options, time, CancellationToken.None).AsTask();
        await WaitForGaugeAsync(disk);

        // Holes take no room, and what was changed once takes it once.
        await disk.Device.WriteAsync(SizeBytes / 2, new byte[64 * GranuleBytes]);
        await disk.Device.WriteAsync(0, new byte[31 * GranuleBytes]);
        await disk.Device.WriteAsync(0, new byte[31 * GranuleBytes]);
        time.Advance(TimeSpan.FromSeconds(2.5));
        await disk.Device.WriteAsync(SizeBytes / 4, new byte[GranuleBytes]);
        time.Advance(TimeSpan.FromSeconds(1));
        await disk.Device.WriteAsync(SizeBytes / 8, new byte[64 * GranuleBytes]);
        SessionMeasurement measured = await EndAsync(measuring, time);

        Assert.Equal(TimeSpan.FromSeconds(2.5), measured.TempFullIn);
        Assert.Equal((96 * GranuleBytes, 64 * GranuleBytes), (measured.CopiedBytes, measured.ZeroBytes));
        Assert.Equal(4, measured.GuestWaitCount);
    }

    [Fact]
    public async Task Writes_outside_the_bitmap_would_not_have_waited()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        await disk.Bitmaps.CreateAsync("daily", GranuleBytes);
        await disk.Device.WriteAsync(0, new byte[GranuleBytes]);
        MeasureOptions options = new() { Duration = TimeSpan.FromSeconds(2), Bitmap = "daily" };

        SessionMeasurement measured = await MeasureAsync(
            disk, options, async () => await disk.Device.WriteAsync(SizeBytes / 2, new byte[GranuleBytes]));

        Assert.Equal((0, GranuleBytes), (measured.GuestWaitCount, measured.DeniedBytes));
    }

    [Fact]
    public async Task It_takes_each_disk_that_a_session_takes()
    {
        await using Rig rig = new();

        // More granules of 512 bytes than a stored bitmap has bits.
        Disk disk = await rig.AddDiskAsync("large", 4L << 40);
        MeasureOptions options = new() { Duration = TimeSpan.FromSeconds(1), GranuleSizeBytes = 512 };

        SessionMeasurement measured = await MeasureAsync(
            disk, options, async () => await disk.Device.WriteAsync(disk.SizeBytes - 4096, new byte[4096]));

        Assert.Equal((4096, 0), (measured.ZeroBytes, measured.CopiedBytes));
    }

    [Theory]
    [InlineData(4095, null)]
    [InlineData(4096, 8192)]
    public async Task It_refuses_the_limit_of_temp_that_a_session_refuses(long limitBytes, int? granuleBytes)
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", SizeBytes);
        MeasureOptions options = new()
        {
            Duration = TimeSpan.FromSeconds(1),
            TempLimitBytes = limitBytes,
            GranuleSizeBytes = granuleBytes,
        };

        BlockException failure = await Assert.ThrowsAsync<BlockException>(
            () => SessionGauge.RunAsync(disk, options, TimeProvider.System, CancellationToken.None).AsTask());

        Assert.Equal(BlockErrors.InvalidArgument, failure.Kind);
        Assert.Contains($"is {limitBytes} bytes", failure.Message, StringComparison.Ordinal);
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
        return await EndAsync(measuring, time);
    }

    private static async Task<SessionMeasurement> EndAsync(Task<SessionMeasurement> measuring, ManualTime time)
    {
        while (!measuring.IsCompleted)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1);
        }

        return await measuring;
    }

    private static async Task WaitForGaugeAsync(Disk disk)
    {
        while (disk.Chain.Tracking.Recording.All(bits => disk.Bitmaps.All.Any(bitmap => bitmap.Bits == bits)))
        {
            await Task.Delay(1);
        }
    }
}
