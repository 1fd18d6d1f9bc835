// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Block.Files;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

public sealed class SessionLogTests : IDisposable
{
    private readonly LogRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void A_new_log_is_starting_and_has_the_description()
    {
        SessionDescription description = _rig.Describe("replica", "archive");
        SessionLog.Create(_rig.Sessions, description).Dispose();

        StoredSession stored = Assert.Single(_rig.Sessions.List());

        Assert.Null(stored.Fault);
        Assert.Equal(StoredState.Starting, stored.State);
        Assert.Equal(BootId.Current, stored.BootId);
        Assert.Equal(description with { WrittenBy = stored.Description!.WrittenBy }, stored.Description);
    }

    [Fact]
    public void A_log_that_was_renamed_is_the_same_and_one_that_was_copied_is_a_copy()
    {
        SessionLog log = _rig.Create();
        Guid id = log.Description.Id;
        log.Dispose();

        File.Move(log.Path, log.Path + ".moved");
        File.Move(log.Path + ".moved", log.Path);
        Assert.False(_rig.Sessions.Find(id)!.IsCopy);
        File.Copy(log.Path, log.Path + ".copy");
        File.Move(log.Path + ".copy", log.Path, overwrite: true);

        StoredSession copy = _rig.Sessions.Find(id)!;
        Assert.Null(copy.Fault);
        Assert.True(copy.IsCopy);
    }

    [Fact]
    public void Its_owner_alone_reads_its_files()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The modes are those of Linux.");
        using SessionLog log = _rig.Create(new PointInTimeMaps(LogRig.DiskBytes / 4096, 0, isLimited: true));

