// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Disks.Resuming;
using Fleece.TestKit;

namespace Fleece.Disks.Tests.Resuming;

public sealed class SessionFolderTests : IDisposable
{
    private readonly LogRig _rig = new();

    public void Dispose() => _rig.Dispose();

    [Fact]
    public void A_folder_that_others_can_write_to_is_refused()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has other permissions.");
        string path = Path.Combine(_rig.Path, "open");
        Directory.CreateDirectory(path);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupWrite);
        }

        BlockException refusal = Assert.Throws<BlockException>(() => SessionFolder.Open(path));

        Assert.Equal(BlockErrors.PermissionDenied, refusal.Kind);
        Assert.Contains("chmod go-w", refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_whose_parent_is_missing_is_not_made() => Assert.Equal(
        BlockErrors.NotFound,
        Assert.Throws<BlockException>(() => SessionFolder.Open(Path.Combine(_rig.Path, "missing", "sessions"))).Kind);

    [Fact]
    public void The_sessions_of_an_image_are_found_by_any_link_to_it_oldest_first()
    {
        SessionLog later = Started(DateTimeOffset.UnixEpoch.AddDays(1));
        SessionLog earlier = Started(DateTimeOffset.UnixEpoch);
        SessionLog.Create(_rig.Sessions, _rig.Describe() with { ImagePath = "/another.raw" }).Dispose();
        string link = Path.Combine(_rig.Path, "link.raw");
        File.CreateSymbolicLink(link, _rig.ImagePath);

        Guid[] found = [.. _rig.Sessions.FindByImage(link).Select(session => session.Id)];

        Assert.Equal([earlier.Description.Id, later.Description.Id], found);
        Assert.Equal(3, _rig.Sessions.List().Count);
    }

    [Fact]
    public void A_start_whose_leader_had_come_to_its_instant_is_completed_when_the_folder_is_opened()
    {
        Guid leaderId = Guid.NewGuid();
        SessionLog leader = Begin(leaderId, leaderId);
        SessionLog follower = Begin(Guid.NewGuid(), leaderId);
        leader.StoreState(StoredState.Running);
        leader.StoreState(StoredState.EndingSuccess);
        leader.Dispose();
        follower.Dispose();

        SessionFolder folder = SessionFolder.Open(_rig.Sessions.Path);
        folder.Find(leaderId)!.Delete();

        Assert.Equal(StoredState.Running, folder.Find(follower.Description.Id)!.State);
    }

    [Fact]
    public void A_start_whose_leader_had_not_come_to_its_instant_stays_one()
    {
        Guid leaderId = Guid.NewGuid();
        Begin(leaderId, leaderId).Dispose();
        SessionLog follower = Begin(Guid.NewGuid(), leaderId);
        follower.Dispose();

        Assert.Equal(StoredState.Starting, SessionFolder.Open(_rig.Sessions.Path).Find(follower.Description.Id)!.State);
    }

    [Fact]
    public void What_is_half_made_and_what_no_log_names_is_removed_and_nothing_that_is_in_use()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux has locks that prove that no process uses a file.");
        PointInTimeMaps maps = new(LogRig.DiskBytes / 4096, 0, isLimited: true);
        SessionLog log = _rig.Create(maps);
        log.Dispose();
        string ownMaps = Assert.Single(SessionFolder.MapsOf(log.Path));
        string[] leftovers =
        [
            log.Path + ".partial",
            SessionMapsReference.PathFor(log.Path, 7),
            SessionMapsReference.PathFor(_rig.Sessions.LogPathFor(Guid.NewGuid()), 1),
        ];
        Assert.All(leftovers, path => File.WriteAllText(path, "left"));
        using SessionLog running = _rig.Create(maps);

        SessionFolder.Open(_rig.Sessions.Path);

        Assert.All(leftovers, path => Assert.False(File.Exists(path)));
        Assert.True(File.Exists(ownMaps));
        Assert.Single(SessionFolder.MapsOf(running.Path));
    }

    [Fact]
    public void A_file_that_is_no_log_is_listed_with_what_is_wrong_and_can_be_removed()
    {
        Guid id = Guid.NewGuid();
        File.WriteAllText(_rig.Sessions.LogPathFor(id), "no log");

        StoredSession stored = Assert.Single(_rig.Sessions.List());

        Assert.Equal((id, "it is cut short"), (stored.Id, stored.Fault));
        Assert.Empty(_rig.Sessions.FindByImage(_rig.ImagePath));
        stored.Delete();
        Assert.Empty(_rig.Sessions.List());
    }

    [Fact]
    public async Task A_fifo_with_the_name_of_a_log_holds_nothing_up()
    {
        Peer.Need("mkfifo");
        string path = _rig.Sessions.LogPathFor(Guid.NewGuid());
        await Peer.RunAsync("mkfifo", path);

        StoredSession stored = Assert.Single(SessionFolder.Open(_rig.Sessions.Path).List());

        Assert.Equal("it is no regular file", stored.Fault);
        Assert.Empty(_rig.Sessions.FindByImage(_rig.ImagePath));
    }

    private SessionLog Started(DateTimeOffset instant)
    {
        SessionLog log = _rig.Create();
        log.StoreInstant(instant);
        log.StoreState(StoredState.Running);
        log.Dispose();
        return log;
    }

    private SessionLog Begin(Guid id, Guid leaderId)
    {
        SessionLog log = SessionLog.Create(_rig.Sessions, _rig.Describe() with { Id = id, LeaderId = leaderId });
        log.StoreInstant(DateTimeOffset.UnixEpoch);
        return log;
    }
}
