// SPDX-License-Identifier: MIT
using System.Runtime.Versioning;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Records;
using Fleece.Disks.Resuming;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Lives;

/// <summary>Sessions that can't be resumed: they are told of, kept until they are discarded, and never read.</summary>
public sealed class LostSessionTests
{
    private static readonly string[] Killed = ["mount:vm.raw", "bitmap:vm:daily", "write:vm:1", "start:a:-:daily:-:vm", "write:vm:11"];

    [Fact]
    public async Task An_image_that_another_program_changed_later_has_lost_its_session()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        File.SetLastWriteTimeUtc(rig.Folder.File("vm.raw"), DateTime.UtcNow.AddMinutes(1));

        LostSession lost = await MountAndFindLostAsync(rig);

        Assert.Contains("changed", lost.Describe().BrokenBy, StringComparison.Ordinal);
        Assert.Contains(rig.Disks["vm"].Notes, note => note.Contains("'vm/a'", StringComparison.Ordinal));
        Assert.Equal((SessionState.Lost, "a", false), (lost.Describe().State, lost.Describe().Name, lost.CanResume));
        Assert.InRange(lost.Describe().StartedAt, DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow);
        Assert.True(File.Exists(lost.Describe().TempPath));
        lost.Discard();
        Assert.Empty(rig.Leftovers);
    }

    [Fact]
    public async Task A_temp_image_that_another_program_changed_after_the_kill_has_lost_its_session()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        string temp = Assert.Single(Directory.GetFiles(rig.Folder.Path, "*.fleece-kept-temp"));
        File.SetLastWriteTimeUtc(temp, DateTime.UtcNow.AddMinutes(1));

        LostSession lost = await MountAndFindLostAsync(rig);

        Assert.Contains(temp, lost.Reason, StringComparison.Ordinal);
        Assert.Contains("changed after its process ended", lost.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("qcow2")]
    [InlineData("vhd")]
    [InlineData("vhdx")]
    public async Task A_session_whose_images_journal_is_gone_is_lost(string format)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync($"vm.{format}");
        await rig.LiveAsync(null, [$"mount:vm.{format}", .. Killed[1..]]);
        File.Delete(rig.Folder.File($"vm.{format}.fleece-journal"));

        LostSession lost = await MountAndFindLostAsync(rig, $"vm.{format}");

        Assert.Contains("is gone", lost.Reason, StringComparison.Ordinal);
        Assert.NotNull(rig.Disks["vm"].Bitmaps.Find("daily").Reason);
    }

    // Nothing durable says so when the first mount is killed, but for the new journal.
    [Theory]
    [InlineData("image-journal-lost", true)]
    [InlineData("image-journal-placed", true)]
    [InlineData("resume-opened", true)]
    [InlineData("image-journal-placed", false)]
    [InlineData("resume-opened", false)]
    public async Task A_session_whose_images_journal_did_not_hold_is_lost_also_when_the_mount_that_saw_it_is_killed(
        string killAt, bool isDamaged)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(null, ["mount:vm.qcow2", .. Killed[1..]]);
        string journal = rig.Folder.File("vm.qcow2.fleece-journal");
        if (isDamaged)
        {
            await using FileStream file = new(journal, FileMode.Open);
            file.Position = 40;
            file.WriteByte(0x99);
            file.WriteByte(0x98);
        }
        else
        {
            File.Delete(journal);
        }

        Assert.NotNull(await rig.LiveAsync(killAt, "mount:vm.qcow2"));

        LostSession lost = await MountAndFindLostAsync(rig, "vm.qcow2");

        Assert.Contains("journal", lost.Reason, StringComparison.Ordinal);
        Assert.NotNull(rig.Disks["vm"].Bitmaps.Find("daily").Reason);
    }

    [Fact]
    public async Task A_disk_whose_journal_cannot_be_made_says_so_and_so_do_its_sessions()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        string journal = rig.Folder.File("vm.qcow2.fleece-journal");
        Directory.CreateDirectory(journal);

        await rig.DoAsync("mount:vm.qcow2", "start:a:-:-:-:vm");

        string note = Assert.Single(rig.Disks["vm"].Describe().Notes);
        Assert.Contains($"'{journal}", note, StringComparison.Ordinal);
        SessionInfo session = Assert.Single(rig.Disks["vm"].Sessions).Describe();
        Assert.Equal((false, note), (session.CanResume, session.CannotResumeReason));
    }

    // It has to be there from the moment on in which the session says that it runs again.
    [Theory]
    [InlineData(null)]
    [InlineData("resume-running")]
    [InlineData("image-journal-made-not-placed:2")]
    public async Task A_session_that_was_left_in_order_needs_no_journal(string? killAt)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.qcow2");
        await rig.LiveAsync(null, ["mount:vm.qcow2", .. Killed[1..], "suspend:vm"]);
        File.Delete(rig.Folder.File("vm.qcow2.fleece-journal"));
        if (killAt is not null)
        {
            Assert.NotNull(await rig.LiveAsync(killAt, "mount:vm.qcow2"));
        }

        await rig.DoAsync("mount:vm.qcow2");

        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task A_lost_session_stays_lost_and_its_image_is_anybodys_again()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        File.SetLastWriteTimeUtc(rig.Folder.File("vm.raw"), DateTime.UtcNow.AddMinutes(1));
        _ = await MountAndFindLostAsync(rig);
        await rig.DoAsync("dismount:vm");
        await using (await Disk.OpenAsync(rig.Folder.File("vm.raw")))
        {
            Assert.Single(LostSession.List(rig.Sessions));
        }

        await rig.DoAsync("mount:vm.raw");

        Assert.Empty(rig.Disks["vm"].Sessions);
        Assert.Single(LostSession.List(rig.Sessions));
    }

    [Theory]
    [InlineData("the temp image was replaced")]
    [InlineData("the log is damaged")]
    [InlineData("the log is gone")]
    [InlineData("the marker is gone")]
    [InlineData("the image was replaced")]
    public async Task A_session_without_one_of_its_files_is_not_resumed_and_its_bitmap_misses_nothing(string what)
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        string log = Directory.GetFiles(rig.Folder.File("sessions"), "*.log").Single();
        string temp = Directory.GetFiles(rig.Folder.Path, "*.fleece-kept-temp").Single();
        switch (what)
        {
            case "the temp image was replaced":
                Replace(temp);
                break;
            case "the log is damaged":
                await using (FileStream file = new(log, FileMode.Open))
                {
                    file.Position = 40;
                    file.Write(new byte[64]);
                }

                break;
            case "the log is gone":
                File.Delete(log);
                break;
            case "the marker is gone":
                File.Delete(rig.Folder.File("vm.raw.fleece-sessions"));
                break;
            default:
                Replace(rig.Folder.File("vm.raw"));
                break;
        }

        await rig.DoAsync("mount:vm.raw", "write:vm:21");

        Assert.Empty(rig.Disks["vm"].Sessions);
        await rig.Truth.AssertDiskAsync(rig.Disks["vm"], isCut: false);
        if (what == "the image was replaced")
        {
            Assert.NotNull(rig.Disks["vm"].Bitmaps.Find("daily").Reason);
        }
        else
        {
            rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
        }
    }

    [Fact]
    public async Task An_image_with_a_session_is_opened_for_writing_with_its_folder_alone()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Disk.OpenAsync(rig.Folder.File("vm.raw"), folder: null));

        Assert.Equal(ImageErrors.ImageHasSession, refusal.Kind);
        await using (Disk reader = await Disk.OpenAsync(rig.Folder.File("vm.raw"), options: new ImageOpenOptions { IsReadOnly = true }))
        {
            Assert.Empty(reader.Sessions);
        }

        await rig.DoAsync("mount:vm.raw");
        await rig.AssertAsync("vm");
    }

    [Fact]
    public async Task Sessions_that_a_mount_discards_are_gone_and_their_bitmaps_merged()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);

        await using (Disk disk = await Disk.OpenAsync(
            rig.Folder.File("vm.raw"), "vm", folder: rig.Sessions, handling: SessionHandling.Discard))
        {
            Assert.Empty(disk.Sessions);
            rig.Truth.AssertBitmap(disk, "daily");
            Assert.Empty(LostSession.List(rig.Sessions));
        }

        Assert.Empty(rig.Leftovers);
    }

    [Fact]
    public async Task A_session_that_is_discarded_by_a_process_without_its_folder_leaves_nothing_there()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);

        await (await Disk.OpenAsync(rig.Folder.File("vm.raw"), handling: SessionHandling.Discard)).DisposeAsync();

        Assert.Empty(LostSession.List(rig.Sessions));
        Assert.Empty(rig.Leftovers);
    }

    [Fact]
    public async Task A_session_is_given_up_though_its_image_is_gone_and_its_marker_is_there()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        File.Delete(rig.Folder.File("vm.raw"));

        LostSession.List(rig.Sessions).Single().Discard();

        Assert.Empty(LostSession.List(rig.Sessions));
    }

    [Fact]
    public async Task A_session_is_kept_while_another_program_writes_to_its_image()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        LostSession session = LostSession.List(rig.Sessions).Single();

        using (LocalFile.Open(rig.Folder.File("vm.raw"), isReadOnly: false))
        {
            Assert.Equal(BlockErrors.InUse, Assert.Throws<BlockException>(session.Discard).Kind);
        }

        Assert.Single(LostSession.List(rig.Sessions));
        session.Discard();
        Assert.Empty(LostSession.List(rig.Sessions));
    }

    // A marker may be another user's work. It leads to no folder that others can write to.
    [Fact]
    [UnsupportedOSPlatform("windows")]
    public async Task A_session_whose_folder_is_not_this_users_alone_is_lost_there_when_it_is_discarded()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no modes of folders.");
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        string folder = rig.Sessions.Path;
        UnixFileMode mode = File.GetUnixFileMode(folder);
        File.SetUnixFileMode(folder, mode | UnixFileMode.OtherWrite);
        await (await Disk.OpenAsync(rig.Folder.File("vm.raw"), handling: SessionHandling.Discard)).DisposeAsync();
        File.SetUnixFileMode(folder, mode);

        LostSession lost = await MountAndFindLostAsync(rig);

        Assert.Contains("marker", lost.Reason, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task In_another_run_of_the_system_a_session_goes_on_after_an_orderly_end_alone(bool isOrderly)
    {
        Peer.Need("unshare", "mount");
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        string bootId = rig.Folder.File("boot-id");
        await File.WriteAllTextAsync(bootId, Guid.NewGuid() + "\n");
        string[] steps = isOrderly ? [.. Killed, "suspend:vm"] : Killed;
        await rig.LiveInOtherBootAsync(bootId, steps);

        await rig.DoAsync("mount:vm.raw", "write:vm:21");

        await rig.Truth.AssertDiskAsync(rig.Disks["vm"], isCut: false);
        if (isOrderly)
        {
            await rig.AssertAsync("vm");
            await rig.DoAsync("stop:vm:a:success");
            rig.Truth.AssertBitmap(rig.Disks["vm"], "daily");
            return;
        }

        Assert.Empty(rig.Disks["vm"].Sessions);
        Assert.Contains("system", LostSession.List(rig.Sessions).Single().Reason, StringComparison.Ordinal);
        Assert.NotNull(rig.Disks["vm"].Bitmaps.Find("daily").Reason);
    }

    [Fact]
    public async Task A_session_goes_on_with_untrusted_bitmaps_when_their_file_is_gone_and_its_end_makes_none_count()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        File.Delete(rig.Folder.File("vm.raw.fleece-bitmaps"));

        await rig.DoAsync("mount:vm.raw", "write:vm:21");

        await rig.Truth.AssertSnapshotAsync(rig.Disks["vm"].Sessions.Single());
        IFleeceSession session = rig.Disks["vm"].Sessions.Single();
        Assert.False(await session.EndAsync(isSuccess: true));
        Assert.NotNull(rig.Disks["vm"].Bitmaps.Find("daily").Reason);
    }

    [Fact]
    public async Task An_image_that_was_moved_with_its_files_keeps_its_session_and_a_disk_may_have_another_name()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        foreach (string file in Directory.GetFiles(rig.Folder.Path, "vm.raw*")
            .Where(file => !file.EndsWith("-temp", StringComparison.Ordinal)))
        {
            File.Move(file, file.Replace("vm.raw", "moved.raw", StringComparison.Ordinal));
        }

        await using Disk disk = await Disk.OpenAsync(rig.Folder.File("moved.raw"), "other", folder: rig.Sessions);

        Assert.Equal("other/a", disk.Sessions.Single().Id);
        await disk.Sessions.Single().StopAsync(isSuccess: true);
        Assert.Empty(rig.Leftovers);
    }

    [Fact]
    public async Task Old_data_whose_log_is_gone_is_named_to_be_deleted_by_hand()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        File.Delete(Directory.GetFiles(rig.Sessions.Path, "*.log").Single());
        string temp = Directory.GetFiles(rig.Folder.Path, "*.fleece-kept-temp").Single();

        await rig.DoAsync("mount:vm.raw");

        string note = Assert.Single(rig.Disks["vm"].Notes, note => note.Contains("'vm/a'", StringComparison.Ordinal));
        Assert.Contains($"'{temp}'", note, StringComparison.Ordinal);
        Assert.Contains("by hand", note, StringComparison.Ordinal);
        Assert.True(File.Exists(temp));
    }

    [Fact]
    public async Task Old_data_whose_log_is_gone_is_named_by_a_mount_that_discards_without_the_folder_too()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.LiveAsync(null, Killed);
        File.Delete(Directory.GetFiles(rig.Sessions.Path, "*.log").Single());
        string temp = Directory.GetFiles(rig.Folder.Path, "*.fleece-kept-temp").Single();

        await using Disk disk = await Disk.OpenAsync(rig.Folder.File("vm.raw"), handling: SessionHandling.Discard);

        Assert.Contains(disk.Notes, note => note.Contains($"'{temp}'", StringComparison.Ordinal));
        Assert.True(File.Exists(temp));
    }

    [Fact]
    public async Task Sessions_of_one_disk_are_kept_in_one_folder()
    {
        await using LifeRig rig = new();
        await rig.CreateAsync("vm.raw");
        await rig.DoAsync("mount:vm.raw", "start:a:-:-:-:vm");
        SessionOptions options = new() { Name = "b", Folder = SessionFolder.Open(rig.Folder.File("others")) };

        BlockException refusal = await Assert.ThrowsAsync<BlockException>(
            async () => await Session.StartAsync([rig.Disks["vm"]], options));

        Assert.Equal(BlockErrors.InvalidArgument, refusal.Kind);
        Assert.Contains($"-StatePath '{rig.Folder.Path}'", refusal.Message, StringComparison.Ordinal);
        Assert.Equal("a", rig.Disks["vm"].Sessions.Single().Name);
        Assert.Empty(Directory.GetFiles(rig.Folder.File("others")));
    }

    [Fact]
    public async Task A_session_says_why_it_ends_with_its_process()
    {
        await using Rig rig = new();
        Disk disk = await rig.AddDiskAsync("vm", LifeSteps.SizeBytes);
        Session session = await Rig.StartAsync(disk);

        Assert.False(session.CanResume);
        Assert.NotNull(session.Describe().CannotResumeReason);
    }

    private static async Task<LostSession> MountAndFindLostAsync(LifeRig rig, string file = "vm.raw")
    {
        await rig.DoAsync($"mount:{file}");
        Assert.Empty(rig.Disks["vm"].Sessions);
        return LostSession.List(rig.Sessions).Single();
    }

    private static void Replace(string path)
    {
        File.Copy(path, path + ".copy");
        DateTime time = File.GetLastWriteTimeUtc(path);
        File.Move(path + ".copy", path, overwrite: true);
        File.SetLastWriteTimeUtc(path, time);
    }
}
