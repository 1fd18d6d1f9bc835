// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images;
using Fleece.Images.Checking;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

public sealed class SessionMarkerTests : IDisposable
{
    private static readonly MarkedSession Nightly = new(Guid.NewGuid(), "vm/nightly", "/var/lib/fleece/sessions/1.log");
    private static readonly MarkedSession Weekly = new(Guid.NewGuid(), "vm/weekly", "/var/lib/fleece/sessions/2.log");

    private readonly TempFolder _folder = new();
    private readonly string _image;

    public SessionMarkerTests()
    {
        _image = _folder.File("vm.qcow2");
        ImageCreateOptions layout = new() { Format = ImageFormat.Qcow2, SizeBytes = 1 << 20 };
        Image.CreateAsync(_image, layout).AsTask().GetAwaiter().GetResult();
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void It_names_the_sessions_that_were_added_and_goes_with_the_last_one()
    {
        Assert.Null(SessionMarker.Read(_image));
        SessionMarker.AddEntry(_image, Nightly);
        SessionMarker.AddEntry(_image, Weekly);
        SessionMarker.AddEntry(_image, Nightly);

        Assert.Equal([Weekly, Nightly], SessionMarker.Read(_image)!.Sessions);
        SessionMarker.RemoveEntry(_image, Weekly.Id);
        Assert.Equal([Nightly], SessionMarker.Read(_image)!.Sessions);
        SessionMarker.RemoveEntry(_image, Weekly.Id);
        SessionMarker.RemoveEntry(_image, Nightly.Id);
        Assert.Null(SessionMarker.Read(_image));
        Assert.Equal([_image], Directory.GetFiles(_folder.Path));
    }

    [Fact]
    public void It_lies_beside_the_file_that_a_link_leads_to_for_its_owner_alone()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Links and modes are those of Linux.");
        using TempFolder elsewhere = new();
        string link = elsewhere.File("link.qcow2");
        File.CreateSymbolicLink(link, _image);

        SessionMarker.AddEntry(link, Nightly);

        Assert.Equal([link], Directory.GetFiles(elsewhere.Path));
        Assert.Equal(_image + SessionMarker.Extension, SessionMarker.Read(_image)!.Path);
        Assert.Equal(LogRig.OwnerOnly, LogRig.ModeOf(_image + SessionMarker.Extension));
    }

