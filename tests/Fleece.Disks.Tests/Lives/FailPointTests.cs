// SPDX-License-Identifier: MIT
namespace Fleece.Disks.Tests.Lives;

/// <summary>A process is killed at each named step of a session's life; the next one finds the step done or not done, and nothing between.
/// </summary>
public sealed class FailPointTests
{
    private static readonly string[] Begun = ["mount:vm.qcow2", "bitmap:vm:daily", "write:vm:1", "write:vm:2"];
    private static readonly string[] Used = ["write:vm:11", "zero:vm:12", "write:vm:13"];

    [Theory]
    [InlineData("start-temp-made", "-")]
    [InlineData("start-temp-made", "qcow2")]
    [InlineData("log-made", "-")]
    [InlineData("log-named", "vhdx")]
    [InlineData("start-log-made", "-")]
    [InlineData("start-log-made", "raw")]
    [InlineData("start-temp-kept", "-")]
    [InlineData("start-temp-kept", "vhd")]
    [InlineData("marker-written", "-")]
    [InlineData("marker-published", "-")]
    [InlineData("start-marked", "qcow2")]
    [InlineData("start-quiesced", "-")]
    [InlineData("start-before-running", "-")]
    public async Task Before_the_instant_is_stored_there_is_no_session(string killAt, string temp)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(killAt, [.. Begun, $"start:a:{temp}:daily:-:vm"]);

        await rig.DoAsync("mount:vm.qcow2", "write:vm:21");