        string[] files = Directory.GetFiles(_rig.Sessions.Path);
        Assert.Equal(2, files.Length);
        Assert.All(files, path => Assert.Equal(LogRig.OwnerOnly, LogRig.ModeOf(path)));
        Assert.Equal(LogRig.OwnerOnly | UnixFileMode.UserExecute, LogRig.ModeOf(_rig.Sessions.Path));
    }

    [Fact]
    public void Notes_come_back_as_the_maps_that_they_make()
    {
        PointInTimeMaps expected = new(LogRig.DiskBytes / 4096, 2, isLimited: false);
        Guid id;
        using (SessionLog log = _rig.Create(null, "replica", "archive"))
        {
            id = log.Description.Id;
            Assert.Null(log.NoteDone(new GranuleRun(5, 9), hasData: true));
            expected.AddDone(new GranuleRun(5, 9), hasData: true);
            Assert.Null(log.NoteDone(new GranuleRun(100, 100_000), hasData: false));
            expected.AddDone(new GranuleRun(100, 100_000), hasData: false);
            Assert.Null(log.NoteConfirmed(1, new GranuleRun(0, 70)));
            expected.AddConfirmed(1, new GranuleRun(0, 70));
            Assert.Null(log.NoteConsumed(new GranuleRun(262_143, 262_144)));
            expected.AddConsumed(new GranuleRun(262_143, 262_144));
        }

        (SessionLog again, PointInTimeMaps maps) = _rig.Sessions.Find(id)!.TakeOver(out _)!.Value;

        again.Dispose();
        Assert.Equal(LogRig.Facts(expected), LogRig.Facts(maps));
    }

    [Fact]
    public void A_log_that_was_taken_over_goes_on_behind_its_last_note()
    {
        SessionLog log = _rig.Create();
        Guid id = log.Description.Id;
        log.NoteDone(new GranuleRun(1, 2), hasData: true);
        log.Dispose();
        (SessionLog second, _) = _rig.Sessions.Find(id)!.TakeOver(out _)!.Value;
        second.NoteDone(new GranuleRun(3, 4), hasData: true);
        second.Dispose();

        (SessionLog third, PointInTimeMaps maps) = _rig.Sessions.Find(id)!.TakeOver(out _)!.Value;

        third.Dispose();
        Assert.True(maps.Stored.Contains(1) && maps.Stored.Contains(3) && maps.Stored.AddedCount == 2);
    }

    [Fact]
    public void What_is_denied_comes_back_whether_it_was_known_early_or_late()
    {
        PointInTimeMaps maps = new(LogRig.DiskBytes / 4096, 0, isLimited: true);
        maps.Denied!.Add(new GranuleRun(7, 200_000));
        using SessionLog early = _rig.Create(maps);
        using SessionLog late = _rig.Create();
        late.StoreInstant(DateTimeOffset.UnixEpoch);

        late.StoreDenied(maps);

        early.Dispose();
        late.Dispose();
        Assert.Contains("runs 7-200000", _rig.Read(early.Description.Id), StringComparison.Ordinal);
        Assert.Contains("runs 7-200000", _rig.Read(late.Description.Id), StringComparison.Ordinal);
        Assert.Equal(DateTimeOffset.UnixEpoch, _rig.Sessions.Find(late.Description.Id)!.StartedAt);
    }

    [Fact]
    public void The_first_reason_for_a_break_stays_and_is_cut_at_a_character()
    {
        using SessionLog log = _rig.Create();
        string longText = new('é', 5000);

        log.NoteBroken(new BlockException(BlockErrors.TempFull, longText, "/some/where", 4096, "copy"));
        log.NoteBroken(new BlockException(BlockErrors.IoFailed, "later"));

        BlockException cause = _rig.Sessions.Find(log.Description.Id)!.BrokenBy!;
        Assert.Equal(BlockErrors.TempFull, cause.Kind);
        Assert.StartsWith(new string('é', 1800), cause.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\uFFFD', cause.Message);
        Assert.Equal(("/some/where", 4096L, "copy"), (cause.Path, cause.OffsetBytes, cause.Operation));
    }

    [Fact]
    public void A_suspended_session_has_the_evidence_until_it_runs_again()
    {
        SessionEvidence evidence = new(new FileEvidence(1, 2, 3), new FileEvidence(4, 5, 6));
        SessionLog log = _rig.Create();
        Guid id = log.Description.Id;
        log.StoreInstant(new DateTimeOffset(2026, 11, 29, 1, 2, 3, TimeSpan.Zero));
        log.StoreState(StoredState.Running);
        log.Suspend(evidence);
        log.Dispose();
        StoredSession suspended = _rig.Sessions.Find(id)!;
        (SessionLog again, _) = suspended.TakeOver(out _)!.Value;

        again.StoreResumed();

        StoredSession running = _rig.Sessions.Find(id)!;
        again.Dispose();
        Assert.Equal((StoredState.Suspended, evidence), (suspended.State, suspended.Evidence));
        Assert.Equal((StoredState.Running, null), (running.State, running.Evidence));
        Assert.Equal(suspended.StartedAt, running.StartedAt);
    }

    [Fact]
    public void A_lost_session_says_why()
    {
        SessionLog log = _rig.Create();
        log.Dispose();
        StoredSession stored = _rig.Sessions.Find(log.Description.Id)!;

        stored.StoreLost("The image was replaced.");

        StoredSession lost = _rig.Sessions.Find(stored.Id)!;
        Assert.Equal((StoredState.Lost, "The image was replaced."), (lost.State, lost.LostReason));
    }

    [Fact]
    public void A_deleted_log_leaves_nothing()
    {
        SessionLog log = _rig.Create(new PointInTimeMaps(LogRig.DiskBytes / 4096, 0, isLimited: true));

        log.Delete();

        Assert.Empty(Directory.GetFiles(_rig.Sessions.Path));
    }

    [Fact]
    public void A_log_that_a_session_has_is_in_use()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux tells of locks.");
        using SessionLog log = _rig.Create();

        StoredSession stored = Assert.Single(_rig.Sessions.List());

        Assert.True(stored.IsInUse);
        Assert.Empty(_rig.Sessions.FindByImage(_rig.ImagePath));
        Assert.Equal(BlockErrors.InUse, Assert.Throws<BlockException>(() => stored.TakeOver(out _)).Kind);
        Assert.Equal(BlockErrors.InUse, Assert.Throws<BlockException>(stored.Delete).Kind);
    }

    [Fact]
    public void Without_room_copies_are_refused_first_and_discards_use_what_is_left()
    {
        using MountedFolder disk = new("tmpfs", "size=1m");
        Assert.SkipWhen(disk.SkipReason is not null, disk.SkipReason ?? "");
        using LogRig rig = new(System.IO.Path.Combine(disk.Path, "sessions"));
        using SessionLog log = rig.Create();
        string filler = System.IO.Path.Combine(disk.Path, "filler");
        long copies = NoteUntilFull(log, filler);

        Assert.Null(log.NoteConsumed(new GranuleRun(copies, copies + 1)));
        long discards = 1;
        while (log.NoteConsumed(new GranuleRun(discards, discards + 1)) is null)
        {
            discards++;
        }

        Assert.InRange(discards, 10_000, 11_000); // A segment of 256 KiB, of 24 bytes each.
        log.NoteBroken(new BlockException(BlockErrors.TempFull, "full"));
        File.Delete(filler);
        Assert.Null(log.NoteDone(new GranuleRun(200_000, 200_001), hasData: true));
        log.Dispose();
        (SessionLog again, PointInTimeMaps maps) = rig.Sessions.Find(log.Description.Id)!.TakeOver(out _)!.Value;
        again.Dispose();
        Assert.Equal((copies + 1, BlockErrors.TempFull), (maps.Stored.AddedCount, again.BrokenBy!.Kind));
    }

    [Fact]
    public void Files_that_are_written_and_not_mapped_have_the_same_promises()
    {
        using MountedFolder disk = new("ramfs");
        Assert.SkipWhen(disk.SkipReason is not null, disk.SkipReason ?? "");
        using LogRig rig = new(System.IO.Path.Combine(disk.Path, "sessions"));
        SessionLog log = rig.Create();
        for (int granule = 0; granule < 30_000; granule += 2)
        {
            Assert.Null(log.NoteDone(new GranuleRun(granule, granule + 1), hasData: true));
        }

        log.Dispose();

        (SessionLog again, PointInTimeMaps maps) = rig.Sessions.Find(log.Description.Id)!.TakeOver(out _)!.Value;
        again.Dispose();
        Assert.Equal(15_000, maps.Stored.AddedCount);
    }

    // Fills the file system when the log has grown once by itself.
    private static long NoteUntilFull(SessionLog log, string filler)
    {
        using (FileStream file = File.Create(filler))
        {
            byte[] piece = new byte[4096];
            try
            {
                while (true)
                {
                    file.Write(piece);
                    file.Flush();
                }
            }
            catch (IOException)
            {
                // It is full.
            }
        }

        long copies = 0;
        BlockException? cause;
        while ((cause = log.NoteDone(new GranuleRun(copies * 2, copies * 2 + 1), hasData: true)) is null)
        {
            copies++;
        }

        Assert.Equal(BlockErrors.NoSpace, cause.Kind);
        return copies;
    }
}
