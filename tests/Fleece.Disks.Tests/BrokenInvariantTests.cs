// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;
using Fleece.TestKit;

namespace Fleece.Disks.Tests;

/// <summary>A defect of Fleece poisons what it touches, and is seen there (R7).</summary>
public sealed class BrokenInvariantTests
{
    private const int SizeBytes = 1 << 20;

    [Fact]
    public async Task On_the_way_of_a_guest_it_fails_the_disk_and_its_sessions_and_no_other_disk()
    {
        await using Rig rig = new();
        string path = rig.Folder.File("vm.raw");
        await File.WriteAllBytesAsync(path, rig.Seeds.Bytes(SizeBytes));
        Disk disk = await Disk.OpenAsync(path, "vm");
        Disk other = await rig.AddDiskAsync("other", rig.Seeds.Bytes(SizeBytes));
        await disk.Bitmaps.CreateAsync("daily");
        Session session = await Rig.StartAsync(disk);
        FaultNode faults = new(disk.Chain.Tracking.Below);
        faults.FailAt(0, BlockErrors.InvariantBroken);
        disk.Chain.Tracking.Below = faults;

        await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.WriteAsync(0, new byte[512]));

        DiskInfo info = disk.Describe();
        Assert.Equal(DiskStatus.Failed, info.OperationalStatus);
        Assert.Equal(SessionState.Broken, session.Describe().State);
        Assert.NotNull(disk.Bitmaps.Find("daily").Reason);
        await Assert.ThrowsAsync<BlockException>(async () => await disk.Device.ReadAsync(0, new byte[512]));
        await other.Device.WriteAsync(0, new byte[512]);
        disk.Chain.Tracking.Below = faults.Inner;
        await Assert.ThrowsAsync<BlockException>(async () => await disk.DisposeAsync());
    }

    [Fact]
    public async Task On_the_way_of_a_reader_it_breaks_the_session_and_the_guest_goes_on()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", rig.Seeds.Bytes(SizeBytes));
        Session session = await Rig.StartAsync(disk);
        BlockException defect = Assert.Throws<BlockException>(() => Invariant.Require(condition: false, "R7", "a test can break it"));

        session.Snapshot.Poisoned!(defect);

        Assert.Equal(SessionState.Broken, session.Describe().State);
        Assert.Contains("R7", session.Describe().BrokenBy, StringComparison.Ordinal);
        await disk.Device.WriteAsync(0, new byte[512]);
        Assert.Equal(DiskStatus.Ok, disk.Describe().OperationalStatus);
    }
}