    [Fact]
    public void Taking_one_session_out_makes_it_no_later_witness_for_the_others()
    {
        SessionMarker.AddEntry(_image, Nightly);
        SessionMarker.AddEntry(_image, Weekly);
        DateTime then = new(2020, 1, 2, 3, 4, 5, 678, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(_image + SessionMarker.Extension, then);

        SessionMarker.RemoveEntry(_image, Nightly.Id);

        Assert.Equal(then.Ticks, SessionMarker.Read(_image)!.ModifiedTicks);
        SessionMarker.Touch(_image, notBeforeTicks: 0);
        Assert.True(SessionMarker.Read(_image)!.ModifiedTicks > then.Ticks);
    }

    [Fact]
    public async Task An_image_with_sessions_is_opened_for_writing_by_nothing_that_does_not_resume_them()
    {
        SessionMarker.AddEntry(_image, Nightly);
        string other = _folder.File("other.qcow2");
        ImageCreateOptions layout = new() { Format = ImageFormat.Qcow2, SizeBytes = 1 << 20 };
        await Image.CreateAsync(other, layout);

        await RefusedAsync(() => Image.OpenAsync(_image).AsTask());
        await RefusedAsync(() => Image.CheckAsync(_image, null, ImageRepair.Leaks, default).AsTask());
        await RefusedAsync(() => Image.TakeOverIdentityAsync(_image, other, ImageFormat.Qcow2).AsTask());
        await RefusedAsync(() => Image.TakeOverIdentityAsync(other, _image, ImageFormat.Qcow2).AsTask());
        await RefusedAsync(() => Disk.OpenAsync(_image).AsTask());
        File.Move(_image, _folder.File("moved.qcow2"));
        await RefusedAsync(() => Image.CreateAsync(_image, layout).AsTask());
    }

    [Fact]
    public async Task It_is_read_and_checked_as_any_other()
    {
        SessionMarker.AddEntry(_image, Nightly);

        await (await Image.OpenAsync(_image, new ImageOpenOptions { IsReadOnly = true })).Node.DisposeAsync();
        await Image.CheckAsync(_image, null, ImageRepair.None, default);
    }

    [Fact]
    public async Task Its_sessions_open_it_and_only_all_of_them()
    {
        SessionMarker.AddEntry(_image, Nightly);
        SessionMarker.AddEntry(_image, Weekly);

        await (await Image.OpenAsync(_image, new ImageOpenOptions { ResumedSessions = new HashSet<Guid> { Nightly.Id, Weekly.Id } }))
            .Node.DisposeAsync();
        await RefusedAsync(() => Image
            .OpenAsync(_image, new ImageOpenOptions { ResumedSessions = new HashSet<Guid> { Weekly.Id } }).AsTask());
    }

    [Fact]
    public async Task Discarding_takes_out_those_that_are_not_resumed()
    {
        SessionMarker.AddEntry(_image, Nightly);
        SessionMarker.AddEntry(_image, Weekly);
        ImageOpenOptions options = new() { DiscardsSessions = true, ResumedSessions = new HashSet<Guid> { Weekly.Id } };

        await (await Image.OpenAsync(_image, options)).Node.DisposeAsync();
        Assert.Equal([Weekly], SessionMarker.Read(_image)!.Sessions);
        await (await Image.OpenAsync(_image, options with { ResumedSessions = null })).Node.DisposeAsync();

        Assert.Null(SessionMarker.Read(_image));
    }

    [Fact]
    public void Any_byte_that_changes_leaves_the_same_sessions_or_a_guard()
    {
        SessionMarker.AddEntry(_image, Nightly);
        string path = _image + SessionMarker.Extension;
        byte[] bytes = File.ReadAllBytes(path);
        for (int place = 0; place < bytes.Length; place++)
        {
            foreach (byte flip in (byte[])[0x01, 0x20, 0xFF])
            {
                byte[] damaged = [.. bytes];
                damaged[place] ^= flip;
                Assert.Empty(SessionMarkerFormat.Parse(damaged, out string? fault));
                Assert.NotNull(fault);
            }

            Assert.Empty(SessionMarkerFormat.Parse(bytes.AsSpan(0, place), out string? cut));
            Assert.NotNull(cut);
        }

        File.WriteAllBytes(path, bytes[..^1]);
        BlockException refusal = Assert.Throws<BlockException>(() => SessionMarker.Check(_image));
        Assert.Equal(ImageErrors.ImageHasSession, refusal.Kind);
        Assert.Contains(path, refusal.Message, StringComparison.Ordinal);
        Assert.Throws<BlockException>(() => SessionMarker.AddEntry(_image, Weekly));
        SessionMarker.Check(_image, discards: true);
        Assert.False(File.Exists(path));
    }

    [Fact]
    public void One_of_a_newer_version_is_said_to_be_so()
    {
        Assert.Empty(SessionMarkerFormat.Parse(
            SessionMarkerFormat.Seal("{\n  \"fleeceSessions\": 3,\n  \"guests\": []\n}\n"), out string? fault));

        Assert.Contains("newer", fault, StringComparison.Ordinal);
    }

    [Fact]
    public void One_of_an_older_version_is_said_to_be_so()
    {
        Assert.Empty(SessionMarkerFormat.Parse(SessionMarkerFormat.Seal("{\n  \"fleeceSessions\": 1\n}\n"), out string? fault));

        Assert.Contains("an older Fleece", fault, StringComparison.Ordinal);
    }

    [Fact]
    public void A_touch_says_how_the_image_is_and_where_the_logs_are_and_stays_when_sessions_come_and_go()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "No session outlives a kill there.");
        SessionMarker.AddEntry(_image, Nightly);
        Assert.Null(SessionMarker.Read(_image)!.Stamp);
        FileEvidence image = FileEvidence.Read(_image);
        LogPosition position = new(Nightly.Id, 3, 4096);

        SessionMarker.Touch(_image, notBeforeTicks: 0, [position]);
        CheckStamp();
        SessionMarker.AddEntry(_image, Weekly);
        CheckStamp();
        SessionMarker.RemoveEntry(_image, Weekly.Id);
        SessionMarker.Touch(_image, notBeforeTicks: 0);
        CheckStamp();
        SessionMarker.Touch(_image, notBeforeTicks: 0, []);
        Assert.Empty(SessionMarker.Read(_image)!.Stamp!.Logs);

