// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Resuming;
using Fleece.Disks.Tests.Lives;
using Fleece.Images;

namespace Fleece.Disks.Tests;

/// <summary>The files beside an image say until when this process had it, also while no request comes.</summary>
public sealed class ChangeWitnessTests
{
    private static readonly string[] Steps = ["mount:vm.qcow2", "bitmap:vm:daily", "write:vm:1", "start:a:-:daily:-:vm", "write:vm:11"];

    [Fact]
    public async Task A_disk_touches_marker_sidecar_and_journal_without_a_request()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.DoAsync(Steps);
        string image = rig.Folder.File("vm.qcow2");

        await AssertTouchedAsync(SessionMarker.PathFor(image), Sidecar.PathFor(image), image + ".fleece-journal");
    }

    [Fact]
    public async Task Behind_its_end_it_touches_nothing()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", 1 << 20);
        await disk.Bitmaps.CreateAsync("daily");
        disk.Witness.Dispose();
        string sidecar = Sidecar.PathFor(disk.Path);
        DateTime old = Age(sidecar);

        Assert.Equal(old, File.GetLastWriteTimeUtc(sidecar));
        disk.Witness.Beat();
        Assert.NotEqual(old, File.GetLastWriteTimeUtc(sidecar));
    }

    [Fact]
    public async Task A_mount_touches_marker_and_sidecar_from_the_moment_a_session_was_judged()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(null, Steps);
        string image = rig.Folder.File("vm.qcow2");
        ReturningSessions sessions = new(rig.Sessions, image, refusal: null, SessionHandling.Resume);
        sessions.Find();
        Assert.Single(sessions.Resumed);

        await AssertTouchedAsync(SessionMarker.PathFor(image), Sidecar.PathFor(image));

        sessions.EndTouching();
        sessions.Abandon();
        await rig.DoAsync("mount:vm.qcow2");
        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task A_time_of_the_image_that_lies_ahead_of_the_clock_is_that_of_its_witnesses_too()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.DoAsync(Steps);
        string image = rig.Folder.File("vm.qcow2");
        DateTime ahead = DateTime.UtcNow.AddHours(1);
        File.SetLastWriteTimeUtc(image, ahead);

        rig.Disks["vm"].Witness.Beat();

        AssertAhead(ahead, SessionMarker.PathFor(image), Sidecar.PathFor(image), image + ".fleece-journal");
    }

    [Fact]
    public async Task A_time_of_temp_that_lies_ahead_of_the_clock_is_that_of_the_marker_too()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.DoAsync(Steps);
        DateTime ahead = DateTime.UtcNow.AddHours(1);
        File.SetLastWriteTimeUtc(Assert.Single(rig.Disks["vm"].Sessions).TempPath, ahead);

        rig.Disks["vm"].Witness.Beat();

        AssertAhead(ahead, SessionMarker.PathFor(rig.Folder.File("vm.qcow2")));
    }

    [Fact]
    public async Task A_session_goes_on_over_two_kills_when_the_clock_was_put_back_behind_the_first()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, ["mount:vm.raw", .. Steps[1..]]);
        DateTime ahead = DateTime.UtcNow.AddHours(1);
        foreach (string file in Directory.GetFiles(rig.Folder.Path))
        {
            File.SetLastWriteTimeUtc(file, ahead);
        }

        await rig.LiveAsync(null, "mount:vm.raw");
        await rig.DoAsync("mount:vm.raw");
        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task A_change_of_temp_behind_a_rest_touches_the_marker_before_it_is_made()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.DoAsync(Steps);
        Disk disk = rig.Disks["vm"];
        disk.Witness.Dispose(); // As if the heart rested.
        string marker = SessionMarker.PathFor(disk.Path);
        DateTime old = Age(marker);
        Session session = Assert.Single(disk.Sessions);
        SnapshotRun copied = session.GetRuns().First(run => run.State == SnapshotRunState.Copied);
        await Task.Delay(2 * Heartbeat.Interval + TimeSpan.FromMilliseconds(100), TestContext.Current.CancellationToken);

        await session.Snapshot.DiscardAsync(copied.OffsetBytes, copied.LengthBytes);

        Assert.NotEqual(old, File.GetLastWriteTimeUtc(marker));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_session_that_is_left_touches_the_marker_before_temp_unless_the_image_was_changed(bool isChanged)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.DoAsync(Steps);
        Disk disk = rig.Disks["vm"];
        Session session = Assert.Single(disk.Sessions);
        string marker = SessionMarker.PathFor(disk.Path);
        FileEvidence image = FileEvidence.Read(disk.Path);
        disk.Witness.Dispose();
        DateTime old = Age(marker);
        Assert.True(session.TryBeginSuspend());
        await session.CloseReadersAsync();

        await session.SuspendAsync(isChanged ? image with { LengthBytes = image.LengthBytes + 1 } : image);

        disk.Unlink(session);
        Assert.Equal(isChanged, old == File.GetLastWriteTimeUtc(marker));
    }

    private static void AssertAhead(DateTime time, params string[] files) =>
        Assert.All(files, file => Assert.InRange(File.GetLastWriteTimeUtc(file), time.AddSeconds(-1), time.AddSeconds(1)));

    private static async Task AssertTouchedAsync(params string[] files)
    {
        Dictionary<string, DateTime> old = files.ToDictionary(file => file, Age);
        foreach (string file in files)
        {
            while (File.GetLastWriteTimeUtc(file) == old[file])
            {
                await Task.Delay(20, TestContext.Current.CancellationToken);
            }
        }
    }

    private static DateTime Age(string file)
    {
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddHours(-1));
        return File.GetLastWriteTimeUtc(file);
    }
}
