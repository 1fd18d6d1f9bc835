// SPDX-License-Identifier: MIT
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Records;

namespace Fleece.Disks.Tests.Lives;

/// <summary>Sessions whose process is killed while it serves: the next one goes on with them.</summary>
public sealed class KilledSessionTests
{
    private static readonly string[] Writes = ["write:vm:11", "zero:vm:12", "write:vm:13", "write:vm:14"];

    [Theory]
    [InlineData("raw", "-")]
    [InlineData("qcow2", "-")]
    [InlineData("vhd", "-")]
    [InlineData("vhdx", "-")]
    [InlineData("raw", "raw")]
    [InlineData("raw", "qcow2")]
    [InlineData("qcow2", "vhd")]
    [InlineData("raw", "vhdx")]
    public async Task The_next_process_goes_on_with_disk_snapshot_and_bitmap(string format, string temp)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync($"vm.{format}");
        await rig.LiveAsync(
            null,
            [$"mount:vm.{format}", "bitmap:vm:daily", "write:vm:1", "write:vm:2", $"start:a:{temp}:daily:-:vm", .. Writes]);

        await rig.DoAsync($"mount:vm.{format}");

        await rig.AssertAsync("vm");
        await rig.DoAsync("write:vm:21", "write:vm:11", "write:vm:22");
        await rig.AssertAsync("vm");
        await rig.DoAsync("stop:vm:a:success");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Empty(rig.Leftovers);
    }

    [Fact]
    public async Task A_session_keeps_its_name_instant_limits_consumers_and_bitmap_and_tells_since_when_it_runs_here()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(
            null,
            "mount:vm.raw",
            "bitmap:vm:daily",
            "start:full:-:daily:-:vm",
            "stop:vm:full:success",
            "write:vm:1",
            "start:counted:-:daily:-:vm");
        DateTimeOffset before = DateTimeOffset.UtcNow;

        await rig.DoAsync("mount:vm.raw");

        SessionInfo info = rig.Disks["vm"].Sessions.Single().Describe();
        Assert.Equal(("counted", "daily", SessionState.Active), (info.Name, info.Bitmap, info.State));
        Assert.Equal((1L << 30, CopyErrorPolicy.BreakSnapshot), (info.TempLimitBytes, info.OnCopyError));
        Assert.Equal((70, TimeSpan.FromMilliseconds(20)), (info.TempWarningPercent, info.MaxGuestDelay));
        Assert.Equal(["one", "two"], info.Consumers.Select(consumer => consumer.Name));
        Assert.True(info.CanResume);
        Assert.Null(info.CannotResumeReason);
        Assert.InRange(info.StartedAt, before.AddMinutes(-1), before);
        Assert.InRange(info.ResumedAt!.Value, before, DateTimeOffset.UtcNow);
        ISnapshotSource source = rig.Disks["vm"].Sessions.Single();
        Assert.NotNull(source.Identity!.BaselineId);
        Assert.NotEmpty(source.Identity.Ranges!);
        await rig.DoAsync("write:vm:1");
        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task Two_sessions_of_one_disk_show_their_own_instants()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(
            null,
            ["mount:vm.qcow2", "write:vm:1", "start:a:-:-:-:vm", "write:vm:2", "start:b:-:-:-:vm", .. Writes]);

        await rig.DoAsync("mount:vm.qcow2", "write:vm:31", "write:vm:2");

        await rig.AssertAsync("vm");
        await rig.DoAsync("stop:vm:a:success", "write:vm:32");
        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task A_session_of_several_disks_goes_on_where_the_image_is_there()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw", "other.raw");
        await rig.LiveAsync(
            null,
            "mount:vm.raw",
            "mount:other.raw",
            "write:vm:1",
            "write:other:2",
            "start:both:-:-:-:vm,other",
            "write:vm:3",
            "write:other:4");
        File.Move(rig.Folder.File("vm.raw"), rig.Folder.File("away.raw"));

        await rig.DoAsync("mount:other.raw");

        await rig.AssertAsync("other");
        File.Move(rig.Folder.File("away.raw"), rig.Folder.File("vm.raw"));
        await rig.DoAsync("stop:other:both:success", "mount:vm.raw");
        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task What_was_consumed_or_confirmed_stays_so()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(
            null,
            [
                "mount:vm.raw", "write:vm:1", "start:a:-:-:-:vm", "start:counted:-:-:-:vm", .. Writes, "consume:vm:a:5",
                "confirm:vm:counted:5",
            ]);

        await rig.DoAsync("mount:vm.raw");

        await rig.AssertAsync("vm");
        Assert.Equal(LifeSteps.RangeOf("5").LengthBytes, rig.Disks["vm"].FindSession("a")!.ConsumedBytes);
        Assert.Equal(
            [LifeSteps.RangeOf("5").LengthBytes, 0],
            rig.Disks["vm"].FindSession("counted")!.Consumers.Select(consumer => consumer.ConfirmedBytes));
    }

    [Fact]
    public async Task A_broken_session_comes_back_broken()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, "mount:vm.raw", "start:a:-:-:-:vm", "break:vm:a", "write:vm:1");

        await rig.DoAsync("mount:vm.raw");

        Assert.Equal(SessionState.Broken, rig.Disks["vm"].Sessions.Single().State);
        Assert.Contains("broken by the test", rig.Disks["vm"].Sessions.Single().BrokenBy, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_orderly_end_leaves_sessions_and_bitmaps_to_the_next_process()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(
            null,
            ["mount:vm.qcow2", "bitmap:vm:daily", "write:vm:1", "start:a:vhdx:daily:next:vm", .. Writes, "suspend:vm"]);

        await rig.DoAsync("mount:vm.qcow2");

        await rig.AssertAsync("vm");
        await rig.DoAsync("write:vm:41", "stop:vm:a:success", "dismount:vm", "mount:vm.qcow2");
        rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        Assert.Empty(rig.Leftovers);
    }
}