        void CheckStamp()
        {
            ImageStamp stamp = SessionMarker.Read(_image)!.Stamp!;
            Assert.Equal((image.LengthBytes, image.ModifiedTicks), (stamp.ImageBytes, stamp.ImageTicks));
            Assert.InRange(stamp.ClockTicks, DateTime.UtcNow.AddMinutes(-1).Ticks, DateTime.UtcNow.Ticks);
            Assert.Equal([position], stamp.Logs);
        }
    }

    [Fact]
    public void A_stamp_that_is_torn_counts_as_none_and_other_bytes_behind_the_text_as_damage()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "No session outlives a kill there.");
        SessionMarker.AddEntry(_image, Nightly);
        SessionMarker.Touch(_image, notBeforeTicks: 0, [new LogPosition(Nightly.Id, 0, 24)]);
        byte[] bytes = File.ReadAllBytes(_image + SessionMarker.Extension);
        Assert.Equal(ImageStamp.AlignmentBytes + 72, bytes.Length);
        for (int place = ImageStamp.AlignmentBytes; place < bytes.Length; place++)
        {
            byte[] torn = [.. bytes];
            torn[place] ^= 0x40;
            Assert.Equal([Nightly], SessionMarkerFormat.Parse(torn, out ImageStamp? stamp, out string? fault));
            Assert.Null(stamp);
            Assert.Null(fault);
        }

        bytes[ImageStamp.AlignmentBytes - 1] = 1;
        Assert.Empty(SessionMarkerFormat.Parse(bytes, out string? damage));
        Assert.NotNull(damage);
    }

    [Fact]
    public void The_message_says_which_session_where_its_log_is_and_how_to_go_on()
    {
        string logPath = Path.Combine(Directory.CreateDirectory(_folder.File("it's/sessions")).FullName, "1.log");
        File.WriteAllBytes(logPath, []);
        SessionMarker.AddEntry(_image, Nightly with { LogPath = logPath });

        string message = Assert.Throws<BlockException>(() => SessionMarker.Check(_image)).Message;

        string resume = $"Resume-FleeceSession -StatePath '{_folder.File("it''s")}'";
        Assert.All(
            (string[])["'vm/nightly'", logPath, resume, "-DiscardSessions"],
            part => Assert.Contains(part, message, StringComparison.Ordinal));
    }

    [Fact]
    public void The_message_says_that_the_log_is_gone_and_which_way_is_left()
    {
        SessionMarker.AddEntry(_image, Nightly with { LogPath = _folder.File("1.log") });

        string message = Assert.Throws<BlockException>(() => SessionMarker.Check(_image)).Message;

        Assert.Contains("nothing to resume", message, StringComparison.Ordinal);
        Assert.Contains($"Mount-FleeceDisk '{_image}' -DiscardSessions", message, StringComparison.Ordinal);
        Assert.DoesNotContain("Resume-FleeceSession", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Without_room_it_stays_as_it_was()
    {
        using MountedFolder disk = new("tmpfs", "size=64k");
        Assert.SkipWhen(disk.SkipReason is not null, disk.SkipReason ?? "");
        string image = Path.Combine(disk.Path, "vm.raw");
        File.WriteAllBytes(image, [1]);
        SessionMarker.AddEntry(image, Nightly);
        FileSystemSpace.TryGetFreeBytes(disk.Path, out long freeBytes);
        File.WriteAllBytes(Path.Combine(disk.Path, "filler"), new byte[freeBytes]);

        Assert.Equal(BlockErrors.NoSpace, Assert.Throws<BlockException>(() => SessionMarker.AddEntry(image, Weekly)).Kind);

        Assert.Equal([Nightly], SessionMarker.Read(image)!.Sessions);
        Assert.Equal(3, Directory.GetFiles(disk.Path).Length);
    }

    [Fact]
    public void Without_room_a_session_is_taken_out_all_the_same()
    {
        using MountedFolder disk = new("tmpfs", "size=64k");
        Assert.SkipWhen(disk.SkipReason is not null, disk.SkipReason ?? "");
        string image = Path.Combine(disk.Path, "vm.raw");
        File.WriteAllBytes(image, [1]);
        SessionMarker.AddEntry(image, Nightly);
        SessionMarker.AddEntry(image, Weekly);
        SessionMarker.Touch(image, notBeforeTicks: 0, [new LogPosition(Nightly.Id, 1, 24)]);
        SessionMarker before = SessionMarker.Read(image)!;
        FileSystemSpace.TryGetFreeBytes(disk.Path, out long freeBytes);
        File.WriteAllBytes(Path.Combine(disk.Path, "filler"), new byte[freeBytes]);

        SessionMarker.RemoveEntry(image, Weekly.Id);

        SessionMarker after = SessionMarker.Read(image)!;
        Assert.Equal([Nightly], after.Sessions);
        Assert.Equal((before.Stamp!.ClockTicks, before.ModifiedTicks), (after.Stamp!.ClockTicks, after.ModifiedTicks));
        Assert.Equal(before.Stamp.Logs, after.Stamp.Logs);
        Assert.Null(after.Fault);
    }

    private static async Task RefusedAsync(Func<Task> open) =>
        Assert.Equal(ImageErrors.ImageHasSession, (await Assert.ThrowsAsync<BlockException>(open)).Kind);
}
