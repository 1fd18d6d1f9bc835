// SPDX-License-Identifier: MIT
using System.Runtime.Versioning;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.Disks.Temp;
using Fleece.Images;

namespace Fleece.Disks.Tests.Resuming;

public sealed class ResumeRulesTests : IDisposable
{
    private readonly LogRig _rig = new();
    private readonly SessionDescription _description;
    private readonly FileEvidence _image;
    private readonly FileEvidence _temp;
    private readonly string _tempPath;

    public ResumeRulesTests()
    {
        _description = _rig.Describe();
        _tempPath = TempFiles.KeptName(_rig.TempPath, _description.Id);
        File.Move(_rig.TempPath, _tempPath);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(_tempPath, LogRig.OwnerOnly);
        }

        _description = _description with { TempPath = _tempPath };
        _image = FileEvidence.Read(_rig.ImagePath);
        _temp = FileEvidence.Read(_tempPath);
    }

    private StoredSession Running => new()
    {
        Id = _description.Id,
        Path = _rig.Sessions.LogPathFor(_description.Id),
        Description = _description,
        State = StoredState.Running,
        StartedAt = DateTimeOffset.UnixEpoch,
        BootId = BootId.Current,
    };

    private StoredSession Suspended => Running with
    {
        State = StoredState.Suspended,
        BootId = Guid.NewGuid(), // Of any run of the system.
        Evidence = new SessionEvidence(_image, _temp),
    };

    private FoundDisk Found => new(
        _rig.ImagePath, _image, ImageFormat.Raw, LogRig.DiskBytes, Marker(_image.ModifiedTicks, _description.Id));

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void A_session_of_this_run_of_the_system_on_the_same_disk_goes_on() =>
        Assert.Equal(new ResumeVerdict(ResumeStep.Resume), ResumeRules.Judge(Running, Found));

    [Fact]
    public void A_suspended_one_goes_on_in_any_run_of_the_system() =>
        Assert.Equal(new ResumeVerdict(ResumeStep.Resume), ResumeRules.Judge(Suspended, Found));

    [Theory]
    [InlineData((int)StoredState.Starting, (int)ResumeStep.Undo)]
    [InlineData((int)StoredState.EndingSuccess, (int)ResumeStep.FinishSuccess)]
    [InlineData((int)StoredState.EndingFailure, (int)ResumeStep.FinishFailure)]
    public void One_that_was_between_two_states_is_brought_to_one(int state, int step) =>
        Assert.Equal((ResumeStep)step, ResumeRules.Judge(Running with { State = (StoredState)state }, Found).Step);

    [Theory]
    [InlineData((int)StoredState.Starting)]
    [InlineData((int)StoredState.Running)]
    [InlineData((int)StoredState.EndingSuccess)]
    [InlineData((int)StoredState.EndingFailure)]
    public void In_another_run_of_the_system_only_an_orderly_end_counts(int state) =>
        CheckLost("system", Running with { State = (StoredState)state, BootId = Guid.NewGuid() }, Found);

    [Fact]
    public void A_system_that_does_not_tell_its_runs_apart_is_another_one() =>
        CheckLost("system", Running with { BootId = Guid.Empty }, Found);

    [Fact]
    public void A_lost_one_stays_lost_for_its_reason() =>
        Assert.Equal("It was.", ResumeRules.Judge(Running with { State = StoredState.Lost, LostReason = "It was." }, Found).Reason);

    [Fact]
    public void A_damaged_log_is_lost_and_a_newer_one_says_that_nothing_was_changed()
    {
        CheckLost("is torn", Running with { Fault = "it is torn" }, Found);
        CheckLost("nothing has been changed", Running with { Fault = "it is newer", IsNewer = true }, Found);
    }

    [Fact]
    public void A_copy_of_a_log_is_lost_in_whichever_state_it_is()
    {
        CheckLost("is a copy", Running with { IsCopy = true }, Found);
        CheckLost("is a copy", Suspended with { IsCopy = true }, Found);
        CheckLost("is a copy", Running with { IsCopy = true, State = StoredState.EndingSuccess }, Found);
        CheckLost("is a copy", Running with { IsCopy = true, State = StoredState.Starting }, Found);
    }

    [Fact]
    public void A_session_of_another_file_is_left_as_it_is_in_each_state()
    {
        FoundDisk other = Found with { Image = _image with { FileId = _image.FileId + 1 } };
        foreach (StoredState state in Enum.GetValues<StoredState>())
        {
            CheckStep(ResumeStep.Leave, "replaced or copied", Running with { State = state }, other);
        }

        FoundDisk copy = Found with { ImagePath = _rig.ImagePath + ".copy" };
        CheckStep(ResumeStep.Leave, "lies at its place", Running, copy);
        File.Move(_rig.ImagePath, copy.ImagePath);
        Assert.Equal(ResumeStep.Resume, ResumeRules.Judge(Running, copy).Step);
    }

    [Fact]
    public void Another_format_or_another_size_is_another_disk()
    {
        CheckLost("opened as Vhdx", Running, Found with { Format = ImageFormat.Vhdx });
        CheckLost("1073742336 bytes", Running, Found with { SizeBytes = LogRig.DiskBytes + 512 });
    }

    [Fact]
    public void Only_the_marker_lets_a_session_go_on()
    {
        CheckLost("is not there", Running, Found with { Marker = null });
        CheckLost("does not name it", Running, Found with { Marker = Marker(_image.ModifiedTicks, Guid.NewGuid()) });
        CheckLost("is torn", Running, Found with { Marker = Found.Marker! with { Fault = "it is torn" } });
        CheckLost("does not name it", Suspended, Found with { Marker = Marker(_image.ModifiedTicks, Guid.NewGuid()) });
    }

    [Fact]
    public void An_image_that_changed_more_than_five_seconds_after_the_witness_was_changed_without_the_session()
    {
        FoundDisk found = Found with { Image = _image with { ModifiedTicks = _image.ModifiedTicks + TimeSpan.FromSeconds(5).Ticks } };

        Assert.Equal(ResumeStep.Resume, ResumeRules.Judge(Running, found).Step);
        FileEvidence later = found.Image with { ModifiedTicks = found.Image.ModifiedTicks + 1 };
        CheckLost("changed after its process ended", Running, found with { Image = later });
    }

    [Fact]
    public void A_suspended_session_has_its_image_exactly_as_it_was_left()
    {
        CheckLost("changed without it", Suspended, Found with { Image = _image with { ModifiedTicks = _image.ModifiedTicks + 1 } });
        CheckLost("changed without it", Suspended, Found with { Image = _image with { LengthBytes = _image.LengthBytes + 512 } });
        CheckLost("does not say", Suspended with { Evidence = null }, Found);
    }

    [Fact]
    public void Temp_is_the_same_file_and_as_a_suspended_session_left_it()
    {
        CheckLost("replaced or copied", Running with { Description = _description with { TempFileId = _temp.FileId + 1 } }, Found);
        File.SetLastWriteTimeUtc(_tempPath, DateTime.UtcNow.AddHours(1));
        CheckLost("was changed", Suspended, Found);
    }

    [Fact]
    public void A_temp_image_that_changed_more_than_five_seconds_after_the_witness_was_changed_without_the_session()
    {
        DateTime last = new(_image.ModifiedTicks + TimeSpan.FromSeconds(5).Ticks, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(_tempPath, last);
        Assert.Equal(ResumeStep.Resume, ResumeRules.Judge(Running, Found).Step);

        File.SetLastWriteTimeUtc(_tempPath, last.AddMilliseconds(10));
        CheckLost("changed after its process ended", Running, Found);
    }

    [Fact]
    public void A_session_waits_for_a_temp_image_that_is_missing_or_that_another_program_has_open()
    {
        using (LocalFile.Open(_tempPath, isReadOnly: false))
        {
            CheckStep(ResumeStep.Wait, "can't be used", Running, Found);
        }

        File.Delete(_tempPath);
        CheckStep(ResumeStep.Wait, "is not there", Running, Found);
    }

    [Fact]
    [SupportedOSPlatform("linux")]
    public void A_temp_image_of_its_own_has_the_sessions_name_and_rights_of_its_owner_alone()
    {
        CheckLost("does not end with", Running with { Description = _description with { TempPath = _rig.ImagePath } }, Found);
        Guid otherId = Guid.NewGuid();
        string other = TempFiles.KeptName(_rig.TempPath, otherId);
        CheckLost("does not end with", Running with { Description = _description with { TempPath = other } }, Found);
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux is asked for more than the name.");
        File.SetUnixFileMode(_tempPath, LogRig.OwnerOnly | UnixFileMode.OtherRead);
        CheckLost("others than its owner", Running, Found);
        File.SetUnixFileMode(_tempPath, LogRig.OwnerOnly);
        File.Move(_tempPath, other);
        File.CreateSymbolicLink(_tempPath, other);
        CheckLost("is a link", Running, Found);
    }

    // The clock was ahead by an hour while the process had the image, and was put right behind its end.
    [Fact]
    public void A_change_that_the_witness_of_a_clock_that_was_ahead_would_hide_is_told_by_the_images_own_time()
    {
        long ahead = _image.ModifiedTicks + TimeSpan.TicksPerHour;
        ImageStamp stamp = new(_image.LengthBytes, _image.ModifiedTicks, ahead, []);
        FoundDisk found = Found with { Marker = Marker(ahead, _description.Id) with { Stamp = stamp } };

        Assert.Equal(ResumeStep.Resume, ResumeRules.Judge(Running, found).Step);
        foreach (long later in (long[])[-TimeSpan.TicksPerMinute, 1, 10 * TimeSpan.TicksPerSecond])
        {
            CheckLost("changed after", Running, found with { Image = _image with { ModifiedTicks = _image.ModifiedTicks + later } });
        }

        CheckLost("changed after", Running, found with { Image = _image with { LengthBytes = _image.LengthBytes + 1 } });
    }

    // Its own writes behind the last beat, by the clock of the process or by that of the storage.
    [Theory]
    [InlineData(-3)]
    [InlineData(0)]
    [InlineData(4)]
    public void A_change_about_the_time_of_the_last_beat_is_the_sessions_own(int seconds)
    {
        long beat = _image.ModifiedTicks + TimeSpan.TicksPerHour;
        FileEvidence image = _image with { ModifiedTicks = beat + seconds * TimeSpan.TicksPerSecond, LengthBytes = 1 };
        ImageStamp stamp = new(_image.LengthBytes, _image.ModifiedTicks, beat, []);

        long other = beat + TimeSpan.TicksPerMinute;
        FoundDisk byClock = Found with { Image = image, Marker = Marker(other, _description.Id) with { Stamp = stamp } };
        Assert.Equal(ResumeStep.Resume, ResumeRules.Judge(Running, byClock).Step);
        stamp = stamp with { ClockTicks = other };
        FoundDisk byStorage = Found with { Image = image, Marker = Marker(beat, _description.Id) with { Stamp = stamp } };
        Assert.Equal(ResumeStep.Resume, ResumeRules.Judge(Running, byStorage).Step);
    }

    [Fact]
    public void An_earlier_state_of_a_log_is_lost()
    {
        LogPosition seen = new(_description.Id, 2, 480);
        ImageStamp stamp = new(_image.LengthBytes, _image.ModifiedTicks, _image.ModifiedTicks, [seen]);
        FoundDisk found = Found with { Marker = Marker(_image.ModifiedTicks, _description.Id) with { Stamp = stamp } };

        foreach (LogPosition later in (LogPosition[])[seen, seen with { RecordsBytes = 504 }, new(_description.Id, 3, 0)])
        {
            Assert.Equal(ResumeStep.Resume, ResumeRules.Judge(Running with { Position = later }, found).Step);
        }

        CheckLost("an older state", Running with { Position = seen with { RecordsBytes = 456 } }, found);
        CheckLost("an older state", Running with { Position = new(_description.Id, 1, 9600) }, found);
        CheckLost("an older state", Suspended with { Position = new(_description.Id, 1, 9600) }, found);
        CheckLost("replaced by a shorter one", Running with { State = StoredState.Superseded }, found);
    }

    private SessionMarker Marker(long modifiedTicks, Guid id) => new(
        _rig.ImagePath + SessionMarker.Extension, [new MarkedSession(id, "vm/nightly", "/1.log")], modifiedTicks, null);

    private static void CheckLost(string part, StoredSession session, FoundDisk disk) =>
        CheckStep(ResumeStep.Lose, part, session, disk);

    private static void CheckStep(ResumeStep step, string part, StoredSession session, FoundDisk disk)
    {
        ResumeVerdict verdict = ResumeRules.Judge(session, disk);
        Assert.Equal(step, verdict.Step);
        Assert.Contains(part, verdict.Reason, StringComparison.Ordinal);
        Assert.EndsWith(".", verdict.Reason, StringComparison.Ordinal);
    }
}