        await rig.Truth.AssertDiskAsync(rig.Disks["vm"], isCut: false);
        Assert.Empty(rig.Disks["vm"].Sessions);
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Empty(rig.Leftovers);
    }

    [Theory]
    [InlineData("start-running")]
    [InlineData("start-done")]
    public async Task Once_the_instant_is_stored_the_session_goes_on(string killAt)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        string step = (await rig.LiveAsync(killAt, [.. Begun, "start:a:-:daily:-:vm"]))!;
        rig.Truth.Do(step);

        await rig.DoAsync(["mount:vm.qcow2", .. Used]);

        await rig.AssertAsync("vm");
        await rig.DoAsync("stop:vm:a:success");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Empty(rig.Leftovers);
    }

    [Theory]
    [InlineData("start-before-running:1", false)]
    [InlineData("start-running:1", true)]
    [InlineData("start-before-running:2", true)]
    [InlineData("start-running:2", true)]
    public async Task A_start_over_two_disks_has_happened_on_both_or_on_none(string killAt, bool hasHappened)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw", "other.raw");
        string step = (await rig.LiveAsync(
            killAt, "mount:vm.raw", "mount:other.raw", "write:vm:1", "write:other:2", "start:both:-:-:-:vm,other"))!;
        if (hasHappened)
        {
            rig.Truth.Do(step);
        }

        // The leader's session ends before the follower's disk is mounted.
        await rig.DoAsync("mount:other.raw", "write:other:3");
        await rig.AssertAsync("other");
        if (hasHappened)
        {
            await rig.DoAsync("stop:other:both:success");
        }

        await rig.DoAsync("mount:vm.raw", "write:vm:4");
        await rig.AssertAsync("vm");
    }

    [Theory]
    [InlineData("copy-in-temp:2")]
    [InlineData("copy-noted:2")]
    [InlineData("log-note:2")]
    public async Task A_guests_write_that_was_cut_off_harms_neither_disk_nor_snapshot(string killAt)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(null, [.. Begun, "start:a:qcow2:daily:-:vm"]);
        string step = (await rig.LiveAsync(killAt, ["mount:vm.qcow2", .. Used]))!;
        rig.Truth.Do(step);

        await rig.DoAsync("mount:vm.qcow2");

        await rig.AssertAsync("vm", isCut: true);
        await rig.DoAsync("write:vm:22", "write:vm:1", "stop:vm:a:failure");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
    }

    [Theory]
    [InlineData("stop-before-ending", "success", false)]
    [InlineData("stop-ending", "success", true)]
    [InlineData("stop-before-unmark", "success", true)]
    [InlineData("stop-unmarked", "success", true)]
    [InlineData("stop-ending", "failure", true)]
    [InlineData("stop-before-unmark", "failure", true)]
    [InlineData("stop-unmarked", "failure", true)]
    [InlineData("log-deleted", "failure", true)]
    public async Task A_stop_that_was_stored_is_finished_by_the_next_process(string killAt, string how, bool isStored)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        string step = (await rig.LiveAsync(killAt, [.. Begun, "start:a:-:daily:-:vm", .. Used, $"stop:vm:a:{how}"]))!;
        if (isStored)
        {
            rig.Truth.Do(step);
        }

        await rig.DoAsync("mount:vm.qcow2", "write:vm:23");

        await rig.Truth.AssertDiskAsync(rig.Disks["vm"], isCut: false);
        Assert.Equal(isStored ? 0 : 1, rig.Disks["vm"].Sessions.Count);
        if (!isStored)
        {
            await rig.DoAsync("stop:vm:a:success");
        }

        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Equal(how == "success", rig.Disks["vm"].Bitmaps.Find("daily").BaselineId is not null);
        Assert.Empty(rig.Leftovers);
    }

    // The marker is rewritten for the session that stays, which takes room.
    [Theory]
    [InlineData("stop-unmarked", "success")]
    [InlineData("temp-removed", "success")]
    [InlineData("log-deleted", "success")]
    [InlineData("stop-unmarked", "failure")]
    [InlineData("temp-removed", "failure")]
    public async Task A_stop_whose_marker_could_not_be_changed_leaves_no_old_data_behind(string killAt, string how)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        string step = (await rig.LiveAsync(
            killAt, [.. Begun, "start:b:-:-:-:vm", "start:a:qcow2:daily:-:vm", .. Used, "refuse:vm", $"stop:vm:a:{how}"]))!;
        rig.Truth.Do(step);
        Directory.Delete(LifeDisks.MarkerPartOf(rig.Folder.File("vm.qcow2")));

        await rig.DoAsync("mount:vm.qcow2", "write:vm:27");

        await rig.Truth.AssertDiskAsync(rig.Disks["vm"], isCut: false);
        Assert.Equal("b", Assert.Single(rig.Disks["vm"].Sessions).Name);
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Equal(how == "success", rig.Disks["vm"].Bitmaps.Find("daily").BaselineId is not null);
        await rig.DoAsync("stop:vm:b:success");
        Assert.Empty(rig.Leftovers);
    }

    [Theory]
    [InlineData("stop-before-unmark", "-")]
    [InlineData("stop-unmarked", "qcow2")]
    [InlineData("temp-removed", "-")]
    [InlineData("log-deleted", "qcow2")]
    public async Task A_start_that_fails_and_is_killed_while_it_is_taken_back_leaves_nothing_behind(string killAt, string temp)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        Assert.NotNull(await rig.LiveAsync(killAt, [.. Begun, "refuse:vm", $"start:a:{temp}:daily:-:vm"]));
        Directory.Delete(LifeDisks.MarkerPartOf(rig.Folder.File("vm.qcow2")));

        await rig.DoAsync("mount:vm.qcow2", "write:vm:28");

        await rig.Truth.AssertDiskAsync(rig.Disks["vm"], isCut: false);
        Assert.Empty(rig.Disks["vm"].Sessions);
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Empty(rig.Leftovers);
    }

    [Theory]
    [InlineData("suspend-before-close")]
    [InlineData("image-closed-journal-open")]
    [InlineData("image-closed-journal-not-cut")]
    [InlineData("suspend-closed")]
    [InlineData("suspend-before-temp")]
    [InlineData("suspend-temp-left")]
    [InlineData("suspend-stored")]
    public async Task An_orderly_end_that_was_cut_off_is_as_a_kill(string killAt)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(killAt, [.. Begun, "start:a:-:daily:-:vm", .. Used, "suspend:vm"]);

        await rig.DoAsync("mount:vm.qcow2", "write:vm:24");

        await rig.AssertAsync("vm");
        await rig.DoAsync("stop:vm:a:success");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
    }

    // The image itself has the bits then, and no place for the baseline.
    [Theory]
    [InlineData("suspend-before-close")]
    [InlineData("image-closed-journal-open")]
    [InlineData("image-closed-journal-not-cut")]
    public async Task A_bitmap_keeps_its_baseline_where_an_orderly_end_was_cut_off(string killAt)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(killAt, [.. Begun, "start:a:-:daily:-:vm", .. Used, "stop:vm:a:success", "write:vm:14", "suspend:vm"]);

        await rig.DoAsync("mount:vm.qcow2");

        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.NotNull(rig.Disks["vm"].Bitmaps.Find("daily").BaselineId);
    }

    [Theory]
    [InlineData("resume-before-running", "kill", "qcow2")]
    [InlineData("resume-running", "kill", "qcow2")]
    [InlineData("resume-touched", "kill", "qcow2")]
    [InlineData("resume-opened", "kill", "qcow2")]
    [InlineData("resume-bitmaps", "kill", "qcow2")]
    [InlineData("resume-session", "kill", "qcow2")]
    [InlineData("resume-touched", "suspend:vm", "vhdx")]
    [InlineData("resume-opened", "suspend:vm", "vhdx")]
    [InlineData("resume-before-running", "suspend:vm", "qcow2")]
    [InlineData("resume-running", "suspend:vm", "qcow2")]
    [InlineData("resume-touched", "suspend:vm", "qcow2")]
    [InlineData("resume-opened", "suspend:vm", "qcow2")]
    [InlineData("resume-bitmaps", "suspend:vm", "qcow2")]
    [InlineData("resume-session", "suspend:vm", "qcow2")]
    [InlineData("resume-touched", "kill", "vhd")]
    [InlineData("resume-opened", "kill", "vhd")]
    [InlineData("image-replayed-journal-not-removed", "kill", "vhd")]
    [InlineData("image-journal-made-not-placed", "kill", "qcow2")]
    [InlineData("image-journal-placed", "kill", "qcow2")]
    [InlineData("image-loss-not-settled", "kill", "qcow2")]
    [InlineData("image-journal-made-not-placed", "suspend:vm", "vhdx")]
    [InlineData("image-journal-placed", "suspend:vm", "vhd")]
    public async Task A_second_kill_during_the_resume_changes_nothing(string killAt, string end, string format)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync($"vm.{format}");
        string[] steps = [$"mount:vm.{format}", .. Begun[1..], "start:a:-:daily:-:vm", .. Used];
        await rig.LiveAsync(null, end == "kill" ? steps : [.. steps, end]);
        if (end == "kill")
        {
            rig.Age();
        }

        await rig.LiveAsync(killAt, $"mount:vm.{format}");

        await rig.DoAsync($"mount:vm.{format}", "write:vm:25");

        await rig.AssertAsync("vm");
        await rig.DoAsync("stop:vm:a:success");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Empty(rig.Leftovers);
    }

    [Theory]
    [InlineData("resume-bitmaps")]
    [InlineData("resume-before-removal")]
    [InlineData("resume-removed")]
    public async Task A_second_kill_while_a_stop_is_finished_changes_nothing(string killAt)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        string step = (await rig.LiveAsync("stop-ending", [.. Begun, "start:a:-:daily:-:vm", .. Used, "stop:vm:a:success"]))!;
        rig.Truth.Do(step);
        await rig.LiveAsync(killAt, "mount:vm.qcow2");

        await rig.DoAsync("mount:vm.qcow2", "write:vm:26");

        await rig.AssertAsync("vm");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.NotNull(rig.Disks["vm"].Bitmaps.Find("daily").BaselineId);
        Assert.Empty(rig.Leftovers);
    }
}
