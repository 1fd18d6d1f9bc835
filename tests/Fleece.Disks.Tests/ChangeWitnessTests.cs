// SPDX-License-Identifier: MIT
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
