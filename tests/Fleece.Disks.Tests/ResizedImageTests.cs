// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>A raw image that another program makes longer or shorter under a session.</summary>
public sealed class ResizedImageTests
{
    private const int SizeBytes = 1 << 20;

    [Fact]
    public async Task One_that_is_cut_short_fails_the_disk_and_its_sessions_before_a_guest_makes_it_longer_with_zeros()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        await disk.Bitmaps.CreateAsync("daily");
        Session session = await Rig.StartAsync(disk);
        await disk.Device.WriteAsync(SizeBytes - 512, new byte[512]);
        await ResizeAsync(disk, SizeBytes / 2);

        disk.Witness.Beat();

        await disk.Device.WriteAsync(SizeBytes - 512, new byte[512]);
        Assert.Equal(SessionState.Broken, session.State);
        Assert.Contains("shortened", session.Describe().BrokenBy, StringComparison.Ordinal);
        await Assert.ThrowsAsync<BlockException>(async () => await session.Snapshot.ReadAsync(SizeBytes / 2, new byte[512]));
        Assert.Equal(DiskStatus.Failed, disk.Describe().OperationalStatus);
        Assert.Contains("cut short", disk.Bitmaps.Find("daily").Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_that_has_grown_keeps_its_disk_and_its_snapshot_at_their_size()
    {
        await using Rig rig = new();
        byte[] content = rig.Seeds.Bytes(SizeBytes);
        Disk disk = await rig.AddDiskAsync("vm", content);
        Session session = await Rig.StartAsync(disk);
        await ResizeAsync(disk, SizeBytes * 2);

        disk.Witness.Beat();
        await disk.Device.WriteAsync(0, new byte[4096]);
        byte[] snapshot = new byte[SizeBytes];
        await session.Snapshot.ReadAsync(0, snapshot);

        Assert.Equal(content, snapshot);
        Assert.Equal((SizeBytes, DiskStatus.Ok), (disk.SizeBytes, disk.Describe().OperationalStatus));
        await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.WriteAsync(SizeBytes, new byte[512]));
    }

    // By a program that asks for no lock.
    private static async Task ResizeAsync(Disk disk, long lengthBytes)
    {
        Peer.Need("truncate");
        await Peer.RunAsync("truncate", "-s", lengthBytes.ToString(CultureInfo.InvariantCulture), disk.Path);
    }
}
